"""Tokens and certificates: read at every sync, sent where they belong, told to nobody else."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from pocketlens.errors import SyncError
from pocketlens.sync.credentials import MAX_TOKEN_BYTES, Credentials, is_loopback
from pocketlens.sync.http_transport import HttpTransport

TOKEN = "secret-0123456789"  # noqa: S105 # of no server


def test_a_token_is_one_word_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"  {TOKEN}\n")

    found = Credentials.read(ca=None, token_file=tmp_path / "token")

    assert found.token == TOKEN
    assert TOKEN not in repr(found)
    assert Credentials.read(ca=None, token_file=None) == Credentials()


@pytest.mark.parametrize(
    "text", [b"", b" \n", b"two words", b"\xff\xfe", b"a\r\nX: b", b"x" * (MAX_TOKEN_BYTES + 1)]
)
def test_what_is_no_token_is_refused_and_not_shown(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "token").write_bytes(text)

    with pytest.raises(SyncError, match="Expected a token in") as failed:
        Credentials.read(ca=None, token_file=tmp_path / "token")

    shown = str(failed.value)
    assert not text.strip() or text.decode("latin-1") not in shown


def test_files_that_are_not_there_are_named_with_their_option(tmp_path: Path) -> None:
    with pytest.raises(SyncError, match=r"gone cannot be read: .* --token-file"):
        Credentials.read(ca=None, token_file=tmp_path / "gone")
    with pytest.raises(SyncError, match=r"gone cannot be read: .* --ca"):
        Credentials.read(ca=tmp_path / "gone", token_file=None)
    (tmp_path / "key").write_text("-----BEGIN PRIVATE KEY-----")
    with pytest.raises(SyncError, match="Expected certificates in PEM"):
        Credentials.read(ca=tmp_path / "key", token_file=None)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [("127.0.0.1", True), ("localhost", True), ("[::1]", True), ("127.0.0.1.example", False)],
)
def test_the_loopback_is_known_by_its_names(host: str, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours


def test_a_token_is_not_sent_where_others_can_read_it() -> None:
    with pytest.raises(SyncError, match="Expected TLS to send a token") as failed:
        HttpTransport("http://shop.example/main", credentials=Credentials(token=TOKEN))

    assert TOKEN not in str(failed.value)
    HttpTransport("https://shop.example/main", credentials=Credentials(token=TOKEN)).close()
    HttpTransport("http://localhost:80/main", credentials=Credentials(token=TOKEN)).close()
    HttpTransport("http://shop.example/main").close()


@pytest.mark.parametrize(
    "address", ["http://[::1", "https://", "http:///main", "http://host:port/"]
)
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(SyncError, match="Expected an address"):
        HttpTransport(address)
