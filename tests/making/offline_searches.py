"""Searches in a process of its own, and all that it asked of a network; a program for tests.

    python -m tests.making.offline_searches STORE COUNT

Every second search may ask a server, and its answer says that it need not. Prints JSON: how many
searches answered, the network events of Python, and which libraries that
speak to a network without Python were loaded.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import sys
from pathlib import Path

NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
           "socket.sendmsg", "socket.bind", "urllib.Request", "http.client.connect")  # fmt: skip


def main() -> None:
    store, count = Path(sys.argv[1]), int(sys.argv[2])
    events: list[str] = []

    def audit(event: str, _: object) -> None:
        if event in NETWORK:
            events.append(event)

    sys.addaudithook(audit)
    from pocketlens import Fallback, Lens
    from pocketlens.errors import PictureError
    from tests.making.canaries import canary_photo

    answered = refused = 0
    with Lens.open(store) as lens:
        for seed in range(count):
            photo = canary_photo(seed)
            allowed = Fallback("127.0.0.1:9", when=lambda found: False) if seed % 2 else None
            answered += bool(lens.search(photo, k=3, fallback=allowed).matches)
            try:  # what goes wrong reports to nobody either
                lens.search(photo[: len(photo) // 3])
            except PictureError:
                refused += 1
    loaded = sorted({"grpc", "urllib3", "tuf"} & set(sys.modules))
    found = {"answered": answered, "refused": refused, "events": events, "loaded": loaded}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
