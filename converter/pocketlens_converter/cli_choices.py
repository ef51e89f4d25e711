"""What several commands are told in words, and what it means."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import cast, get_args

from pocketlens.cli import output
from pocketlens.formats.bundle import ResizeMode
from pocketlens_converter.convert_options import InputScale


def resize_mode(text: str | None) -> ResizeMode | None:
    """What `--resize` means; ends the program where it is none."""
    if text is not None and text not in get_args(ResizeMode):
        output.usage_error("--resize", "pad, crop or squash", text)
    return cast("ResizeMode | None", text)  # one of them: checked above


def input_scale(text: str | None) -> InputScale | None:
    """What `--input-scale` means.

    Raises:
        ModelUnsupported: It is no scale.
    """
    return None if text is None else InputScale.parse(text)
