"""A metadata buffer is found in any .tflite, and a hostile one never leads outside of itself."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.making.tflite_files import tflite_file

from pocketlens.errors import ModelUnsupported
from pocketlens.formats.flatbuffers import metadata_range

VECTOR = Path(__file__).resolve().parents[2] / "conformance" / "vectors" / "tiny_bundle.tflite"


@given(contents=st.binary(min_size=1, max_size=200), name=st.text(min_size=1, max_size=20))
def test_contents_are_found_by_name(contents: bytes, name: str) -> None:
    data = tflite_file(contents, name=name, tail=b"weights")

    found = metadata_range(data, name)

    assert found is not None
    assert data[slice(*found)] == contents
    assert metadata_range(data, name + "x") is None


def test_buffer_of_a_real_bundle_is_found() -> None:
    data = VECTOR.read_bytes()

    found = metadata_range(data, "POCKETLENS")

    assert found is not None
    assert 32 < found[1] - found[0] < len(data)
    assert metadata_range(data, "min_runtime_version") is not None
    assert metadata_range(data, "nothing") is None


@pytest.mark.parametrize("data", [b"", b"TFL3", bytes(8), b"\x08\0\0\0TFL2", b"PK\3\4" + bytes(60)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ModelUnsupported, match=r"\.tflite"):
        metadata_range(data, "POCKETLENS")


def test_every_cut_ends_inside_or_is_refused() -> None:
    data = tflite_file(b"contents")
    for length in range(len(data)):
        cut = data[:length]
        try:
            found = metadata_range(cut, "POCKETLENS")
        except ModelUnsupported:
            continue
        assert found is None or found[1] <= length


@settings(max_examples=300, deadline=None, derandomize=True)
@given(position=st.integers(8), value=st.integers(0, 2**32 - 1))
def test_every_changed_offset_ends_inside_or_is_refused(position: int, value: int) -> None:
    data = bytearray(tflite_file(b"contents"))
    struct.pack_into("<I", data, position % (len(data) - 3), value)
    try:
        found = metadata_range(bytes(data), "POCKETLENS")
    except ModelUnsupported:
        return
    assert found is None or 0 <= found[0] <= found[1] <= len(data)
