"""`pocketlens-server keys`, as an operator types it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from tests.making.repositories import BUNDLE, blob, manifest

from pocketlens.formats.manifest import encode
from pocketlens.sync.trust import verified
from pocketlens_server.cli import app, main
from pocketlens_server.folders import CatalogueFolder, ServerFolder
from pocketlens_server.publishing import keys, metadata, rekeying, signing

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = list(typer.main.get_command(app).commands["keys"].commands)  # type: ignore[attr-defined]
NOW = datetime.now(UTC)


@pytest.fixture
def folder(tmp_path: Path) -> CatalogueFolder:
    return made(tmp_path, NOW)


def made(tmp_path: Path, now: datetime) -> CatalogueFolder:
    """A server with a version of one model."""
    server = ServerFolder.create(tmp_path / "server", offline_keys=tmp_path / "safe", now=now)
    catalogue = server.catalogue("main")
    signers = keys.load([catalogue.online_keys, catalogue.offline_keys], keys.ROLES)
    signing.add_model(catalogue.public, blob(BUNDLE), signers, now=now)
    version = manifest(1)
    named = {version.generation: encode(version)}
    signing.publish(catalogue.public, named, signers, now=now)
    return catalogue


def run(command: str, tmp_path: Path) -> int:
    return main(shlex.split(f"keys {command} --data {shlex.quote(str(tmp_path / 'server'))}"))


def told(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert run(f"{command} --json", tmp_path) == 0
    return json.loads(capsys.readouterr().out)


def signers_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return {each["role"]: each for each in told("status", tmp_path, capsys)}


def believed(folder: CatalogueFolder) -> int:
    """The version that a device with the first root finds."""

    def fetch(name: str) -> Iterator[bytes] | None:
        path = folder.public / name
        return iter([path.read_bytes()]) if path.is_file() else None

    root = (folder.public / "metadata" / "1.root.json").read_bytes()
    return verified({}, root=root, fetch=fetch, generation=None, now=NOW).manifest.version


@dataclass(frozen=True)
class Held:
    """A key in a file that stands for a KMS: securesystemslib reaches both by a URI."""

    uri: str
    public: Path


def held_key(path: Path) -> Held:
    private, public = ec.generate_private_key(ec.SECP256R1()), path.with_suffix(".pub.pem")
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    data = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(data)
    return Held(f"file2:{path}", public)


def test_the_commands_are_those_that_are_promised() -> None:
    assert COMMANDS == ["status", "rotate", "add", "revoke", "threshold", "renew"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", command, "--help"]) == 0

    text = capsys.readouterr().out
    assert f"  pocketlens-server keys {command} " in text
    assert "--json" in text
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert f"### pocketlens-server keys {command}\n" in page


def test_keys_of_a_stolen_server_are_changed_in_one_step(
    folder: CatalogueFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signers_of(tmp_path, capsys)

    changed = told("rotate publishing snapshot timestamp", tmp_path, capsys)

    after = signers_of(tmp_path, capsys)
    assert [each["role"] for each in changed] == list(keys.ONLINE)
    for each in changed:
        assert each["retired"] == before[each["role"]]["keyids"]
        assert each["added"] == each["keyids"] == after[each["role"]]["keyids"]
        assert [Path(path).exists() for path in each["left"]] == [True]  # to be destroyed
    assert keys.named(folder.online_keys) == {each["role"]: each["keyids"] for each in changed}
    assert after["root"]["version"] == before["root"]["version"] + 1
    assert after["models"] == before["models"]
    assert believed(folder) == 1


def test_two_of_three_root_keys_in_places_of_their_own(
    folder: CatalogueFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (tmp_path / name for name in ("safe", "second", "third"))

    assert run(f"add root --into {second}", tmp_path) == 0
    assert run(f"add root --into {third}", tmp_path) == 0
    assert run(f"threshold root 2 --offline-keys {first} --offline-keys {third}", tmp_path) == 0

    assert run("renew root", tmp_path) == 1
    assert "Expected 2 of the keys of the role 'root'" in capsys.readouterr().err
    assert run(f"renew root --offline-keys {second} --offline-keys {third}", tmp_path) == 0
    assert run("status", tmp_path) == 0
    assert "2 of 3" in capsys.readouterr().out
    lost = keys.named(second / "main")["root"][0]
    shutil.rmtree(second)
    at_hand = f"--offline-keys {first} --offline-keys {third}"
    assert run(f"revoke root {lost[:8]} {at_hand}", tmp_path) == 0
    assert signers_of(tmp_path, capsys)["root"]["threshold"] == 2
    assert lost not in signers_of(tmp_path, capsys)["root"]["keyids"]
    assert believed(folder) == 1


def test_a_key_in_a_kms_signs(
    folder: CatalogueFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held, other = held_key(tmp_path / "held.pem"), held_key(tmp_path / "other.pem")

    assert run(f"add snapshot --uri {held.uri} --public-key {other.public}", tmp_path) == 1
    assert "does not match public key" in capsys.readouterr().err
    added = told(f"add snapshot --uri {held.uri} --public-key {held.public}", tmp_path, capsys)
    former = next(each for each in added[0]["keyids"] if each not in added[0]["added"])
    assert run(f"revoke snapshot {former[:10]}", tmp_path) == 0

    assert keys.named(folder.online_keys)["snapshot"] == added[0]["added"]
    assert believed(folder) == 1


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("threshold root 2", 1, "Expected a threshold of 1 to 1"),
        ("revoke root {root}", 1, "pocketlens-server keys rotate root --key"),
        ("revoke root ffffzz", 1, "one key of the role 'root'"),
        ("rotate root targets --key ab", 2, "one role with --key"),
        ("rotate roots", 2, "roots"),
        ("renew publishing", 2, "publishing"),
        ("add root --uri file2:/nowhere", 2, "--uri and --public-key together"),
        ("rotate timestamp --offline-keys {tmp}/nowhere", 1, "holds no keys"),
    ],
)
def test_what_cannot_be_done_changes_nothing(
    folder: CatalogueFolder,
    tmp_path: Path,
    command: str,
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = signers_of(tmp_path, capsys)
    named = {"root": before["root"]["keyids"][0][:8], "tmp": tmp_path}
    online, offline = keys.named(folder.online_keys), keys.named(folder.offline_keys)

    assert run(command.format(**named), tmp_path) == code

    assert says in capsys.readouterr().err
    assert signers_of(tmp_path, capsys) == before
    assert keys.named(folder.online_keys) == online
    assert keys.named(folder.offline_keys) == offline


def test_what_the_documentation_tells_operators_to_type_runs(
    folder: CatalogueFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "sync.md").read_text("utf-8")
    section = page.partition("## Keys, for operators")[2].partition("\n## ")[0]
    typed = [each.strip() for each in section.splitlines() if each.startswith("    pocketlens")]
    held = held_key(tmp_path / "held.pem")
    names = {
        "--data DIR": f"--data {tmp_path / 'server'}",
        "/media/safe": str(tmp_path / "safe"),
        "/media/a": str(tmp_path / "safe"),
        "/media": str(tmp_path),
        "gcpkms:projects/...": held.uri,
        "timestamp.pub.pem": str(held.public),
    }
    commands = [each for each in typed if " keys " in each]
    assert len(commands) == 11
    for command in commands:
        signers = {role: each["keyids"] for role, each in signers_of(tmp_path, capsys).items()}
        # The key of the third safe is the root's last, and the one before a KMS is the first.
        key = signers["timestamp"][0] if " timestamp " in command else signers["root"][-1]
        for name, value in {**names, "4f1c22": key[:6]}.items():
            command = command.replace(name, value)

        assert main(shlex.split(command)[1:]) == 0, command

    assert signers_of(tmp_path, capsys)["root"]["threshold"] == 2
    assert believed(folder) == 1


def test_status_warns_before_it_is_late_and_fails_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soon = NOW - timedelta(days=730 - 59)
    made(tmp_path, soon)

    assert run("status", tmp_path) == 1  # what the server signs every day has expired

    said = capsys.readouterr()
    assert "must sign" in said.out
    assert (
        "warning: root expires in 58 days; sign it again: pocketlens-server keys renew" in said.err
    )
    assert "warning: timestamp has expired" in said.err
    assert run("renew", tmp_path) == 0
    assert run("rotate timestamp snapshot publishing", tmp_path) == 0
    found = signers_of(tmp_path, capsys)
    assert not any(each["urgent"] or each["expired"] for each in found.values())


def test_a_safe_and_its_copy_keep_the_keys_that_signed(tmp_path: Path) -> None:
    folder = made(tmp_path, NOW)
    safe = folder.offline_keys
    copy = tmp_path / "copy" / safe.name
    shutil.copytree(safe, copy)

    rekeying.rotate(folder, keys.ROLES, offline=[safe, copy], now=NOW)

    for role, holder in metadata.holders(folder.public).items():
        place = folder.online_keys if role in keys.ONLINE else safe
        assert [(place / f"{role}-{each[:8]}.pem").exists() for each in holder.keyids] == [True]
    rekeying.renew(folder, keys.OFFLINE, offline=[safe], now=NOW)


def test_a_safe_that_is_unplugged_in_between_loses_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, NOW)
    safe, other = folder.offline_keys, tmp_path / "other" / "main"
    rekeying.add(folder, "root", offline=[safe], now=NOW, into=other)
    former = metadata.holders(folder.public)["root"].keyids[0]
    change = rekeying.change

    def then_it_is_gone(*arguments: Any, **options: Any) -> None:
        change(*arguments, **options)
        other.parent.rename(tmp_path / "gone")

    with monkeypatch.context() as patched:
        patched.setattr(rekeying, "change", then_it_is_gone)
        rekeying.rotate(folder, ["root"], offline=[safe, other], now=NOW, keyid=former)

    assert former not in metadata.holders(folder.public)["root"].keyids
    rekeying.renew(folder, ["root"], offline=[safe, tmp_path / "gone" / "main"], now=NOW)
