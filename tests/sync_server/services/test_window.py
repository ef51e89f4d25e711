"""How many operations of a stream wait, and how large they are together."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import asyncio

import pytest

from pocketlens_server.services.window import Window


def entered(inside: list[tuple[int, int]], one: tuple[int, int], *, leave: int = 0) -> bool:
    """Whether one more gets in beside those inside, after so many of them left."""

    async def is_let_in() -> bool:
        window = Window(operations=10, size_bytes=1000)
        for operations, size_bytes in inside:
            await window.enter(operations, size_bytes=size_bytes)
        entering = asyncio.create_task(window.enter(one[0], size_bytes=one[1]))
        await asyncio.sleep(0)
        for _ in range(leave):
            window.leave()
        await asyncio.sleep(0)
        is_in = entering.done()
        entering.cancel()
        return is_in

    return asyncio.run(is_let_in())


@pytest.mark.parametrize(
    ("inside", "one", "leave", "is_let_in"),
    [
        ([], (1, 0), 0, True),
        ([(1, 1)] * 9, (1, 1), 0, True),
        ([(1, 1)] * 10, (1, 1), 0, False),
        ([(1, 1)] * 10, (1, 1), 1, True),
        ([(8, 1)], (3, 1), 0, False),
        ([(8, 1), (2, 1)], (3, 1), 1, True),
        ([(1, 400), (1, 400)], (1, 200), 0, True),
        ([(1, 400), (1, 400)], (1, 201), 0, False),
        ([(1, 400), (1, 400)], (1, 201), 1, True),
        ([], (11, 5000), 0, True),  # alone, whatever it is
        ([(1, 0)], (1, 5000), 0, False),
        ([(1, 0)], (1, 5000), 1, True),
        ([(1, 5000)], (1, 0), 0, False),
    ],
)
def test_there_is_room_in_number_and_in_bytes(
    inside: list[tuple[int, int]], one: tuple[int, int], leave: int, is_let_in: bool
) -> None:
    assert entered(inside, one, leave=leave) is is_let_in
