"""What examples/deploy tells an operator to do, as far as it can be done without root."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import fnmatch
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
import typer
from tests.making.certificates import make_certificates
from tests.making.colour_bundle import colour_bundle
from tests.making.serving import serving

from pocketlens_protos.v1.sync_service_pb2 import PollRequest
from pocketlens_protos.v1.sync_service_pb2_grpc import SyncServiceStub
from pocketlens_server import config
from pocketlens_server.cli import app, main
from pocketlens_server.folders import ServerFolder
from pocketlens_server.server import warnings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples" / "deploy"
UNIT, CONTAINER = DEPLOY / "pocketlens-server.service", DEPLOY / "Containerfile"
PROGRAM, IMAGE = "/opt/pocketlens/bin/pocketlens-server", "pocketlens-server"


def lines(path: Path) -> Iterator[str]:
    """Of a file, comments without their #, those that go on put together."""
    text = re.sub(r"(?m)^#[ ]*", "", path.read_text())
    return iter(text.replace("\\\n", " ").splitlines())


def of_unit() -> list[list[str]]:
    """Arguments of each command in the unit, in their order."""
    said = [line.partition(PROGRAM + " ")[2] for line in lines(UNIT)]
    return [shlex.split(each) for each in said if each]


def of_container() -> list[list[str]]:
    """Arguments of each command that a container is run with, in their order."""
    found = []
    for line in lines(CONTAINER):
        if line.startswith("podman run") and "--entrypoint" not in line:
            words = shlex.split(line)
            found.append(words[words.index(IMAGE) + 1 :])
        elif line.startswith("CMD"):
            default = json.loads(line.removeprefix("CMD"))
    return [each or default for each in found]


def parsed(arguments: list[str]) -> str:
    """The command that arguments are of; raises where it would not take them."""
    command, names = typer.main.get_command(app), []
    while hasattr(command, "resolve_command"):
        context = command.make_context(IMAGE, list(arguments), resilient_parsing=True)
        name, command, arguments = command.resolve_command(context, arguments)
        names.append(name)
    command.make_context(IMAGE, list(arguments))
    return " ".join(names)


@pytest.mark.parametrize("commands", [of_unit(), of_container()], ids=["unit", "container"])
def test_every_command_is_one_and_a_server_is_made_before_it_serves(
    commands: list[list[str]],
) -> None:
    assert [parsed(each) for each in commands] == ["init", "model add", "tokens make", "serve"]


def test_a_server_that_is_made_as_the_unit_says_serves_whoever_has_the_token(
    tmp_path: Path,
) -> None:
    bundle, certificates = tmp_path / "shop.tflite", make_certificates(tmp_path / "made")
    bundle.write_bytes(colour_bundle(name="shop"))
    home = tmp_path / "pocketlens"
    home.mkdir()
    for arguments in of_unit()[:-1]:
        here = [
            each.replace("/var/lib/pocketlens", str(home)).replace("/tmp/shop.tflite", str(bundle))  # noqa: S108 # as it is written
            for each in arguments
        ]
        assert main(here) == 0
    server = home / "server"
    (server / "tls").mkdir()
    shutil.copy(certificates.certificate, server / "tls" / "cert.pem")
    shutil.copy(certificates.key, server / "tls" / "key.pem")
    shutil.copy(DEPLOY / "server.toml", server)
    shutil.rmtree(home / "offline-keys")

    wanted = config.read(server, {}).config

    assert (wanted.listen.host, wanted.listen.metrics_host) == ("0.0.0.0", "127.0.0.1")  # noqa: S104
    assert warnings(ServerFolder(server), insecure=False, now=datetime.now(UTC)) == []
    assert not [path for path in server.rglob("*") if "offline" in path.name]
    trusted = grpc.ssl_channel_credentials(certificates.ca.read_bytes())
    token = (home / "app.token").read_text().strip()
    with (
        serving(server, wanted, asks_tokens=True) as address,
        grpc.secure_channel(address.grpc, trusted) as channel,
    ):
        stub, asked = SyncServiceStub(channel), PollRequest(catalogue="main")
        answer = stub.Poll(asked, metadata=(("authorization", f"Bearer {token}"),), timeout=20)
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            stub.Poll(asked, timeout=20)
    assert [each.name for each in answer.files if "root" in each.name]


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))

    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stderr) == (0, "")


def copied() -> list[str]:
    """What the container's build copies of the repository."""
    found = []
    for line in lines(CONTAINER):
        if line.startswith("COPY ") and "--from" not in line:
            found += line.split()[1:-1]
    return found


def test_a_build_takes_what_it_copies_and_nothing_else() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]

    def is_taken(path: str) -> bool:
        is_in = True
        for rule in rules:
            if fnmatch.fnmatch(path, rule.removeprefix("!").removeprefix("**/")):
                is_in = rule.startswith("!")
        return is_in

    assert [path for path in copied() if not (ROOT / path).exists()] == []
    assert [path for path in copied() if not is_taken(path)] == []
    others = {each.name for each in ROOT.iterdir()} | {".git", ".venv", "runs", "shop-server"}
    assert [name for name in others - set(copied()) if is_taken(name)] == []
    assert not is_taken("__pycache__")
    packages = re.findall(r'"(\w+)/pocketlens\w*"', (ROOT / "pyproject.toml").read_text())
    assert set(packages) <= set(copied())
    for each in re.findall(r"-r (\S+)", CONTAINER.read_text()):
        assert (ROOT / each).is_file()


def test_operators_are_told_of_it() -> None:
    assert "examples/deploy" in (ROOT / "docs" / "operations.md").read_text()
    assert "examples/deploy" in (ROOT / "README.md").read_text()
