"""Metrics have names as Prometheus wants them, and no label that a caller chooses."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from pocketlens_server.telemetry import REASONS, Telemetry

ROOT = Path(__file__).resolve().parents[2]
LABELS = {
    "method",
    "code",
    "reason",
    "catalogue",
    "outcome",
    "origin",
    "role",
    "pipeline",
    "verdict",
    "stage",
}


def metrics(telemetry: Telemetry) -> dict[str, MetricWrapperBase]:
    every = vars(telemetry).items()
    return {name: each for name, each in every if isinstance(each, MetricWrapperBase)}


def test_names_and_labels_follow_the_conventions() -> None:
    found = metrics(Telemetry())

    assert len(found) == 18
    for attribute, metric in found.items():
        [family] = metric.describe()
        assert re.fullmatch(r"pocketlens_[a-z]+(_[a-z]+)*", family.name), family.name
        assert set(metric._labelnames) <= LABELS
        assert family.documentation.endswith("."), attribute
        if family.type == "histogram":
            assert family.name.endswith(("_seconds", "_photos"))


def test_every_metric_is_told_once_it_is_used() -> None:
    telemetry = Telemetry()
    for metric in metrics(telemetry).values():
        used = metric.labels(*metric._labelnames)
        used.observe(1) if hasattr(used, "observe") else used.inc()  # type: ignore[attr-defined]

    text = telemetry.text().decode()

    for metric in metrics(telemetry).values():
        [family] = metric.describe()
        assert f"# HELP {family.name}" in text
    assert "process_resident_memory_bytes" in text


def test_each_server_counts_for_itself() -> None:
    first, second = Telemetry(), Telemetry()

    for reason in REASONS:
        first.refused(reason)

    assert b"pocketlens_refused_calls_total{" in first.text()
    assert b"pocketlens_refused_calls_total{" not in second.text()
    assert not any(family.name.startswith("pocketlens") for family in REGISTRY.collect())


def test_the_docs_have_every_metric_with_its_labels() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()

    for metric in metrics(Telemetry()).values():
        [family] = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        assert f"| `{name}` | {labels} |" in page
    assert all(f"`{reason}`" in page for reason in REASONS)
