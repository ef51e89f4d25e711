"""Two catalogues on one server, each with products, a model and keys of its own."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.making.colour_bundle import colour_bundle
from tests.making.shop_servers import tile

from pocketlens import Lens, Verdict, install
from pocketlens.errors import NotFound, SyncError, TransportError, TrustError
from pocketlens_server.cli import main

CATALOGUES = {"main": range(8), "toys": range(8, 20)}  # numbers of the tiles that each sells
KINDS = ["grpc", "http"]


def run(*command: str) -> None:
    assert main(command) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, and a server with both catalogues."""
    made = tmp_path_factory.mktemp("shops")
    data = str(made / "server")
    run("init", data)
    run("catalog", "add", "toys", "--data", data)
    for name, numbers in CATALOGUES.items():
        of_it = ["--data", data, "--catalog", name]
        (made / f"{name}.tflite").write_bytes(colour_bundle(name=name))
        for number in numbers:
            (made / f"{number}.png").write_bytes(tile(number))
        rows = [f"{number}.png,{name}-{number}" for number in numbers]
        (made / f"{name}.csv").write_text("\n".join(["image,product_id", *rows]) + "\n")
        run("model", "add", str(made / f"{name}.tflite"), *of_it)
        run("push", str(made / f"{name}.csv"), *of_it)
        run("publish", *of_it)
    return made


@dataclass(frozen=True)
class Address:
    """Of the server in a process of its own."""

    grpc: str
    http: str

    def of(self, kind: str, catalogue: str) -> str:
        return self.grpc if kind == "grpc" else f"{self.http}/{catalogue}"


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[Address]:
    program = "import sys; from pocketlens_server.cli import main; sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        program,
        "serve",
        "--insecure",
        "--data",
        str(folder / "server"),
    ]
    with subprocess.Popen(
        [*command, "--port", "0", "--http-port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        files, serving = process.stderr.readline(), process.stderr.readline()
        http = files.split()[-1].removesuffix("/CATALOGUE")
        yield Address(serving.split()[-1], http)
        process.terminate()
    assert process.returncode == 0


def root(folder: Path, catalogue: str) -> Path:
    return folder / "server" / "public" / catalogue / "metadata" / "1.root.json"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("catalogue", list(CATALOGUES))
def test_a_device_finds_the_products_of_its_own_catalogue(
    kind: str, catalogue: str, folder: Path, address: Address, tmp_path: Path
) -> None:
    install(
        tmp_path / "store",
        server=address.of(kind, catalogue),
        root=root(folder, catalogue),
        catalog=catalogue,
    )

    with Lens.open(tmp_path / "store") as lens:
        model = (folder / f"{catalogue}.tflite").read_bytes()
        assert lens.facts.bundle_sha256 == hashlib.sha256(model).digest()
        assert lens.facts.products == len(CATALOGUES[catalogue])
        for name, numbers in CATALOGUES.items():
            found = lens.search(folder / f"{numbers[0]}.png")
            assert (found.verdict is Verdict.MATCH) is (name == catalogue)
            assert {match.product.id.partition("-")[0] for match in found.matches} == {catalogue}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("catalogue", "other"), [("main", "toys"), ("toys", "main")])
def test_the_root_of_another_catalogue_is_refused(
    kind: str, catalogue: str, other: str, folder: Path, address: Address, tmp_path: Path
) -> None:
    with pytest.raises(TrustError, match="Is the root that of this catalogue"):
        install(
            tmp_path / "store",
            server=address.of(kind, catalogue),
            root=root(folder, other),
            catalog=catalogue,
        )

    assert not list(tmp_path.rglob("*.sqlite"))


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("grpc", TransportError, "There is no catalogue 'books'"),
        ("http", TransportError, "There is no metadata/timestamp.json"),
        ("http of another", TrustError, "Expected the catalogue 'books'. Received 'main'"),
    ],
)
def test_a_catalogue_that_is_not_there_is_refused(
    kind: str, error: type[SyncError], says: str, folder: Path, address: Address, tmp_path: Path
) -> None:
    server = f"{address.http}/main" if kind == "http of another" else address.of(kind, "books")

    with pytest.raises(error, match=says) as refused:
        install(tmp_path / "store", server=server, root=root(folder, "main"), catalog="books")

    assert isinstance(refused.value.__cause__, NotFound) is (kind == "grpc")
    assert not list(tmp_path.rglob("*.sqlite"))
