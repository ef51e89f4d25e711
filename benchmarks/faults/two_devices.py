"""Two devices follow a server that is killed under them; one is cut off again and again.

    python benchmarks/faults/two_devices.py [--minutes 10] [--quick] [--json FILE]

The shop publishes all the while, each device is a process of its own that syncs and searches in
threads, the server ends by SIGKILL at random. Afterwards, without faults, one sync must bring both
to the state that the server signed, and no search may have failed.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from time import monotonic, sleep

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import goals
import numpy as np
import vectors
from sync_catalogue import ShopServer
from sync_wire import Server, Wire
from tests.making.shops import bare_bundle

from pocketlens import Lens
from pocketlens.errors import PocketLensError, SyncError
from pocketlens.following import install, update
from pocketlens.store.reader import Reader
from pocketlens.store.verification import verify

ROWS, DIM = 2000, 16
SEARCHERS = 2  # threads of each device
PUBLISH_SECONDS, KILL_SECONDS, SYNC_SECONDS = 3.0, 20.0, 0.5  # between two, on average
PAUSE_SECONDS = 0.005  # between searches: two cores also publish and serve
CUT_BYTES = 20_000  # after which a connection is cut, on average


def main() -> int:
    parser = goals.options(__doc__, quick="a third of a minute")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--device", nargs=3, metavar=("DIR", "SERVER", "ROOT"), help="be one")
    arguments = parser.parse_args()
    if arguments.device:
        directory, server, root = arguments.device
        follow(Path(directory), server, Path(root))
        return 0
    if arguments.quick:
        arguments.minutes = 1 / 3
    with tempfile.TemporaryDirectory() as work:
        figures = run(Path(work), arguments.minutes * 60)
    return goals.told(arguments, figures, zero=ZERO)


def run(work: Path, seconds: float) -> dict[str, int]:
    """The server's side, and what both devices came to."""
    rng = np.random.default_rng(17)
    model = work / "shop.tflite"
    model.write_bytes(bare_bundle(DIM))
    shop = ShopServer.make(work / "server", model, vectors.synthetic(DIM), ROWS)
    root = shop.folder.public / "metadata" / "1.root.json"
    server = Server(shop.path, work, tls=False)
    port, kills = server.port, 0
    with Wire(port, lasts=lambda: rng.exponential(CUT_BYTES)) as cut:
        devices = {
            work / "whole": _device(work / "whole", port, root),
            work / "cut": _device(work / "cut", cut.port, root),
        }
        began, kill_at = monotonic(), rng.exponential(KILL_SECONDS)
        while monotonic() - began < seconds:
            for _, change in shop.changes():
                change(int(rng.integers(1, 20)))
            shop.add(vectors.spread(shop.embeddings.gallery, int(rng.integers(1, 20))))
            shop.publish()
            sleep(rng.exponential(PUBLISH_SECONDS))
            if monotonic() - began > kill_at:
                server.kill()
                kills += 1
                sleep(rng.uniform(0, 3))
                server = Server(shop.path, work, tls=False, port=port)
                kill_at = monotonic() - began + rng.exponential(KILL_SECONDS)
        told = [json.loads(each.communicate("stop\n")[0]) for each in devices.values()]
    expected, differing, findings = shop.manifest.state_hash, 0, 0
    for directory in devices:
        install(directory, server=f"127.0.0.1:{port}", root=root)
        with Reader.open(directory) as reader:
            differing += reader.facts.state_hash != expected
        findings += len(verify(directory).findings)
    server.close()
    counts: Counter[str] = sum(map(Counter, told), Counter())
    return {
        "seconds": round(seconds),
        "versions": shop.manifest.version,
        "server_kills": kills,
        "cut_bytes_received": cut.received,
        "differing_states": differing,
        "findings": findings,
        **{name: counts[name] for name in sorted({*counts, *COUNTED})},
    }


ZERO = ("failed_searches", "escaped_errors", "differing_states", "findings")
COUNTED = ("syncs", "refused_syncs", "escaped_errors", "searches", "failed_searches")


def follow(directory: Path, server: str, root: Path) -> None:
    """One device, until a line comes in; prints its counts."""
    counts: Counter[str] = Counter()
    stopped, rng = threading.Event(), np.random.default_rng(len(str(directory)))
    threading.Thread(target=lambda: (sys.stdin.readline(), stopped.set()), daemon=True).start()
    while not (directory / "CURRENT").exists() and not stopped.is_set():
        try:
            install(directory, server=server, root=root)
        except SyncError:
            counts["refused_syncs"] += 1
    with Lens.open(directory) as lens:
        searchers = [
            threading.Thread(target=search, args=(lens, counts, stopped, number))
            for number in range(SEARCHERS)
        ]
        for each in searchers:
            each.start()
        while not stopped.wait(rng.exponential(SYNC_SECONDS)):
            try:
                update(directory)
                counts["syncs"] += 1
                lens.refresh()
            except SyncError:
                counts["refused_syncs"] += 1
            except PocketLensError as error:
                counts["escaped_errors"] += 1
                print(repr(error), file=sys.stderr)
        for each in searchers:
            each.join()
    print(json.dumps(counts))


def search(lens: Lens, counts: Counter[str], stopped: threading.Event, seed: int) -> None:
    """Searches again and again."""
    rng = np.random.default_rng(seed)
    while not stopped.wait(PAUSE_SECONDS):
        try:
            found = lens.search_vector(rng.normal(size=DIM).astype(np.float32), 10)
            counts["failed_searches"] += len(found.matches) != 10
        except Exception as error:
            counts["failed_searches"] += 1
            print(repr(error), file=sys.stderr)
        counts["searches"] += 1


def _device(directory: Path, port: int, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, __file__, "--device", str(directory), f"127.0.0.1:{port}", str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


if __name__ == "__main__":
    sys.exit(main())
