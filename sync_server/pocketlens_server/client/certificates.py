"""The certificate that a backend shows to a server which asks for one, besides its token.

certificate = ClientCertificate.read(Path("feed.pem"), Path("feed.key"))
client = CatalogueClient("shop.example:8443", certificate=certificate)
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.errors import SyncError


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Says which machine asks (`serve --tls-client-ca`).

    Attributes:
        chain: The certificate, and those between it and the authority, PEM.
        key: Its key, PEM, without a password.
    """

    chain: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, chain: Path, key: Path) -> ClientCertificate:
        """Reads it from files.

        Raises:
            SyncError: One cannot be read, or is nothing of the kind, or the key is another's.
        """
        try:
            # gRPC itself says nothing of a key that is another's. A password keeps one that needs
            # it from asking for it on a terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(chain, key, password="")
            return cls(chain.read_bytes(), key.read_bytes())
        except OSError as exc:  # ssl.SSLError is one
            raise SyncError(f"The certificate {chain} and its key cannot be used: {exc}.") from exc
