"""A trained model on disk: a `.keras` of built-in layers only, and beside it what goes in.

    save(model, Path("shop.keras"), ModelSpec(192, 192, 128), facts={})
    model, spec = load(Path("shop.keras"))
    embeddings = embed(model, tensors)

`shop.keras.json` tells the resize mode and how the model was made. Without it, as for a model
made elsewhere, the size is the model's own and pictures are letterboxed on white.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import glob
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from pocketlens import durable_files
from pocketlens.errors import ModelUnsupported
from pocketlens.formats.bundle import ResizeMode

PICTURES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model takes and gives.

    Attributes:
        height, width: Pixels of the input, whose levels are 0 to 255.
        dim: Numbers of an embedding.
        resize_mode: "pad" letterboxes on `pad_level`, "crop" takes the centre, "squash" stretches.
        pad_level: Grey level, 0 to 255.
    """

    height: int
    width: int
    dim: int
    resize_mode: ResizeMode = "pad"
    pad_level: int = 255


def save(model: keras.Model, path: Path, spec: ModelSpec, *, facts: Mapping[str, object]) -> None:
    """Writes the model and its description durably, the model last.

    Args:
        model: Of built-in layers only.
        path: Ends in `.keras`.
        spec: What the model takes and gives.
        facts: How it was made; what JSON can hold.

    Raises:
        StoreFull: The disk has no room.
        StoreReadOnly: The folder cannot be written to.
    """
    _sweep(path)
    temporary = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        try:
            model.save(temporary)
            data = temporary.read_bytes()
        except OSError as exc:
            raise durable_files.translated(exc, path) from exc
    finally:
        temporary.unlink(missing_ok=True)
    sha256 = hashlib.sha256(data).hexdigest()
    description = {"format": 1, "input": asdict(spec), "sha256": sha256, **facts}
    text = json.dumps(description, indent=2, sort_keys=True) + "\n"
    durable_files.write_file(description_path(path), text.encode())
    durable_files.write_file(path, data)


def _sweep(path: Path) -> None:
    """Deletes what a run that was killed while it saved has left beside `path`."""
    for left_behind in path.parent.glob(f".{'[0-9a-f]' * 8}.{glob.escape(path.name)}"):
        left_behind.unlink(missing_ok=True)


def load(path: Path) -> tuple[keras.Model, ModelSpec]:
    """Loads a `.keras` model in safe mode: nothing of the file is run as code.

    Raises:
        ModelUnsupported: It is no such model, or not one picture in and one vector out.
    """
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, OSError, KeyError) as exc:
        raise ModelUnsupported(
            f"Expected a .keras model of built-in layers. {path} cannot be loaded: "
            f"{str(exc).splitlines()[0]}"
        ) from exc
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelUnsupported(f"Expected one input and one output. {path} has others.")
    shape, output = tuple(model.inputs[0].shape), tuple(model.outputs[0].shape)
    if len(shape) != 4 or shape[3] != 3 or None in shape[1:] or len(output) != 2:
        raise ModelUnsupported(
            "Expected an input (n, height, width, 3) of fixed size and an output (n, dim). "
            f"Received {shape} and {output} in {path}."
        )
    return model, _spec(path, height=shape[1], width=shape[2], dim=output[1])


def embed(model: keras.Model, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Embeddings of pictures.

    Args:
        model: As `load` returns it.
        tensors: uint8 (n, height, width, 3).

    Returns:
        float32 (n, dim), unit rows.
    """
    embeddings = outputs(model, tensors)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return np.asarray(embeddings / np.maximum(lengths, 1e-12), np.float32)


def outputs(model: keras.Model, tensors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What `model` gives for pictures, uint8 (n, height, width, 3): float32 (n, width)."""
    rows = [
        np.asarray(model(tensors[start : start + PICTURES_AT_ONCE].astype(np.float32)))
        for start in range(0, len(tensors), PICTURES_AT_ONCE)
    ]
    return np.concatenate(rows).astype(np.float32)


def description_path(path: Path) -> Path:
    """Where the description of the model at `path` is."""
    return path.with_name(f"{path.name}.json")


def _spec(path: Path, *, height: int, width: int, dim: int) -> ModelSpec:
    described = description_path(path)
    if not described.exists():
        return ModelSpec(height, width, dim)
    try:
        description = json.loads(described.read_text())
        spec = ModelSpec(**description["input"])
        # Killed between the two files, a run leaves its description beside an earlier model.
        sha256 = description.get("sha256")
    except (ValueError, TypeError, KeyError) as exc:
        raise ModelUnsupported(
            f"{described} does not describe a model. Delete it to use defaults."
        ) from exc
    is_its = sha256 in (None, hashlib.sha256(path.read_bytes()).hexdigest())
    if not is_its or (spec.height, spec.width, spec.dim) != (height, width, dim):
        raise ModelUnsupported(f"{described} belongs to another model than {path}. Delete it.")
    return spec
