"""Pictures of a catalogue that are there twice, and photos that were taken from it.

    found = duplicates.find("shop/", "catalogue.csv")
    answers = duplicates.recognise("shop/", ["seen_elsewhere.jpg"], "catalogue.csv")

Exact: the same bytes. Near: one picture that was saved anew, scaled, cropped, mirrored or tinted;
both need the pictures. Same: codes so alike that the model sees one thing; these need the store
alone.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pocketlens.duplicates.finding import find
from pocketlens.duplicates.found import Copy, Duplicates, Group, Kind, Recognised, Seen
from pocketlens.duplicates.options import DuplicateOptions
from pocketlens.duplicates.recognising import recognise

__all__ = [
    "Copy",
    "DuplicateOptions",
    "Duplicates",
    "Group",
    "Kind",
    "Recognised",
    "Seen",
    "find",
    "recognise",
]
