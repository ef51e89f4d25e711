"""Requests of backends that lie: to every method of CatalogService, as mutants and in each field.

with asked(folder) as backend:
    for name, seeds in backend.requests.items():
        for data in [*mutants(encoded(seeds), 100, rng), *extremes(seeds)]:
            assert may_be(name, backend.told(name, data))
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pocketlens_protos.v1 import catalog_pb2 as nouns
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server.client import CatalogueClient
from tests.making.hostile_messages import ANSWERS, BYTES, MOST_SECONDS, NUMBERS, Field
from tests.making.serving import serving
from tests.making.tiles import TileShop

SERVICE = messages.DESCRIPTOR.services_by_name["CatalogService"]

# Besides what any request may be answered: somebody was quicker, a gate holds the version, or a job
# is another's.
BACKEND_ANSWERS = ANSWERS | {"ABORTED", "FAILED_PRECONDITION", "PERMISSION_DENIED"}
_WAITS, _WAIT_SECONDS = "WaitForJob", 0.2  # as long as the call may last, for a job that is open

_WHOLE = {
    FieldDescriptor.CPPTYPE_INT32: 31,
    FieldDescriptor.CPPTYPE_INT64: 63,
    FieldDescriptor.CPPTYPE_UINT32: 32,
    FieldDescriptor.CPPTYPE_UINT64: 64,
}
_REAL = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)
_TEXTS = (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"a" * 201)  # of the mutants' ten
_REALS = (math.nan, math.inf, -math.inf, -1.0, 1e308, 5e-324)


@dataclass(frozen=True)
class Jobs:
    """Numbers of jobs that are there.

    Attributes:
        ended, feed: One that takes nothing more, and a full feed that is open.
    """

    ended: int
    feed: int


def backend_requests(jobs: Jobs) -> dict[str, list[Message]]:
    """Requests that are right, by the method; those of Ingest come behind one that opens a job."""
    where = {"catalogue": "main"}
    image = nouns.Image(id="i", url="https://shop.example/i")
    price = nouns.Price(minor_units=1250, currency="EUR")
    product = nouns.Product(id="p", title="t", price=price, stock=3, attributes={"size": "9"})
    patch = messages.PatchProduct(
        product_id="p", price=price, stock=2, attributes={"size": "8"}, removed_attributes=["x"]
    )
    put = messages.PutImage(image=image, product_ids=["p"], picture_sha256=bytes(32))
    sent = messages.PutImage(image=image, product_ids=["p"], picture=b"none", picture_bytes=9)
    changes: list[dict[str, Any]] = [
        {"put_product": messages.PutProduct(product=product)},
        {"patch_product": patch},
        {"put_image": put},
        {"put_image": sent},
        {"keep_image": messages.KeepImage(image_id="i")},
        {"delete_image": messages.DeleteImage(image_id="i")},
        {"delete_product": messages.DeleteProduct(product_id="p")},
    ]
    operations = [
        messages.Operation(request_id=f"r{number}", revision=number, **change)
        for number, change in enumerate(changes)
    ]
    return {
        "Ingest": [
            *(messages.IngestRequest(operation=each) for each in operations),
            messages.IngestRequest(operations=messages.Operations(operations=operations[1:2])),
            messages.IngestRequest(picture_part=b"part"),
            messages.IngestRequest(**where, open=messages.OpenJob(job=jobs.feed)),
            messages.IngestRequest(**where, open=messages.OpenJob(is_full_feed=True, expected=9)),
        ],
        "GetJob": [messages.GetJobRequest(**where, job=jobs.ended)],
        "WaitForJob": [messages.WaitForJobRequest(**where, job=jobs.ended, milliseconds=1)],
        "ListJobs": [messages.ListJobsRequest(**where, limit=2, before=9)],
        "CancelJob": [messages.CancelJobRequest(**where, job=jobs.ended)],
        "ListDeadLetters": [messages.ListDeadLettersRequest(**where, limit=2, after=1)],
        "RetryDeadLetters": [messages.RetryDeadLettersRequest(**where, numbers=[1, 2])],
        "PurgeDeadLetters": [messages.PurgeDeadLettersRequest(**where, numbers=[1, 2])],
        "Publish": [
            messages.PublishRequest(**where, parent=1, allowed_gates=["canary"], rollout=1)
        ],
        "Diff": [messages.DiffRequest(**where, base=1, head=1, limit=3)],
        "Rollback": [messages.RollbackRequest(**where, version=1, parent=1)],
        "Replace": [messages.ReplaceRequest(**where, job=jobs.feed, revision=1, lost_share=0)],
        "GetCatalogue": [messages.GetCatalogueRequest(**where)],
    }


def extremes(seeds: Sequence[Message]) -> Iterator[bytes]:
    """Each seed with one field as it may just be, or may not: numbers, reals, and texts."""
    for seed in seeds:
        yield from _extremes(seed)


def _extremes(message: Message) -> Iterator[bytes]:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            inside = getattr(message, field.name)
            for each in list(inside) if field.is_repeated else [inside]:
                if field.is_repeated or message.HasField(field.name):
                    for data in _extremes(each):
                        yield _with(message, Field(field.number, BYTES, data))
            continue
        for value in _values(field):
            changed = type(message)()
            changed.CopyFrom(message)
            if field.is_repeated:
                getattr(changed, field.name).append(value)
            else:
                setattr(changed, field.name, value)
            yield changed.SerializeToString()
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            for text in _TEXTS:
                yield _with(message, Field(field.number, BYTES, text))


def _values(field: FieldDescriptor) -> Iterator[float]:
    bits = _WHOLE.get(field.cpp_type)
    if bits is not None:
        yield from (each for each in NUMBERS if each < 1 << bits)
        if bits in (31, 63):
            yield from (-1, -(1 << bits))
    elif field.cpp_type in _REAL:
        yield from _REALS


def _with(message: Message, field: Field) -> bytes:
    """A message with a field once more, which counts in place of the one before."""
    return message.SerializeToString() + field.encoded()


def encoded(seeds: Sequence[Message]) -> list[bytes]:
    return [each.SerializeToString() for each in seeds]


def may_be(name: str, answer: str) -> bool:
    """Whether a method may answer so, whatever it was asked."""
    return answer in BACKEND_ANSWERS or (name, answer) == (_WAITS, "DEADLINE_EXCEEDED")


@contextmanager
def asked(folder: Path) -> Iterator[Backend]:
    """A backend of a server with two products, both made in `folder`."""
    TileShop(folder, {0: 1, 1: 1}, now=datetime.now(UTC)).publish()
    with serving(folder / "server") as address, CatalogueClient(address.grpc) as client:
        ended, feed = client.stream(), client.stream(is_full_feed=True)
        ended.close()
        made = Backend(address.grpc, Jobs(ended.job.number, feed.job.number))
        yield made
        made.close()


class Backend:
    """Sends bytes to a server as a backend's requests.

    Attributes:
        address: Of the server.
        requests: That are right, by the method.
    """

    def __init__(self, address: str, jobs: Jobs) -> None:
        self.address, self.requests = address, backend_requests(jobs)
        self._channel = grpc.insecure_channel(address)
        self._stub = {
            method.name: (
                self._channel.stream_stream
                if method.client_streaming
                else self._channel.unary_unary
            )(f"/{SERVICE.full_name}/{method.name}")
            for method in SERVICE.methods
        }

    def told(self, name: str, data: bytes) -> str:
        """The status of the answer."""
        try:
            if name == "Ingest":
                for _ in self._stub[name](iter([_OPENED, data]), timeout=MOST_SECONDS):
                    pass
            else:
                self._stub[name](data, timeout=_WAIT_SECONDS if name == _WAITS else MOST_SECONDS)
        except grpc.RpcError as exc:
            return _status(exc)
        return "OK"

    def close(self) -> None:
        self._channel.close()


def _status(exc: grpc.RpcError) -> str:
    assert isinstance(exc, grpc.Call)
    return str(exc.code().name)


_OPENED = messages.IngestRequest(catalogue="main", open=messages.OpenJob()).SerializeToString()
