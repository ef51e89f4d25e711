"""How long a model takes on this machine's CPU, and how much of it XNNPACK takes over.

A machine's milliseconds are no phone's: they are there to compare models with each other.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pocketlens.query import runtimes

THREADS = (1, 2)
RUNS = 30
WARM_UP_RUNS = 5


@dataclass(frozen=True, slots=True)
class Latency:
    """What inference costs.

    Attributes:
        median_ms: By number of threads, the median of some runs.
        runtime: Library and version.
        xnnpack_partitions: Parts of the graph that XNNPACK runs: 1 is all in one piece, 0 none;
            more mean that operators between them run without it.
    """

    median_ms: dict[int, float]
    runtime: str
    xnnpack_partitions: int


def measured(tflite: bytes) -> Latency:
    """Runs the model on grey pixels.

    Raises:
        ModelUnsupported: It cannot run here.
    """
    medians: dict[int, float] = {}
    runtime = runtimes.interpreter(tflite, "cpu", threads=THREADS[0])
    for threads in THREADS:
        runtime = runtimes.interpreter(tflite, "cpu", threads=threads)
        picture = np.full(runtime.input_shape, 128, np.uint8)
        seconds = []
        for _ in range(WARM_UP_RUNS + RUNS):
            began = time.perf_counter()
            runtime.run(picture)
            seconds.append(time.perf_counter() - began)
        medians[threads] = 1000 * float(np.median(seconds[WARM_UP_RUNS:]))
    return Latency(medians, runtime.name, runtime.delegated_partitions())
