"""Writes vectors/tiny_bundle.tflite: a whole bundle for readers and runtimes without TensorFlow.

    python tests/conformance/make_tiny_bundle.py

Its model has random weights from a seed; other versions of TensorFlow convert it to other bytes,
so an existing vector is never made anew: it is what readers of today's format must go on reading.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VECTOR = Path(__file__).parent / "vectors" / "tiny_bundle.tflite"

if __name__ == "__main__":
    if VECTOR.exists():
        sys.exit(f"{VECTOR} exists: vectors are only added")
    sys.path.insert(0, str(ROOT))
    from tests.making.models import tiny_bundle

    VECTOR.parent.mkdir(exist_ok=True)
    VECTOR.write_bytes(tiny_bundle())
