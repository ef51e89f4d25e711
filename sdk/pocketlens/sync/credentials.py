"""What a device shows and trusts when it connects: a token, and certificates of its own.

    credentials = Credentials.read(ca=Path("ca.pem"), token_file=Path("token"))

A token is sent over TLS or on the loopback, and to no other address than the one it was given for;
it is in no text, log or repr.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pocketlens.errors import SyncError

MAX_TOKEN_BYTES = 4096
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """What goes with a connection.

    Attributes:
        ca: Certificates to trust in place of the system's, PEM; None for the system's.
        token: Says who asks; "" for nobody in particular.
    """

    ca: bytes | None = None
    token: str = field(default="", repr=False)

    @classmethod
    def read(cls, *, ca: Path | None, token_file: Path | None) -> Credentials:
        """Reads them from files.

        Raises:
            SyncError: A file cannot be read, or holds something else.
        """
        certificates = None if ca is None else _read(ca, "--ca")
        if certificates is not None and b"-----BEGIN CERTIFICATE-----" not in certificates:
            raise SyncError(f"Expected certificates in PEM. Received {ca}, which has none.")
        if token_file is None:
            return cls(certificates)
        token = _read(token_file, "--token-file").strip()
        if not token or len(token) > MAX_TOKEN_BYTES or not all(0x21 <= c <= 0x7E for c in token):
            raise SyncError(
                f"Expected a token in {token_file}: one word in ASCII, of at most "
                f"{MAX_TOKEN_BYTES} bytes. Received something else."
            )
        return cls(certificates, token.decode("ascii"))

    def check_sent(self, address: str, *, is_private: bool) -> None:
        """Refuses to send a token where others can read it.

        Raises:
            SyncError: There is a token, and the way to `address` is not private.
        """
        if self.token and not is_private:
            raise SyncError(
                f"Expected TLS to send a token to {address}: anybody on the way could read it. "
                "Use an https:// address, or none."
            )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    return host in _LOOPBACK


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise SyncError(
            f"{path} cannot be read: {exc.strerror}. Put it back, or name another, with --server "
            f"and --root: {option}"
        ) from exc
