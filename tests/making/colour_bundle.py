"""A real bundle without training: its model sees a picture as 4 x 4 fields of mean colour.

    path.write_bytes(colour_bundle())

uint8 picture -> average pool -> reshape -> dequantize: what it embeds can be told by hand, and
pictures of different colours are far apart. White, the ground of catalogue pictures, counts 0.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import functools
import io

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from pocketlens.formats import bundle as bundles
from pocketlens.formats.bundle import Bundle, Calibration, GoldenExample, Spec
from pocketlens.query import runtimes
from tests.making import graphs

SIZE, FIELDS = 32, 4
DIM = FIELDS * FIELDS * 3
CALIBRATION = Calibration(
    "device", -20, 22, 10, 0, match_threshold=0.8, no_match_threshold=0.3, products=24
)


@functools.cache
def colour_bundle(*, name: str = "colours") -> bytes:
    """The bundle, with a calibration of its own, golden examples and representative embeddings."""
    model = graphs.packed(_model())
    runtime = runtimes.interpreter(model)
    rng = np.random.default_rng(6)
    pictures = [fields(rng) for _ in range(24)]
    embeddings = np.stack([_unit(runtime.run(picture)) for picture in pictures])
    description = Bundle(
        spec=Spec(name, SIZE, SIZE, DIM, duplicate_cosine=0.9999),
        golden_examples=tuple(_golden(picture, runtime) for picture in pictures[:3]),
        golden_bound=0.01,
        representative=embeddings,
        queries=embeddings[:0],
        calibrations=(CALIBRATION,),
    )
    return described_as(model, description)


def described_as(data: bytes, description: Bundle) -> bytes:
    """The model in `data` with this description, in the place of what it had."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    contents = schema.BufferT()
    contents.data = np.frombuffer(bundles.encode(description), np.uint8)
    known = [each for each in model.metadata or () if each.name == b"POCKETLENS"]
    if known:
        model.buffers[known[0].buffer] = contents
    else:
        entry = schema.MetadataT()
        entry.name, entry.buffer = bundles.METADATA_NAME, len(model.buffers)
        model.buffers.append(contents)
        model.metadata = [entry]
    return bundles.seal(graphs.packed(model))


def fields(rng: np.random.Generator, *, side: int = SIZE) -> npt.NDArray[np.uint8]:
    """A picture of 4 x 4 fields of random colour: uint8 (side, side, 3)."""
    colours = rng.integers(0, 256, (FIELDS, FIELDS, 3), dtype=np.uint8)
    return colours.repeat(side // FIELDS, axis=0).repeat(side // FIELDS, axis=1)


def _golden(picture: npt.NDArray[np.uint8], runtime: runtimes.Runtime) -> GoldenExample:
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=95)
    with Image.open(jpeg) as image:
        tensor = np.asarray(image.convert("RGB"))
    return GoldenExample(jpeg.getvalue(), tensor, _unit(runtime.run(tensor)))


def _model() -> schema.ModelT:
    uint8, int32 = schema.TensorType.UINT8, schema.TensorType.INT32
    tensors = [
        graphs.tensor([1, SIZE, SIZE, 3], uint8),
        graphs.tensor([1, FIELDS, FIELDS, 3], uint8),
        graphs.tensor([2], int32, buffer=1),
        graphs.tensor([1, DIM], uint8),
        graphs.tensor([1, DIM], schema.TensorType.FLOAT32),
    ]
    model = graphs.model_of(tensors, [[1, DIM]])
    model.subgraphs[0].operators = [
        graphs.average_pool(0, 1, SIZE // FIELDS, SIZE // FIELDS),
        graphs.reshape(1, 2, 3, [1, DIM]),
        graphs.dequantize(3, 4),
    ]
    return model


def _unit(embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return embedding / np.linalg.norm(embedding)
