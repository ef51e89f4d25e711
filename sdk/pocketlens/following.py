"""Stores that follow a server: made once, brought up to date whenever the app likes.

    pocketlens.install("shop/", server="https://cdn.shop.example/main", root="root.json")
    report = update("shop/")                # as `Lens.sync` does

What a store follows is kept in its folder, so that later a sync needs nothing but the folder.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pocketlens import followed
from pocketlens.durable_files import translated
from pocketlens.errors import (
    MissingExtraError,
    StoreCorrupt,
    StoreError,
    StoreFull,
    StoreLocked,
    SyncError,
)
from pocketlens.followed import Followed
from pocketlens.options import Deadlines, SyncOptions
from pocketlens.progress import Progress
from pocketlens.store import installs
from pocketlens.sync.credentials import Credentials
from pocketlens.sync.retrying import RetryingTransport
from pocketlens.sync.transports import FolderTransport, Transport

if TYPE_CHECKING:
    from pocketlens.sync.reports import SyncReport


LONGEST_WAIT_SECONDS = 3600  # after failures, on average
_YES = {True: "yes", False: ""}


def install(
    directory: str | Path,
    *,
    server: str,
    root: str | Path | bytes,
    catalog: str = "main",
    ca: str | Path | None = None,
    token_file: str | Path | None = None,
    start_from: str | Path | None = None,
    thumbnails: bool | None = None,
    transport: Transport | None = None,
    options: SyncOptions | None = None,
    only_plan: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Progress = lambda stage, done, total: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> SyncReport:
    """Makes a store that follows a server, and remembers what it follows.

    Args:
        directory: New or empty, or a store that followed the same catalogue.
        server: HOST:PORT, address of the catalogue's public files (https://...), or a folder.
        root: Signed metadata that the app came with: a file, or its bytes.
        catalog: Name of the catalogue.
        ca: File with the certificates to trust, PEM; those of the system where None. Its place is
            remembered, as that of the token is, and both are read at every sync.
        token_file: File with the token to send to the server.
        start_from: A store that came with the app (`pocketlens-server export`): copied where there
            is no store yet, so that only what changed since is fetched.
        thumbnails: Whether catalogue pictures are kept small, to be shown without a network; None
            for what is remembered, which is no at first.
        transport: What is asked in place of `server`, this time, such as a
            `pocketlens.testing.MemoryServer`; it is closed afterwards.
        options: What it may cost; `SyncOptions()` if None.
        only_plan: Whether nothing is changed, and only said what it would cost.
        cancelled: Asked between pieces of what is fetched.
        progress: Called with a stage, done and total.
        clock: The device's clock, in UTC.

    Raises:
        SyncError: It cannot be; the folder is as it was, but for pieces that were fetched.
        StoreError: The folder cannot be written.
    """
    path = Path(directory)
    data = root if isinstance(root, bytes) else _read(Path(root))
    known = _known(path)  # if it is damaged, it is named again here
    device = known.device if known else secrets.token_hex(16)
    kept = known.thumbnails if known else ""
    wanted = Followed(
        server,
        catalog,
        data,
        device,
        _absolute(ca),
        _absolute(token_file),
        kept if thumbnails is None else _YES[thumbnails],
    )
    if start_from is not None and not only_plan:
        installs.copy(Path(start_from), path)

    def remember() -> None:
        followed.write(path, wanted)

    return _run(path, wanted, remember, transport, options, only_plan, cancelled, progress, clock)


def update(
    directory: str | Path,
    *,
    thumbnails: bool | None = None,
    transport: Transport | None = None,
    options: SyncOptions | None = None,
    only_plan: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Progress = lambda stage, done, total: None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> SyncReport:
    """Brings a store up to date with what it follows; searches go on all the while.

    Args:
        directory: That `install` made.
        thumbnails: As for `install`.
        transport: As for `install`.
        options: What it may cost; `SyncOptions()` if None.
        only_plan: Whether nothing is changed, and only said what it would cost.
        cancelled: Asked between pieces of what is fetched.
        progress: Called with a stage, done and total.
        clock: The device's clock, in UTC.

    Raises:
        SyncError: It cannot be, or the store follows nothing; it answers as it did before.
        StoreError: The folder cannot be written.
    """
    path = Path(directory)
    wanted = _with(_followed(path), thumbnails)

    def remember() -> None:
        known = _known(path)  # it may have been named anew meanwhile
        followed.write(path, _with(known, thumbnails) if known else wanted)

    return _run(path, wanted, remember, transport, options, only_plan, cancelled, progress, clock)


def watch(
    directory: str | Path,
    *,
    interval_seconds: float = 300,
    options: SyncOptions | None = None,
    told: Callable[[SyncReport | SyncError | StoreError], None] = lambda what: None,
    wait: Callable[[float], bool] = lambda seconds: _slept(seconds),
    rng: random.Random | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Brings a store up to date again and again, until `wait` says to stop.

    Devices that were all cut off at once do not all come back at once: each waits for a random time
    around the interval, and twice as long after each failure, up to an hour.

    Args:
        directory: That `install` made.
        interval_seconds: Between two syncs, on average, above 0.
        options: What each may cost; `SyncOptions()` if None.
        told: Called with each report, or with why there is none.
        wait: Waits for so many seconds; returns whether to stop. Sleeps, and never stops, if left.
        rng: Draws the waiting times.
        clock: The device's clock, in UTC.

    Raises:
        SyncError: The store follows no server.
        StoreError: The folder holds something else, or may not be written.
    """
    _followed(Path(directory))  # what cannot get better is told at once
    rng = rng or random.Random()  # noqa: S311 # it spreads load, no more
    failures = 0
    while True:
        try:
            told(update(directory, options=options, clock=clock))
            failures = 0
        except (SyncError, StoreCorrupt, StoreFull, StoreLocked) as exc:
            told(exc)
            failures += 1
        mean = min(interval_seconds * 2**failures, max(interval_seconds, LONGEST_WAIT_SECONDS))
        if wait(mean * rng.uniform(0.5, 1.5)):
            return


