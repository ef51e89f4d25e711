"""Pictures of strangers -> tensors, decoded in processes that may come to harm.

    with Decoders() as decoders:
        decoders.decoded(path, bundle.spec)             # uint8 (height, width, 3)

Decoders are large programs in C, and a picture may be made for a hole in one. So each is decoded by
a process (`decoder_process`) that has little time, little memory and nothing to write to. What
ends, stops or confuses that process is an error of the picture; another takes its place, and
whoever decodes other pictures meanwhile does not notice.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pocketlens.closing import Closing
from pocketlens.cores import usable_cores
from pocketlens.errors import (
    PictureError,
    PictureFormat,
    PictureTooLarge,
    PictureTruncated,
    QueryError,
    ServerError,
)
from pocketlens.formats.bundle import Spec
from pocketlens.options import MIB, PictureLimits
from pocketlens_server.catalogue.decoder_process import (
    ANSWER,
    ERROR,
    OUT_OF_MEMORY,
    READY,
    REQUEST,
    TENSOR,
)

if TYPE_CHECKING:
    from pocketlens.query.pictures import Box  # which loads Pillow

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-P", "-m", "pocketlens_server.catalogue.decoder_process")
_DEFAULT_PICTURE_LIMITS = PictureLimits()

_START_SECONDS = 60.0  # Python and its modules from a slow disk, beside much else
_LOOK_EVERY = 16  # pictures: asking for a process's memory costs 45 us, which is 1 % of embedding
_ERROR_BYTES = 64 << 10  # a text names the picture's path, of 4 kB at most
_NONSENSE = "sent what is no answer"
# What Python and its libraries need of this process's environment: whoever takes a decoder over
# finds no secret there.
_PASSED = re.compile(r"PATH|HOME|TMPDIR|LANG|LC_\w+|PYTHON\w+|(LD|DYLD)_LIBRARY_PATH")
# By the name that comes back: a process that was taken over can raise nothing else here.
_ERRORS: dict[str, type[PictureError | QueryError]] = {
    "PictureError": PictureError,
    "PictureTooLarge": PictureTooLarge,
    "PictureTruncated": PictureTruncated,
    "PictureFormat": PictureFormat,
    "MissingExtraError": PictureFormat,  # a HEIC: one picture does not hold up the others
    "QueryError": QueryError,
}


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """What decoding may cost, beside what a picture's header may say (`PictureLimits`).

    Attributes:
        seconds: Of wall time for one picture; the slowest that `PictureLimits` allows take one
            second of a core.
        memory_bytes: Address space of a process. Its interpreter and libraries take 120 MB, the
            most that a picture was seen to take are 350 MB (a progressive JPEG of 50 megapixels);
            one of 94 in the baseline form takes 12.
        pictures_each: That a process decodes before another takes its place: what a library
            leaks is given back.
        resident_bytes: In memory between pictures, from which on another takes its place before
            that; 40 MB is usual. Looked at now and then.
    """

    seconds: float = 20.0
    memory_bytes: int = 1024 * MIB
    pictures_each: int = 1000
    resident_bytes: int = 256 * MIB


class Decoders(Closing):
    """Processes that decode pictures, started when they are needed.

    Threads: any number may decode at once; each waits for a process of its own.
    Processes: not to be used after a fork. Those that decode end with this one, even if it is
    killed.
    Closing: pictures at hand are finished; later calls are refused.

    Attributes:
        workers: Processes at most.
    """

    def __init__(
        self,
        limits: DecodingLimits | None = None,
        workers: int | None = None,
        *,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Starts nothing yet.

        Args:
            limits: `DecodingLimits()` if None.
            workers: Processes at most. One for each core if None, and one more, since there is
                always one that waits for its next picture.
            command: That starts a process which speaks as `decoder_process` does.
        """
        self._limits, self._command = limits or DecodingLimits(), command
        self.workers = workers or usable_cores() + 1
        self._places = threading.Semaphore(self.workers)
        self._idle: list[_Worker] = []
        self._closing, self._is_closed = threading.Lock(), False
        # On Linux a process is killed when the thread that started it ends: this one stays.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="pocketlens-decoders")

    def decoded(
        self,
        picture: Path | bytes,
        spec: Spec,
        *,
        limits: PictureLimits = _DEFAULT_PICTURE_LIMITS,
        box: Box | None = None,
    ) -> npt.NDArray[np.uint8]:
        """What `pocketlens.query.pictures.tensor` makes of a picture, which is tried once.

        Args:
            picture: Its path, or itself: then it is in no file, and no text names it.
            spec: Of the bundle.
            limits: Beyond which a picture is refused.
            box: The part of it that is wanted, in pixels of the upright picture.

        Returns:
            uint8 (spec.height, spec.width, 3), RGB.

        Raises:
            PictureError: It cannot be used, or the process that decoded it came to harm.
            QueryError: The box is no part of it.
            ServerError: No process can be started, or these decoders are closed.
        """
        asked: dict[str, object] = {"spec": asdict(spec), "limits": asdict(limits), "box": box}
        if isinstance(picture, Path):
            name, sent, asked["path"] = str(picture), b"", str(picture)
        else:
            name, sent, asked["bytes"] = "The picture", picture, len(picture)
        with self._places:
            if self._is_closed:
                raise ServerError("These decoders are closed. Open others: Decoders().")
            worker = self._taken()
            try:
                due = monotonic() + self._limits.seconds
                found = _picture(worker, asked, sent, spec, due=due)
            except _Harm as exc:
                worker.end()
                raise self._harmful(name, exc) from exc
            except BaseException:  # an interrupt: its answer would be the next picture's
                worker.end()
                raise
            self._put_back(worker)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Ends the processes; closing again is no error."""
        self._is_closed = True
        with self._closing:
            for _ in range(self.workers):
                self._places.acquire()
            while self._idle:
                self._idle.pop().end()
            self._places.release(self.workers)
            self._starter.shutdown()

    def _taken(self) -> _Worker:
        while True:
            try:
                worker = self._idle.pop()
            except IndexError:
                return self._started()
            if worker.is_alive():
                return worker
            worker.end()  # something killed it that was no picture

    def _put_back(self, worker: _Worker) -> None:
        worker.pictures += 1
        is_worn = worker.pictures >= self._limits.pictures_each
        if worker.pictures % _LOOK_EVERY == 0:
            is_worn |= worker.resident_bytes() >= self._limits.resident_bytes
        if is_worn:
            worker.end()
        else:
            self._idle.append(worker)

    def _started(self) -> _Worker:
        try:
            worker = self._starter.submit(_Worker, self._command).result()
        except (OSError, RuntimeError) as exc:  # RuntimeError: there is no room for a thread
            raise ServerError(
                f"Cannot start a process that decodes pictures: {exc}. Free some memory and try "
                "again."
            ) from exc
        try:
            worker.confine(self._limits.memory_bytes)
        except _Harm as exc:
            worker.end()
            raise ServerError(
                f"Expected a process that decodes pictures. Received one that {exc} before its "
                f"first. Try to start it and see what it says: {' '.join(self._command)}"
            ) from exc
        except BaseException:
            worker.end()
            raise
        return worker

    def _harmful(self, name: str, harm: _Harm) -> PictureError:
        logger.warning("A process that decodes pictures %s: path=%s", harm, name)
        seconds, most = self._limits.seconds, self._limits.memory_bytes // MIB
        return PictureError(
            f"{name}: Expected a picture that is decoded within {seconds:g} s and {most:,} MiB. "
            f"Received one whose decoder {harm}. Try a smaller copy, or save it again."
        )


def _environment() -> dict[str, str]:
    passed = {name: text for name, text in os.environ.items() if _PASSED.fullmatch(name)}
    return {**passed, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


class _Harm(Exception):
    """A process ended, was late, or sent what cannot be; the text tells it as "that ..."."""


class _Worker:
    """A process and the line to it. For one thread at a time.

    Attributes:
        pictures: That it was done with.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Starts it; OSError if that cannot be."""
        self.pictures = 0
        self._line, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - no picture has a say in it
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                process_group=0,  # Ctrl-C is for the server alone
            )
        except BaseException:
            self._line.close()
            raise
        finally:
            theirs.close()

    def confine(self, memory_bytes: int) -> None:
        """Waits until it is ready for pictures; _Harm if it never is."""
        asked = {"memory_bytes": memory_bytes}
        kind, _ = self.ask(asked, due=monotonic() + _START_SECONDS, at_most=0)
        if kind != READY:
            raise _Harm(_NONSENSE)

    def ask(
        self, asked: object, sent: bytes = b"", *, due: float, at_most: int
    ) -> tuple[bytes, bytearray]:
        """Kind and contents of the answer, of `at_most` bytes; _Harm if there is none."""
        request = json.dumps(asked).encode()
        try:
            self._line.settimeout(max(due - monotonic(), 1e-3))
            self._line.sendall(REQUEST.pack(len(request)) + request)
            self._line.sendall(sent)
            kind, size = ANSWER.unpack(self._received(ANSWER.size, due))
            if size > at_most:
                raise _Harm(_NONSENSE)
            return kind, self._received(size, due)
        except TimeoutError as exc:
            raise _Harm("took longer") from exc
        except (OSError, EOFError) as exc:
            raise _Harm(self._fate()) from exc

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def resident_bytes(self) -> int:
        """In memory; 0 where the system does not tell."""
        with suppress(OSError):
            pages = Path(f"/proc/{self._process.pid}/statm").read_bytes().split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._line.close()

    def _received(self, size: int, due: float) -> bytearray:
        data = bytearray(size)
        left = memoryview(data)
        while left:
            if (seconds := due - monotonic()) <= 0:
                raise TimeoutError
            self._line.settimeout(seconds)
            if not (count := self._line.recv_into(left)):
                raise EOFError
            left = left[count:]
        return data

    def _fate(self) -> str:
        """What became of a process that hung up."""
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            return "hung up"
        if code == OUT_OF_MEMORY:
            return "needed more memory"
        if code < 0:
            return f"was ended by signal {-code} ({signal.strsignal(-code)})"
        return f"ended with code {code}"


def _picture(
    worker: _Worker, asked: object, sent: bytes, spec: Spec, *, due: float
) -> npt.NDArray[np.uint8] | PictureError | QueryError:
    """The answer to a picture, checked as one of a stranger."""
    shape = spec.height, spec.width, 3
    kind, contents = worker.ask(asked, sent, due=due, at_most=max(math.prod(shape), _ERROR_BYTES))
    try:
        if kind == TENSOR:
            return np.frombuffer(contents, np.uint8).reshape(shape)
        if kind == ERROR:
            name, text = json.loads(contents)
            return _ERRORS[name](str(text))
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise _Harm(_NONSENSE) from exc
    raise _Harm(_NONSENSE)
