"""Tries everything that a search needs on this machine: `pocketlens doctor`.

    for finding in examine("shop/"):
        print(finding.level, finding.name, finding.what)

Decoding of pictures and inference of the model are compared with the bundle's golden examples
apart from each other: a difference in one would otherwise hide in the other.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from pocketlens.answering import searcher_of
from pocketlens.errors import BundleError, MissingExtraError, PocketLensError
from pocketlens.formats.bundle import Bundle
from pocketlens.golden_probe import found_share
from pocketlens.open_install import OpenInstall, Settings
from pocketlens.options import Accelerator, PictureLimits, SearchOptions
from pocketlens.query import pictures, runtimes
from pocketlens.query.embedder import Embedder

Level = Literal["ok", "warn", "fail"]

MAX_SATURATED_SHARE = 0.001  # beyond it the scale no longer fits the codes: DESIGN section 5
_ROWS = 8  # images looked up
_REPEATS = 3
_ACCELERATORS: tuple[Accelerator, ...] = ("cpu", "gpu", "npu", "nnapi")
_PACKAGES = ("pocketlens", "numpy", "pillow", "numkong", "annoy")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found.

    Attributes:
        name: Of what was probed.
        level: "ok", "warn" (it works, not as well as it could) or "fail" (it does not work).
        what: What it is like, with its unit; for "warn" and "fail" also what to do.
    """

    name: str
    level: Level
    what: str


def examine(directory: str | Path) -> tuple[Finding, ...]:
    """Probes the machine, the store in `directory` and its bundle.

    What is wrong is a finding, never an error, so that one fault does not hide another.
    """
    findings = [_versions(), _runtime()]
    try:
        settings = Settings(SearchOptions(), "cpu", PictureLimits())
        install = OpenInstall.opened(Path(directory), settings)
    except PocketLensError as exc:
        return (*findings, Finding("store", "fail", str(exc)))
    try:
        for probe in (_store, _disk, _bundle):
            findings += _run(probe, install)
        if findings[-1].level != "fail":  # what follows needs the bundle
            for probe in (_rows, _accelerators, _golden_examples, _timings):
                findings += _run(probe, install)
    finally:
        install.close()
    return tuple(findings)


def has_failed(findings: Iterable[Finding]) -> bool:
    """Whether a search cannot work."""
    return any(finding.level == "fail" for finding in findings)


def _run(probe: Callable[[OpenInstall], Iterable[Finding]], install: OpenInstall) -> list[Finding]:
    findings: list[Finding] = []
    try:
        findings += probe(install)
    except PocketLensError as exc:
        name = probe.__name__.strip("_").replace("_", " ")
        findings.append(Finding(name, "fail", str(exc)))
    return findings


def _versions() -> Finding:
    packages = [f"{name} {_version(name)}" for name in _PACKAGES]
    machine = [f"Python {platform.python_version()}", platform.platform(terse=True)]
    return Finding("versions", "ok", ", ".join([*packages, *machine]))


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "missing"


def _runtime() -> Finding:
    try:
        return Finding("runtime", "ok", runtimes.installed().name)
    except MissingExtraError as exc:
        return Finding("runtime", "fail", str(exc))


def _store(install: OpenInstall) -> Iterator[Finding]:
    """What the store says of itself."""
    facts, cache = install.reader.facts, install.reader.codebook_cache
    yield Finding(
        "store",
        "ok",
        f"{facts.images:,} images of {facts.products:,} products, version {facts.version} "
        f"as of {facts.as_of:%Y-%m-%d %H:%M} UTC, {'read-only' if cache is None else 'writable'}",
    )
    if facts.probes_estimated:
        what = f"{facts.probes} of {facts.lists} lists, estimated. Fit them: convert --queries"
        yield Finding("probes", "warn", what)
    else:
        yield Finding("probes", "ok", f"{facts.probes} of {facts.lists} lists")
    share = facts.saturated_share
    level: Level = "warn" if share > MAX_SATURATED_SHARE else "ok"
    advice = ". Make the store again: pocketlens index" if level == "warn" else ""
    yield Finding("codes", level, f"{share:.3%} of components saturated{advice}")


