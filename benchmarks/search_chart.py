"""Curves of the search benchmark as a picture."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

Point = Mapping[str, float]

# Of the ten nearest, missed: equal steps of it are equal steps for a user, those of recall are not.
MISSED = (0.3, 0.1, 0.05, 0.03, 0.02, 0.01, 0.003, 0.001)


def draw(curves: Mapping[str, Mapping[str, Sequence[Point]]], path: Path) -> None:
    """One panel a size: recall@10 against milliseconds, a curve a system.

    Args:
        curves: Size to system to points with `recall_at_10` and `p50_ms`.
        path: .png file to write.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(curves), figsize=(7 * len(curves), 6), squeeze=False, constrained_layout=True
    )
    names = list(dict.fromkeys(name for systems in curves.values() for name in systems))
    colours = dict(zip(names, pyplot.get_cmap("tab20").colors, strict=False))
    for panel, (size, systems) in zip(panels[0], curves.items(), strict=True):
        for name, points in systems.items():
            ours = name.startswith("PocketLens")
            panel.plot(
                [max(1 - point["recall_at_10"], MISSED[-1]) for point in points],
                [point["p50_ms"] for point in points],
                marker="o",
                markersize=4 if ours else 3,
                linewidth=2.2 if ours else 1.2,
                linestyle="-" if ours else "--",
                color=colours.get(name),
                label=name,
            )
        panel.set(
            xscale="log",
            yscale="log",
            xlim=(MISSED[0], MISSED[-1]),
            title=f"{size} x 128, one thread",
            xlabel="recall@10 against exact float search",
            ylabel="ms a query, median",
        )
        panel.set_xticks(MISSED, [f"{1 - missed:g}" for missed in MISSED])
        panel.minorticks_off()
        panel.grid(alpha=0.3, which="both")
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
