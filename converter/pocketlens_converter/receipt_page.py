"""A receipt as people read it: sections of an HTML page, and lines for a terminal."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pocketlens.report import pages
from pocketlens_converter.evaluation import RECALLS
from pocketlens_converter.receipt import Receipt, Search

_PIPELINES = {
    "float": "float model, float rows",
    "quantized": "bundle's model, float rows",
    "device": "bundle's model, int8 rows (a phone)",
}


def html(receipt: Receipt) -> str:
    """The receipt as one page."""
    return pages.page(f"Receipt of {receipt.model}", sections(receipt))


def sections(receipt: Receipt) -> list[str]:
    """The receipt's sections, for a page that holds more."""
    found = [_what(receipt), _fidelity(receipt)]
    if receipt.search is not None:
        found += [_search(receipt.search), _categories(receipt.search)]
    return [*found, _cost(receipt), _operators(receipt)]


def gave_up(receipt: Receipt) -> list[str]:
    """A line for each precision that broke a budget."""
    return [
        f"{attempt} was given up, it breaks a budget: {attempt.losses()}. "
        f"The bundle is in {receipt.precision}."
        for attempt in receipt.given_up
    ]


def _what(receipt: Receipt) -> str:
    share = receipt.size_bytes / receipt.float_size_bytes
    rows = [
        ["precision", receipt.precision],
        ["steps of fine-tuning in int8", f"{receipt.adapted_steps:,}"],
        ["size", f"{receipt.size_bytes:,} bytes, {share:.0%} of float32"],
        ["ranges taken from", f"{receipt.quantized_with:,} pictures"],
        ["float model, SHA-256", receipt.float_model_sha256 or "unknown (a folder)"],
    ]
    lines = [pages.warning(line) for line in gave_up(receipt)]
    return pages.section("What was made", *lines, pages.table(["", ""], rows))


def _fidelity(receipt: Receipt) -> str:
    fidelity = receipt.fidelity
    rows = [
        ["cosine_mean", f"{fidelity.cosine_mean:.4f}"],
        ["cosine_p01", f"{fidelity.cosine_p01:.4f}"],
    ]
    if fidelity.top1_agreement is not None:
        rows.append(["top1_agreement", f"{fidelity.top1_agreement:.4f}"])
    explained = (
        f"Embeddings of {fidelity.pictures:,} pictures by both models. top1_agreement: share of "
        "the photos for which the phone finds the same product first as the float model."
    )
    return pages.section(
        "Faithful to the float model", pages.table(["", ""], rows), pages.note(explained)
    )


def _search(search: Search) -> str:
    names = [f"recall@{k}" for k in RECALLS]
    rows = []
    for pipeline, figures in search.figures.items():
        cells = [_PIPELINES[pipeline]]
        for name in names:
            cell = f"{figures[name]:.4f}"
            if pipeline in search.differences:
                cell += f" ({search.differences[pipeline][name]})"
            cells.append(cell)
        rows.append(cells)
    explained = (
        f"{search.photos:,} photos in {search.products:,} products ({search.images:,} images, "
        f"{search.distractors:,} products are distractors). In brackets: difference to the float "
        "model with its 95 % interval by paired bootstrap; one that holds 0 may be luck."
    )
    tables = [pages.table(["", *names], rows), pages.note(explained)]
    if search.alone:
        rows = [
            [_PIPELINES[pipeline], *(f"{figures[name]:.4f}" for name in names)]
            for pipeline, figures in search.alone.items()
        ]
        tables += [
            pages.table(["without distractors", *names], rows),
            pages.note("The same photos in the catalogue alone."),
        ]
    return pages.section("Found", *tables)


def _categories(search: Search) -> str:
    if len(search.by_category) < 2:
        return ""
    pipelines = list(search.figures)
    header = ["category", "photos", *(f"recall@1, {pipeline}" for pipeline in pipelines)]
    rows = []
    for category, found in search.by_category.items():
        photos = found[pipelines[0]]["photos"]
        cells = [f"{found[each]['recall@1']:.3f}" if each in found else "" for each in pipelines]
        rows.append([category or "(none)", f"{photos:,.0f}", *cells])
    return pages.section("A category at a time", pages.table(header, rows))


def _cost(receipt: Receipt) -> str:
    rows = [
        [f"{threads} thread{'s' if threads > 1 else ''}", f"{milliseconds:.2f} ms"]
        for threads, milliseconds in receipt.latency_ms.items()
    ]
    parts = receipt.xnnpack_partitions
    inside = "all of it in one piece" if parts == 1 else f"it in {parts} pieces"
    explained = (
        f"Median on the CPU of the machine that converted, {receipt.runtime}; XNNPACK runs "
        f"{inside if parts else 'none of it'}. A phone's milliseconds differ; compare bundles."
    )
    return pages.section("Inference", pages.table(["", ""], rows), pages.note(explained))


def _operators(receipt: Receipt) -> str:
    rows = []
    for accelerator, refused in receipt.refused.items():
        listed = ", ".join(f"{name} x {count}" for name, count in sorted(refused.items()))
        rows.append([accelerator, listed or "none"])
    explained = (
        "Operators that an accelerator's documentation does not list go back to the CPU, and the "
        "tensors with them. npu stands for one that runs int8 alone. Drivers differ: the golden "
        "check on the device decides."
    )
    return pages.section(
        "Operators that accelerators refuse",
        pages.table(["accelerator", "operators"], rows),
        pages.note(explained),
    )
