"""All that is asked of a server, at once: a backend that changes its catalogue, devices, strangers.

    with Backend(server) as backend:
        found = all_at_once(server, backend, seconds=60)
        backend.let_a_day_pass()

A round leaves the catalogue as large as it was: prices, stock and pictures are others, one product
was deleted and is there again, and what was dead is purged. Three versions are kept. What a server
keeps for days or by the million would let it grow for days: a round counts as a day, and leaves it
two thousand requests to remember. What grows then is a leak, in memory too, where pages of the
database are held.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import os
import re
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from pocketlens.closing import Closing
from pocketlens.products import Image, Price, Product
from pocketlens_server.client import (
    CatalogueClient,
    DeleteProduct,
    PatchProduct,
    PutImage,
    PutProduct,
)
from pocketlens_server.folders import MAIN, ServerFolder
from pocketlens_server.publishing.gate_limits import Gate
from tests.making import colour_bundle
from tests.making.abuse import Abuse, Kind, Outcome
from tests.making.busy_servers import BusyServer
from tests.making.load import Load, Report, good_devices

PRODUCTS, PICTURES, BROKEN = 200, 20, 2
# A request of `message_bytes` is there in frames, joined, and read: each for a moment beside the
# next. docs/operations.md says so.
LARGE_REQUEST_COST = 5

_SETTINGS = "[keeping]\nversions = 3\n"
_ALLOWED = [gate.value for gate in Gate if gate is not Gate.VECTORS]  # what changes is of no shop
_PICTURE_SIDE = 96
_REQUESTS, _JOBS = 2000, 20
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(\+00:00)?")
_DAY = timedelta(days=1)

# What is sent, and how many of them a second; of slow requests, how many there are.
_ATTACKS: dict[Kind, tuple[int, float]] = {
    "resets": (1_000_000, 200),
    "large messages": (1_000_000, 50),
    "slow requests": (100, 0),
}


@dataclass(frozen=True)
class Changes:
    """What a backend did in a round.

    Attributes:
        results: Of its operations.
        letters: Pictures that were broken, and said to be.
        version: That it published.
    """

    results: Counter[str]
    letters: int
    version: int


class Backend(Closing):
    """Of a shop of 200 products, 20 of which have pictures."""

    def __init__(self, server: BusyServer) -> None:
        """Puts the products."""
        self._server, self._rounds = server, 0
        self._folder = ServerFolder(server.data).catalogue(MAIN)
        (self._folder.folder / "settings.toml").write_text(_SETTINGS)
        self._client = CatalogueClient(f"127.0.0.1:{server.port}")
        with self._client.stream() as stream:
            for number in range(PRODUCTS):
                stream.send(PutProduct(_product(number)))

    def close(self) -> None:
        """Closes its connection."""
        self._client.close()

    def change(self) -> Changes:
        """A round."""
        self._rounds += 1
        rng = np.random.default_rng(self._rounds)
        with self._client.stream() as stream:
            sent = [
                stream.send(
                    PatchProduct(
                        _id(number),
                        price=Price(int(rng.integers(99, 50_000)), "EUR"),
                        stock=int(rng.integers(100)),
                    )
                )
                for number in range(PRODUCTS)
            ]
            sent += [stream.send(DeleteProduct(_id(0))), stream.send(PutProduct(_product(0)))]
            for number in range(PICTURES):
                picture = _picture(rng)
                if number >= PICTURES - BROKEN:
                    picture = picture[: len(picture) // 2]
                put = PutImage(Image(f"image-{number}"), product_ids=[_id(number)])
                sent.append(stream.send(put, picture=picture))
            results = Counter(each.result().result.value for each in sent)
        self._client.wait(stream.job.number)
        letters = len(self._client.dead_letters())
        self._client.purge()
        published = self._client.publish(allowed_gates=_ALLOWED)
        return Changes(results, letters, published.version)

    def let_a_day_pass(self) -> None:
        """Makes what the server keeps for a time, and when it looked, older by a day.

        Of what it keeps by numbers, the rest goes.
        """
        folder = self._folder.folder
        with self._folder.changing() as tables:  # nothing is collected meanwhile
            tables.requests.forget_old(_REQUESTS)
            tables.jobs.forget_old(_JOBS)
            for name in ("unnamed.json", "pictures-collected"):
                path = folder / name
                path.write_text(_TIME.sub(_a_day_before, path.read_text()))
            for picture in (folder / "pictures").rglob("*"):
                found = picture.stat()
                times = found.st_atime, found.st_mtime - _DAY.total_seconds()
                os.utime(picture, times)

    @property
    def files(self) -> dict[Path, int]:
        """What lies in the server's folder, and its bytes."""
        found = {}
        for path in self._server.data.rglob("*"):
            with suppress(FileNotFoundError):  # a name that was to be another's
                if path.is_file():
                    found[path] = path.stat().st_size
        return found


@dataclass(frozen=True)
class Round:
    """What came of all.

    Attributes:
        good: What good devices had.
        too_often: What those had that ask more often than they may.
        changes: Of the backend.
        attacks: Of strangers, by their kinds.
    """

    good: Report
    too_often: Report
    changes: Changes
    attacks: dict[Kind, Outcome]


def all_at_once(
    server: BusyServer, backend: Backend, seconds: float, *, stand_back: bool = False
) -> Round:
    """A round of all that is asked of a server.

    Args:
        server: That is asked.
        backend: Of its catalogue.
        seconds: For which all but the backend ask.
        stand_back: Whether those that ask too often, or mean no good, do (see `programs`).
    """
    with ExitStack() as stack:
        too_often = stack.enter_context(
            Load(
                server.port,
                seconds=seconds,
                rate=400,
                connections=8,
                host="127.0.0.3",
                stands_back=stand_back,
            ).running()
        )
        attacks = {
            kind: stack.enter_context(
                Abuse(
                    kind,
                    server.port,
                    count=count,
                    rate=rate,
                    seconds=seconds,
                    stands_back=stand_back,
                ).running()
            )
            for kind, (count, rate) in _ATTACKS.items()
        }
        good = good_devices(server.port, seconds, host="127.0.0.4")
        good_report = stack.enter_context(good.running())
        changes = backend.change()
        found = good_report(), too_often()
        return Round(*found, changes, {kind: outcome() for kind, outcome in attacks.items()})


def _id(number: int) -> str:
    return f"soaked-{number}"


def _product(number: int) -> Product:
    return Product(_id(number), title=f"Soaked {number}")


def _picture(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Picture.fromarray(colour_bundle.fields(rng, side=_PICTURE_SIDE)).save(file, "PNG")
    return file.getvalue()


def _a_day_before(time: re.Match[str]) -> str:
    return (datetime.fromisoformat(time[0]) - _DAY).isoformat()
