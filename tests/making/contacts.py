"""Whom a process asks over a network, whatever library asks: gRPC tells Python nothing of it.

environment = noting(tmp_path)                  # for a process
contacts(environment)                           # {"127.0.0.1:8443"}, and names that it looked up
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.making import fault_shim

SOURCE = Path(__file__).with_suffix(".c")


def noting(folder: Path) -> dict[str, str]:
    """The environment of a process that writes them into `folder`; see `fault_shim.missing`."""
    made = folder / "contacts.so"
    command = ["cc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", str(made), str(SOURCE), "-ldl"], check=True)
    return {**fault_shim.preloaded(made), "CONTACTS": str(folder / "contacts")}


def contacts(environment: Mapping[str, str]) -> set[str]:
    """Addresses and names that processes of an environment asked."""
    path = Path(environment["CONTACTS"])
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.removeprefix("::ffff:") for line in lines}
