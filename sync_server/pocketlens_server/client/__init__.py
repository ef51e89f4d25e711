"""The client for backends: a catalogue behind a server's address.

    with CatalogueClient("shop.example:8443", "main", credentials=credentials) as shop:
        with shop.stream() as stream:
            answer = stream.send(PutProduct(Product("mug", title="Mug")), revision=7)
            print(answer.result().result)
        shop.wait(stream.job.number)
        print(shop.publish().version)

docs/ingest.md has it whole.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pocketlens.sync.credentials import Credentials
from pocketlens_server.catalogue.operations import (
    DeleteImage,
    DeleteProduct,
    KeepImage,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.catalogue.results import Outcome, Refusal, Result
from pocketlens_server.client.calls import CatalogueClient, Published
from pocketlens_server.client.certificates import ClientCertificate
from pocketlens_server.client.connections import Patience
from pocketlens_server.client.streams import OperationStream
from pocketlens_server.client.target import RemoteTarget

__all__ = [
    "CatalogueClient",
    "ClientCertificate",
    "Credentials",
    "DeleteImage",
    "DeleteProduct",
    "KeepImage",
    "OperationStream",
    "Outcome",
    "PatchProduct",
    "Patience",
    "Published",
    "PutImage",
    "PutProduct",
    "Refusal",
    "RemoteTarget",
    "Result",
]
