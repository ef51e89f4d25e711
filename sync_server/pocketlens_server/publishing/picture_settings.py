"""What devices get of pictures, as an operator may set it. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pictures:
    """What devices get of pictures.

    Attributes:
        thumbnails: Whether they are published, for devices that want them.
    """

    thumbnails: bool = False