def _rows(install: OpenInstall) -> Iterator[Finding]:
    """A quick look at the rows: some images are read and found again by their own codes."""
    started = perf_counter()
    searcher = searcher_of(install.reader, install.bundle())
    share, images = found_share(install.reader, searcher, _ROWS)
    if share < 1:
        yield Finding("rows", "fail", "An image is not found by its own code. Index again.")
        return
    spent_ms = (perf_counter() - started) * 1e3
    yield Finding(
        "rows", "ok", f"{images} images find themselves ({spent_ms:.0f} ms; verify reads all)"
    )


def _disk(install: OpenInstall) -> Iterator[Finding]:
    """Room for another install beside this one, which the next `index` needs."""
    needed = sum(path.stat().st_size for path in install.folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(install.folder).free
    level: Level = "ok" if free > 2 * needed else "warn"
    what = f"{free / 2**20:,.0f} MiB free, the install takes {needed / 2**20:,.1f} MiB"
    yield Finding("disk", level, what if level == "ok" else f"{what}. Free some space.")


def _bundle(install: OpenInstall) -> Iterator[Finding]:
    """The bundle's hash and description."""
    bundle = install.bundle()
    spec = bundle.spec
    what = f"{spec.name}, {spec.width} x {spec.height} pixels to {spec.dim} numbers"
    yield Finding("bundle", "ok", what)
    calibration = bundle.calibration("device")
    if calibration is None:
        what = "none: every verdict is UNSURE. Try: pocketlens-converter calibrate"
        yield Finding("calibration", "warn", what)
    else:
        yield Finding(
            "calibration",
            "ok",
            f"MATCH from {calibration.match_threshold:.2f} on, "
            f"NO_MATCH below {calibration.no_match_threshold:.2f}",
        )


def _accelerators(install: OpenInstall) -> Iterator[Finding]:
    """Each one tried; the CPU must work, of the others it is said why they do not."""
    for accelerator in _ACCELERATORS:
        try:
            with Embedder.open(install.model(), accelerator=accelerator) as embedder:
                what = f"{embedder.runtime}, drift {embedder.drift:.2e}"
                yield Finding(accelerator, "ok", what)
        except BundleError as exc:
            level: Level = "fail" if accelerator == "cpu" else "ok"
            yield Finding(accelerator, level, f"not used: {exc}")


def _golden_examples(install: OpenInstall) -> Iterator[Finding]:
    """Drift of decoding (picture to tensor) and of inference (tensor to embedding) apart."""
    bundle, levels, by_decoding, by_inference = install.bundle(), 0.0, 0.0, 0.0
    embedder = install.embedder()
    for example in bundle.golden_examples:
        tensor = pictures.tensor(example.jpeg, bundle.spec)
        difference = np.abs(tensor.astype(np.int16) - example.tensor).mean()
        levels = max(levels, float(difference))
        inferred = embedder.embed_tensor(example.tensor)
        by_inference = max(by_inference, 1 - float(inferred @ example.embedding))
        by_decoding = max(by_decoding, 1 - float(embedder.embed_tensor(tensor) @ inferred))
    what = f"up to {levels:.2f} of 255 levels, {by_decoding:.2e} of cosine"
    yield _drift("decoding", what, by_decoding, bundle)
    yield _drift("inference", f"up to {by_inference:.2e} of cosine", by_inference, bundle)


def _drift(name: str, what: str, drift: float, bundle: Bundle) -> Finding:
    within = drift <= bundle.golden_bound
    bound = f"bound {bundle.golden_bound:.2e}"
    if within:
        return Finding(name, "ok", f"{what} ({bound})")
    return Finding(
        name, "warn", f"{what}, beyond the {bound}: more than 1 % of verdicts may change"
    )


def _timings(install: OpenInstall) -> Iterator[Finding]:
    """One golden picture all the way, warm."""
    picture = install.bundle().golden_examples[0].jpeg
    fastest = {"decode": float("inf"), "embed": float("inf"), "search": float("inf")}
    for _ in range(_REPEATS):
        spent = install.answer(install.embedded(picture), 10).timings
        each = (spent.decode_ms, spent.embed_ms, spent.search_ms)
        fastest = {
            name: min(best, milliseconds)
            for (name, best), milliseconds in zip(fastest.items(), each, strict=True)
        }
    text = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in fastest.items())
    yield Finding("timings", "ok", f"{text} (int8 kernel: numkong {_version('numkong')})")
