"""Does a runtime compute what the bundle's reference did? Measured once, then remembered.

The bundle carries tensors and the embeddings that the reference CPU kernel made of them. The
drift of a runtime is its largest cosine distance to these. It is kept in a small file for each
(bundle, runtime, driver, accelerator), so that only the first start on a device pays for it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np

from pocketlens.durable_files import write_file
from pocketlens.errors import StoreError
from pocketlens.formats.bundle import Bundle
from pocketlens.query.runtimes import Runtime

logger = logging.getLogger(__name__)


def drift(
    runtime: Runtime, bundle: Bundle, bundle_sha256: bytes, checks: Path | None = None
) -> float:
    """Largest cosine distance, 0 to 2, of a runtime's embeddings to the golden ones.

    Args:
        runtime: With the bundle's model loaded.
        bundle: What the bundle says.
        bundle_sha256: Of its file.
        checks: Folder where drifts are remembered; None, or one that cannot be written to,
            measures each time.
    """
    known = None if checks is None else checks / _file_name(runtime, bundle_sha256)
    if known is not None and (found := _remembered(known)) is not None:
        return found
    measured = max(
        _distance(runtime.run(example.tensor), example.embedding)
        for example in bundle.golden_examples
    )
    logger.debug(
        "golden_check.complete runtime=%s accelerator=%s drift=%.2e bound=%.2e",
        runtime.name, runtime.candidate.accelerator, measured, bundle.golden_bound,
    )  # fmt: skip
    if known is not None:
        _remember(known, measured, runtime)
    return measured


def _distance(output: np.ndarray, golden: np.ndarray) -> float:
    vector = output.astype(np.float64)
    norm = float(np.linalg.norm(vector) * np.linalg.norm(golden.astype(np.float64)))
    if not (np.isfinite(norm) and norm > 0):
        return 2.0  # no direction at all: as far as can be
    return max(0.0, 1 - float(vector @ golden.astype(np.float64)) / norm)


def _file_name(runtime: Runtime, bundle_sha256: bytes) -> str:
    candidate = runtime.candidate
    key = (bundle_sha256.hex(), runtime.name, candidate.accelerator, candidate.driver)
    return f"golden-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def _remembered(path: Path) -> float | None:
    try:
        found = json.loads(path.read_bytes())["drift"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none yet, or damaged: measured again
    return float(found) if isinstance(found, float) and 0 <= found <= 2 else None


def _remember(path: Path, measured: float, runtime: Runtime) -> None:
    known = {
        "drift": measured,
        "runtime": runtime.name,
        "accelerator": runtime.candidate.accelerator,
        "driver": runtime.candidate.driver,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps(known, indent=1).encode())
    except (StoreError, OSError) as exc:
        logger.debug("golden_check.not_remembered path=%s reason=%s", path, exc)
