"""Pictures of an evaluation: each a function of values to the bytes of a PNG."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pocketlens_converter import metrics

RIGHT, WRONG, LINE = "#1b7f4d", "#c0392b", "#555555"
_SIZE = (6.4, 3.8)
_BINS = 40
_RELIABILITY_BINS = 10


def recall_by_catalogue_size(curves: Mapping[str, tuple[npt.NDArray[np.int64], int]]) -> bytes:
    """recall@1 to expect of catalogues of every size.

    Args:
        curves: By name, ranks int64 (q,) in the whole catalogue and the number of its products.
    """
    figure, axes = _figure()
    for name, (ranks, products) in curves.items():
        sizes = np.unique(np.geomspace(2, max(products, 2), 24).round().astype(np.int64))
        sizes = sizes[sizes <= products]
        axes.plot(sizes, metrics.recall_by_size(ranks, products, sizes), marker=".", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("products in the catalogue")
    axes.set_ylabel("recall@1")
    axes.set_ylim(0, 1)
    axes.legend()
    return _png(figure)


def similarity_histogram(
    right: npt.NDArray[np.float32],
    wrong: npt.NDArray[np.float32],
    thresholds: tuple[float, float] | None = None,
) -> bytes:
    """How similar photos are to the right product, and to the best wrong one.

    Args:
        right: float32 (q,).
        wrong: float32 (q,).
        thresholds: Similarities of NO_MATCH and of MATCH, where they are known.
    """
    figure, axes = _figure()
    bins = np.linspace(min(right.min(), wrong.min()), 1, _BINS).tolist()
    axes.hist(right, bins, alpha=0.6, color=RIGHT, label="the right product")
    axes.hist(wrong, bins, alpha=0.6, color=WRONG, label="the best wrong product")
    if thresholds is not None:
        _draw_thresholds(axes, thresholds)
    axes.set_xlabel("similarity")
    axes.set_ylabel("photos")
    axes.legend()
    return _png(figure)


def confidence_histogram(
    matches: npt.NDArray[np.float64],
    others: npt.NDArray[np.float64],
    thresholds: tuple[float, float],
) -> bytes:
    """Confidence of first matches that are right, and of those that are not.

    Args:
        matches: float64 (n,), 0 to 1.
        others: float64 (m,), 0 to 1.
        thresholds: Of NO_MATCH and of MATCH.
    """
    figure, axes = _figure()
    bins = np.linspace(0, 1, _BINS).tolist()
    axes.hist(matches, bins, alpha=0.6, color=RIGHT, label="right")
    axes.hist(others, bins, alpha=0.6, color=WRONG, label="wrong, or product absent")
    axes.set_xlim(0, 1)
    _draw_thresholds(axes, thresholds)
    axes.set_xlabel("confidence of the first match")
    axes.set_ylabel("searches")
    axes.legend(loc="upper center")
    return _png(figure)


def reliability(confidences: npt.NDArray[np.float64], outcomes: npt.NDArray[np.bool_]) -> bytes:
    """How often matches of a confidence are right.

    Args:
        confidences: float64 (n,), 0 to 1.
        outcomes: bool (n,).
    """
    figure, axes = _figure()
    places = np.minimum((confidences * _RELIABILITY_BINS).astype(int), _RELIABILITY_BINS - 1)
    filled = np.unique(places)
    said = [confidences[places == place].mean() for place in filled]
    were = [outcomes[places == place].mean() for place in filled]
    counts = [int(np.count_nonzero(places == place)) for place in filled]
    axes.plot([0, 1], [0, 1], color=LINE, linestyle=":", linewidth=1, label="as it should be")
    axes.plot(said, were, marker="o", color=RIGHT, label="measured")
    for x, y, count in zip(said, were, counts, strict=True):
        axes.annotate(f"{count}", (x, y), textcoords="offset points", xytext=(5, -9), fontsize=7)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.legend(loc="upper left")
    return _png(figure)


def _draw_thresholds(axes: Any, thresholds: tuple[float, float]) -> None:
    """Lines at the thresholds of NO_MATCH and of MATCH, named towards the middle."""
    left, right = axes.get_xlim()
    for threshold, says, height in zip(
        thresholds, ("NO_MATCH below", "MATCH from"), (0.78, 0.7), strict=True
    ):
        axes.axvline(threshold, color=LINE, linestyle="--", linewidth=1)
        axes.annotate(
            f" {says} {threshold:.2f} ",
            (threshold, height),
            xycoords=("data", "axes fraction"),
            ha="left" if threshold < (left + right) / 2 else "right",
            fontsize=8,
        )


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # no global state, no window

    figure = Figure(figsize=_SIZE, layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()
