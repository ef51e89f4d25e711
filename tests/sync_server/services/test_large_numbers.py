"""Numbers that a message to CatalogService may have and no table can hold are answered like others.

Fields come from the descriptors: one that is added later is asked for here by itself.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from tests.making.serving import Address, serving
from tests.making.tiles import TileShop

from pocketlens.products import Product
from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_protos.v1 import catalog_service_pb2_grpc as stubs
from pocketlens_server.client import CatalogueClient, PutProduct

SERVICE = messages.DESCRIPTOR.services_by_name["CatalogService"]
LARGEST = {
    FieldDescriptor.CPPTYPE_UINT64: 2**64 - 1,
    FieldDescriptor.CPPTYPE_INT64: 2**63 - 1,
    FieldDescriptor.CPPTYPE_UINT32: 2**32 - 1,
}
FIELDS = [
    (method.name, field.name)
    for method in SERVICE.methods
    for field in method.input_type.fields
    if field.cpp_type in LARGEST
]
ANSWERS = ("OK", "INVALID_ARGUMENT", "NOT_FOUND", "ABORTED")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    shop = TileShop(tmp_path_factory.mktemp("shop"), {0: 1})
    shop.publish()
    with serving(shop.folder / "server") as found:
        yield found


@pytest.fixture(scope="module")
def jobs(address: Address) -> tuple[int, int]:
    """One that is done, and a full feed, so that what is asked of them is looked at."""
    with CatalogueClient(address.grpc) as client:
        client.apply(PutProduct(Product("mug")))
        with client.stream(is_full_feed=True):
            pass
        feed, done = client.jobs(limit=2)
    return done.number, feed.number


def test_every_call_with_numbers_is_asked() -> None:
    calls = {method for method, _ in FIELDS}
    assert {"GetJob", "CancelJob", "Publish", "Diff", "Rollback", "Replace"} <= calls
    assert ("Replace", "revision") in FIELDS


@pytest.mark.parametrize(("method", "field"), FIELDS)
def test_the_largest_number_is_answered(
    address: Address, jobs: tuple[int, int], method: str, field: str
) -> None:
    described = SERVICE.methods_by_name[method].input_type
    request: Any = GetMessageClass(described)(catalogue="main")
    if "job" in described.fields_by_name:
        request.job = jobs[method == "Replace"]
    if method == "Replace":
        request.lost_share = 1
    value = LARGEST[described.fields_by_name[field].cpp_type]
    if isinstance(getattr(request, field), int):
        setattr(request, field, value)
    else:
        getattr(request, field).append(value)

    assert code_of(lambda stub: getattr(stub, method)(request, timeout=10), address) in ANSWERS


@pytest.mark.parametrize(
    ("opened", "operation", "answer"),
    [
        (messages.OpenJob(job=2**64 - 1), messages.Operation(), "NOT_FOUND"),
        (messages.OpenJob(expected=2**64 - 1), messages.Operation(), "OK"),
        (messages.OpenJob(), messages.Operation(revision=2**64 - 1), "OK"),
        (
            messages.OpenJob(),
            messages.Operation(
                put_image=messages.PutImage(
                    image=nouns.Image(id="i"), product_ids=["mug"], picture_bytes=2**64 - 1
                )
            ),
            "OK",
        ),
        (
            messages.OpenJob(),
            messages.Operation(
                patch_product=messages.PatchProduct(product_id="mug", stock=2**63 - 1)
            ),
            "OK",
        ),
        (
            messages.OpenJob(),
            messages.Operation(
                patch_product=messages.PatchProduct(
                    product_id="mug", price=nouns.Price(minor_units=2**63 - 1, currency="EUR")
                )
            ),
            "OK",
        ),
    ],
)
def test_the_largest_number_in_a_stream_is_answered(
    address: Address, opened: messages.OpenJob, operation: messages.Operation, answer: str
) -> None:
    if operation.WhichOneof("change") is None:
        operation.delete_product.product_id = "mug"
    operation.request_id = f"{operation}"[:100]
    requests = [
        messages.IngestRequest(catalogue="main", open=opened),
        messages.IngestRequest(operation=operation),
    ]
    outcomes = []

    def stream(stub: stubs.CatalogServiceStub) -> None:
        responses = stub.Ingest(iter(requests), timeout=10)
        outcomes.extend(each.outcome for each in responses if each.HasField("outcome"))

    assert code_of(stream, address) == answer
    if answer == "OK" and not opened.expected:
        assert [each.result for each in outcomes] == [messages.Outcome.REFUSED]


def code_of(call: Any, address: Address) -> str:
    with grpc.insecure_channel(address.grpc) as channel:
        try:
            call(stubs.CatalogServiceStub(channel))
        except grpc.RpcError as exc:
            return str(exc.code().name)
    return "OK"
