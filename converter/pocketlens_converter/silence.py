"""Quiet TensorFlow: imported without its greetings, run without its noise on stdout and stderr.

TensorFlow's converter writes from C++ to file descriptors 1 and 2, where a command's result
belongs; nothing short of redirecting the descriptors stops it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from pocketlens.errors import MissingExtraError


def tensorflow() -> ModuleType:
    """TensorFlow, imported at the first call.

    Raises:
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with silenced():
            import tensorflow as tf
    except ImportError as exc:
        raise MissingExtraError(
            "Training, converting and evaluating float models need TensorFlow. Install it: "
            "pip install 'pocketlens[converter]'"
        ) from exc
    tf.get_logger().setLevel("ERROR")  # it warns of every second model traced in one process
    return tf  # type: ignore[no-any-return]  # TensorFlow ships no types


@contextmanager
def silenced() -> Iterator[None]:
    """Sends what is written to descriptors 1 and 2 meanwhile to nowhere; warnings are ignored."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, start=1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(nowhere)
