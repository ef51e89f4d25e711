"""Processes that decode pictures: those that this one has, and some that answer otherwise.

workers()                                   # their ids
Decoders(command=rogue("sends", b"t"))      # says that it is ready, and this to each picture
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

PROGRAM = b"pocketlens_server.catalogue.decoder_process"

_ROGUE = """
import os, select, socket, sys
line = socket.fromfd(0, socket.AF_UNIX, socket.SOCK_STREAM)
def request():
    size = line.recv(4, socket.MSG_WAITALL)
    return line.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
request()
line.sendall(b"r" + bytes(4))
request()
"""
_DEEDS = {
    "sends": "line.sendall(bytes.fromhex(sys.argv[1])); request()",
    "ends": "os._exit(int(sys.argv[1]))",
    "dies": "os.kill(os.getpid(), int(sys.argv[1]))",
    "hangs up": "line.shutdown(socket.SHUT_RDWR); select.select([], [], [])",
    "trickles": "line.sendall(b'e' + (60_000).to_bytes(4, 'big'))\n"
    "while True: line.sendall(b' '); select.select([], [], [], 0.02)",
}


def rogue(deed: str, argument: bytes | int = 0) -> tuple[str, ...]:
    """Command of a process that is ready to decode and then does something else."""
    told = argument.hex() if isinstance(argument, bytes) else str(argument)
    return sys.executable, "-S", "-c", _ROGUE + _DEEDS[deed], told


def workers(parent: int | None = None) -> set[int]:
    """Ids of the processes that decode for `parent`, or for this one; zombies among them."""
    parent, found = parent or os.getpid(), set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, above = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if int(above) == parent and (state == "Z" or PROGRAM in command):
            found.add(int(folder.name))
    return found


def ended(process: int, *, within: float = 10) -> bool:
    """Waits until a process has ended, whoever's it is."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(within * 1000))
    finally:
        os.close(descriptor)
