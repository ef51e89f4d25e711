"""What the server counts, for Prometheus: the names of all metrics, in one place.

    telemetry = Telemetry()
    telemetry.operations.labels(catalogue="main", outcome="applied").inc()
    telemetry.text()                          # what /metrics answers

Labels are words of a short list, or names of catalogues: nothing that a caller chooses. Each server
has a registry of its own. Counters may be used from any thread.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Of refusals: what there was no room for, or what there were too many of.
REASONS = ("deadline", "host", "requests", "calls", "streams", "health", "client", "rate")
UNKNOWN = "unknown"  # method of calls of what is not there

# From a poll that finds nothing new to a stream that lasts as long as one may.
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60, 600, 3600)
# From a price that changed to a catalogue of a million with a new model.
_PUBLISH_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Telemetry:
    """The metrics of one server.

    Attributes:
        registry: All of them, and CPU, memory and open files of the process.
        calls: By `method` and `code`; methods that are not there are `UNKNOWN`, requests over HTTP
            are "rest/search" and the like.
        call_seconds: From a call's metadata to its answer, by `method`.
        calls_running: By `method`.
        refused_calls: By `reason`, of `REASONS`.
        operations: Ingested, by `catalogue` and `outcome`: applied, unchanged, skipped,
            refused, waiting.
        operations_waiting: Received and not answered yet, by `catalogue`.
        pictures_waiting: Kept and not embedded, by `catalogue`.
        dead_letters: That nobody has dealt with, by `catalogue`.
        embeddings: By `catalogue` and `origin`: made, or reused as the picture was known.
        publish_seconds: That a publish took, by `catalogue`.
        published_version: Newest version that devices can have, by `catalogue`.
        published_at: When it was, in seconds since 1970, by `catalogue`.
        expires_at: When signed metadata expires, in seconds since 1970, by `catalogue` and `role`.
        expiring_roles: How many `keys status` warns of, by `catalogue`: the root, 60 days before.
        queries: Answered, by `pipeline` and `verdict`.
        query_seconds: Of each `stage` of an answer: decode, queue, embed, search.
        query_batches: Photos or questions that were worked on together, by `stage`.
        devices_ahead: Polls of devices that have a later version than there is, by `catalogue`: the
            server was restored from a backup.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"pocketlens_{name}_total", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"pocketlens_{name}", text, labels, registry=registry)

        def seconds(name: str, text: str, label: str, bounds: Sequence[float]) -> Histogram:
            name = f"pocketlens_{name}_seconds"
            return Histogram(name, text, (label,), registry=registry, buckets=bounds)

        self.calls = counter("calls", "Calls that ended.", "method", "code")
        self.call_seconds = seconds("call", "Time of calls.", "method", _CALL_SECONDS)
        self.calls_running = gauge("calls_running", "Calls that run.", "method")
        self.refused_calls = counter("refused_calls", "Calls beyond a limit.", "reason")

        name = "catalogue"
        self.operations = counter("operations", "Operations ingested.", name, "outcome")
        self.operations_waiting = gauge("operations_waiting", "Received, not answered.", name)
        self.pictures_waiting = gauge("pictures_waiting", "Kept, not embedded.", name)
        self.dead_letters = gauge("dead_letters", "Operations that failed for good.", name)
        self.embeddings = counter("embeddings", "Embeddings of pictures.", name, "origin")

        self.publish_seconds = seconds("publish", "Time of publishes.", name, _PUBLISH_SECONDS)
        self.published_version = gauge("published_version", "Newest version.", name)
        self.published_at = gauge("published_timestamp_seconds", "Time of it.", name)
        self.expires_at = gauge("expires_timestamp_seconds", "End of what is signed.", name, "role")
        self.expiring_roles = gauge("expiring_roles", "Roles to be signed again.", name)
        self.devices_ahead = counter("devices_ahead", "Polls with a later version.", name)

        self.queries = counter("queries", "Questions answered.", "pipeline", "verdict")
        self.query_seconds = seconds("query", "Time of a stage.", "stage", _CALL_SECONDS)
        self.query_batches = Histogram(
            "pocketlens_query_batch_photos",
            "Worked on together.",
            ("stage",),
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )

    def refused(self, reason: str) -> None:
        """Counts a call that was refused; see `services.limiting`."""
        self.refused_calls.labels(reason=reason).inc()

    def count_ahead(self, catalogue: str) -> None:
        """Counts a poll of a device that is ahead; see `publishing.ahead`."""
        self.devices_ahead.labels(catalogue).inc()

    def text(self) -> bytes:
        """All metrics as they are now, as Prometheus reads them."""
        return generate_latest(self.registry)
