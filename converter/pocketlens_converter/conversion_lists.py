"""What a conversion looks at, and what a model makes of it."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocketlens import image_lists
from pocketlens.errors import TrainingError
from pocketlens.image_lists import Entry, Problem
from pocketlens.progress import Progress
from pocketlens_converter.convert_options import ConvertOptions
from pocketlens_converter.embedding_models import Embedded, EmbeddingModel, embed_entries
from pocketlens_converter.evaluation import EmbeddedLists, EvaluationLists, embed_lists


@dataclass(frozen=True, slots=True)
class ConversionLists:
    """The pictures that a conversion looks at, chosen by the seed.

    Attributes:
        shown: Of the catalogue: what the bundle carries embeddings of.
        others: Distractors; empty where none are given.
        searched: All photos and all they are searched in; None where no photos are given.
    """

    shown: tuple[Entry, ...]
    others: tuple[Entry, ...]
    searched: EvaluationLists | None
    problems: tuple[Problem, ...]

    @classmethod
    def read(
        cls,
        catalogue: Path,
        queries: Path | None,
        distractors: Path | None,
        options: ConvertOptions,
    ) -> ConversionLists:
        """Reads the lists and chooses among their pictures.

        Raises:
            ImageListError: A list is wrong.
            TrainingError: A list has no pictures, or no photo shows a product of the catalogue.
        """
        rng = np.random.default_rng(options.seed)
        problems: list[Problem] = []

        def chosen(path: Path | None, at_most: int) -> tuple[Entry, ...]:
            if path is None:
                return ()
            read = image_lists.read(path)
            problems.extend(read.problems)
            if not read.entries:
                raise TrainingError(
                    f"Expected pictures in {path}. Received none that exist: {read.problems[0]}"
                )
            picked = rng.permutation(len(read.entries))[:at_most]
            return tuple(read.entries[index] for index in sorted(picked))

        shown = chosen(catalogue, options.embeddings)
        others = chosen(distractors, options.distractors)
        if queries is None:
            return cls(shown, others, None, tuple(problems))
        read = EvaluationLists.read(queries, catalogue, distractors)
        return cls(shown, others, read, read.problems)


@dataclass(frozen=True, slots=True)
class ListEmbeddings:
    """What one model makes of the lists.

    Attributes:
        shown: The catalogue pictures of `ConversionLists.shown`.
        gallery: float32 (n, dim): what photos are searched in, distractors included.
        searched: Photos and all they are searched in; None where no photos are given.
        problems: Pictures that could not be read or embedded.
    """

    shown: Embedded
    gallery: npt.NDArray[np.float32]
    searched: EmbeddedLists | None
    problems: tuple[Problem, ...]

    @classmethod
    def by(
        cls, model: EmbeddingModel, lists: ConversionLists, progress: Progress
    ) -> ListEmbeddings:
        """Embeds the lists by `model`.

        Raises:
            TrainingError: No picture of a list can be read.
        """
        shown = embed_entries(model, lists.shown, stage="embedding catalogue", progress=progress)
        if lists.searched is not None:
            found = embed_lists(model, lists.searched, progress=progress)
            problems = (*shown.problems, *found.gallery.problems, *found.asked.problems)
            unique = tuple(dict.fromkeys(problems))
            return cls(shown, found.gallery.embeddings, found, unique)
        if not lists.others:
            return cls(shown, shown.embeddings, None, shown.problems)
        others = embed_entries(
            model, lists.others, stage="embedding distractors", progress=progress
        )
        gallery = np.concatenate([shown.embeddings, others.embeddings])
        return cls(shown, gallery, None, (*shown.problems, *others.problems))
