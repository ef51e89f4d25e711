"""What loads with `import pocketlens`, and what only when it is used."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.making.shops import make_shop

import pocketlens

HEAVY = {
    *"ai_edge_litert tflite_runtime tensorflow keras grpc PIL annoy typer rich".split(),
    *"numkong google pandas matplotlib sqlite3".split(),
}


def loaded_after(statement: str) -> set[str]:
    """Top-level modules of a new process that has run a statement."""
    report = (
        "import json, sys; print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import pocketlens") & HEAVY == set()


@pytest.mark.parametrize(
    "name",
    "Comparison Explanation Fallback Filter SearchOptions PictureLimits Product Verdict".split(),
)
def test_values_load_nothing_heavy(name: str) -> None:
    assert loaded_after(f"import pocketlens; pocketlens.{name}") & HEAVY == set()


def test_lens_loads_neither_a_runtime_nor_pillow_before_a_photo(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, products=20)
    pocketlens.index(shop.list, vectors=shop.vectors, model=shop.bundle, out=tmp_path / "store")

    loaded = loaded_after(
        "import numpy, pocketlens\n"
        f"with pocketlens.Lens.open({str(tmp_path / 'store')!r}) as lens:\n"
        "    assert lens.search_vector(numpy.ones(16)).matches"
    )

    assert loaded & {"ai_edge_litert", "tflite_runtime", "PIL", "annoy", "typer", "rich"} == set()
    assert "grpc" not in loaded
    assert "sqlite3" in loaded  # what is used does load: the list above can be trusted


def test_help_loads_no_more_than_the_parser() -> None:
    loaded = loaded_after("from pocketlens.cli import main\nmain(['search', '--help'])")

    assert "typer" in loaded
    assert loaded & {"numpy", "ai_edge_litert", "PIL", "annoy", "sqlite3", "google"} == set()


def test_every_public_name_is_there() -> None:
    for name in pocketlens.__all__:
        assert getattr(pocketlens, name) is not None
    assert set(pocketlens.__all__) <= set(dir(pocketlens))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Lense'"):
        _ = pocketlens.Lense