def _with(known: Followed, thumbnails: bool | None) -> Followed:
    return known if thumbnails is None else replace(known, thumbnails=_YES[thumbnails])


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _followed(path: Path) -> Followed:
    """What the store follows.

    Raises:
        SyncError: Nothing, or that is damaged.
    """
    found = followed.read(path)
    if found is None:
        raise SyncError(
            f"The store {path} follows no server. Name one: pocketlens sync {path} --server "
            "ADDRESS --root root.json"
        )
    return found


def _known(path: Path) -> Followed | None:
    """What the store follows; None where that is not known, or damaged."""
    with suppress(SyncError):
        return followed.read(path)
    return None


def _run(
    path: Path,
    wanted: Followed,
    remember: Callable[[], None],
    transport: Transport | None,
    options: SyncOptions | None,
    only_plan: bool,
    cancelled: Callable[[], bool],
    progress: Progress,
    clock: Callable[[], datetime],
) -> SyncReport:
    try:
        from pocketlens.sync import session
    except ModuleNotFoundError as exc:
        raise MissingExtraError(
            "Syncing needs an extra. Install it: pip install 'pocketlens[sync]'"
        ) from exc
    options = options or SyncOptions()
    transport = transport or _transport(wanted, options.deadlines)

    def settled() -> None:
        remember()
        installs.make_private(path)

    try:
        return session.sync(
            path,
            transport,
            catalogue=wanted.catalogue,
            root=wanted.root,
            now=clock(),
            options=options,
            device=wanted.device,
            with_thumbnails=wanted.thumbnails == _YES[True],
            only_plan=only_plan,
            cancelled=cancelled,
            progress=progress,
            settled=settled,
        )
    finally:
        transport.close()


def _transport(wanted: Followed, deadlines: Deadlines) -> Transport:
    """To the server; it asks again, seldom, where that does not answer."""
    server = wanted.server
    credentials = Credentials.read(
        ca=Path(wanted.ca) if wanted.ca else None,
        token_file=Path(wanted.token_file) if wanted.token_file else None,
    )
    found: Transport
    if server.startswith(("http://", "https://")):
        from pocketlens.sync.http_transport import HttpTransport

        found = HttpTransport(server, credentials=credentials, deadlines=deadlines)
    elif _is_server(server):
        from pocketlens.sync.grpc_transport import GrpcTransport

        found = GrpcTransport(
            server, wanted.catalogue, credentials=credentials, deadlines=deadlines
        )
    elif (Path(server) / "metadata").is_dir():
        return FolderTransport(Path(server))
    else:
        raise SyncError(
            "Expected a server (HOST:PORT), an address (https://...) or a folder with a "
            f"catalogue's public files. Received {server!r}."
        )
    return RetryingTransport(found, rng=random.Random())  # noqa: S311 # it spreads load, no more


def _is_server(server: str) -> bool:
    """Whether that is HOST:PORT and no folder."""
    host, _, port = server.rpartition(":")
    return bool(host) and port.isdecimal() and not Path(server).exists()


def _absolute(path: str | Path | None) -> str:
    return "" if path is None else str(Path(path).absolute())


def _read(root: Path) -> bytes:
    try:
        return root.read_bytes()
    except FileNotFoundError as exc:
        raise SyncError(f"There is no {root}. It comes from the server's operator.") from exc
    except OSError as exc:
        raise translated(exc, root) from exc
