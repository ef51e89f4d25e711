"""The program of a process that decodes pictures: they come in, tensors or errors go out.

    python -m pocketlens_server.catalogue.decoder_process     # as `decoders` starts it, on a socket

Its standard input is a socket, both ways. A request is a size and JSON: first how the process
confines itself, then a picture each, by its path or followed by its bytes. An answer is a kind, a
size, and a tensor or the class and text of an error. Whatever else goes wrong ends the process, and
so does the end of who started it.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from pocketlens.errors import MissingExtraError, PictureError, QueryError
from pocketlens.formats.bundle import Spec
from pocketlens.options import PictureLimits
from pocketlens.query import pictures

REQUEST = struct.Struct(">I")
"""Size of the JSON that follows."""

ANSWER = struct.Struct(">cI")
"""Kind, and size of what follows."""

READY, TENSOR, ERROR = b"r", b"t", b"e"

OUT_OF_MEMORY = 75
"""Exit code of a process that was not given the memory that a picture needs."""

_OPEN_FILES = 16  # the standard ones, the socket, a picture, the libraries of an extra
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def main() -> None:
    """Answers until the other end is closed."""
    with socket.fromfd(0, socket.AF_UNIX, socket.SOCK_STREAM) as line:
        requests = line.makefile("rb")
        _confine(json.loads(_request(requests))["memory_bytes"])
        line.sendall(ANSWER.pack(READY, 0))
        while request := _request(requests):
            line.sendall(_answer(json.loads(request), requests))


def _request(requests: BinaryIO) -> bytes:
    """The next one; empty when the other end is closed."""
    size = requests.read(REQUEST.size)
    return requests.read(REQUEST.unpack(size)[0]) if size else b""


def _answer(asked: Any, requests: BinaryIO) -> bytes:
    spec, limits = Spec(**asked["spec"]), PictureLimits(**asked["limits"])
    is_file = "path" in asked
    picture = Path(asked["path"]) if is_file else requests.read(asked["bytes"])
    try:
        box = None if asked["box"] is None else tuple(asked["box"])
        tensor = pictures.tensor(picture, spec, limits=limits, box=box)
        return b"".join((ANSWER.pack(TENSOR, tensor.nbytes), tensor.data))
    except (PictureError, MissingExtraError, QueryError) as exc:
        told = json.dumps([type(exc).__name__, str(exc)]).encode()
        return ANSWER.pack(ERROR, len(told)) + told
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # whatever else it did now could fail as well


def _confine(memory_bytes: int) -> None:
    """Gives up, for good, what decoding does not need."""
    os.umask(0o077)
    # A service that is told to stop has all its processes told: the picture at hand is finished.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    if sys.platform == "linux":  # macOS refuses the one, and has nothing like the other
        limits[resource.RLIMIT_AS] = memory_bytes
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    for limit, most in limits.items():
        _, allowed = resource.getrlimit(limit)
        lowered = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
        resource.setrlimit(limit, (lowered, lowered))


if __name__ == "__main__":
    main()
