"""An operation on its way to a server: its message, and its picture in parts.

sent = Sent(message_of(operation, picture, revision=7, request_id="a"), picture, True, Future())
for request in with_picture(sent): ...
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from pocketlens.errors import InvalidOperation
from pocketlens_protos.v1 import catalog_service_pb2 as messages
from pocketlens_server.catalogue.operations import Operation, PutImage
from pocketlens_server.catalogue.results import Outcome, Refusal, Result
from pocketlens_server.services import catalog_messages

PART_BYTES = 256 << 10
MESSAGE_BYTES = (1 << 20) - PART_BYTES - 1024  # that a server takes, beside a part of a picture


@dataclass(slots=True, eq=False)
class Sent:
    """An operation until it is answered."""

    message: messages.Operation
    picture: Path | bytes | None
    sends_picture: bool
    future: Future[Outcome]
    lost: str = ""  # why the file of its picture cannot be read any more

    def needs_picture(self, outcome: Outcome) -> bool:
        """Whether the server asks for what was not sent yet."""
        is_asked = outcome.result is Result.PICTURE_NEEDED
        return is_asked and self.picture is not None and not self.sends_picture

    def told(self, outcome: Outcome) -> Outcome:
        """An outcome as it is for who sent this."""
        if self.lost and outcome.result is Result.PICTURE_NEEDED:
            return replace(
                outcome, result=Result.REFUSED, reason=self.lost, refusal=Refusal.INVALID
            )
        return outcome

    @property
    def held_bytes(self) -> int:
        """Of its picture, in memory until it is answered."""
        return len(self.picture) if isinstance(self.picture, bytes) else 0


def message_of(
    operation: Operation, picture: Path | bytes | None, revision: int, request_id: str
) -> messages.Operation:
    """An operation as it is sent, without its picture.

    Raises:
        InvalidOperation: It cannot be sent.
    """
    if isinstance(operation, PutImage) and picture is not None:
        sha256 = hashlib.sha256(_picture_bytes(picture)).digest()
        operation = replace(operation, picture_sha256=sha256)
    try:
        message = catalog_messages.operation_message(operation)
        message.request_id, message.revision = request_id, revision
    except ValueError as exc:  # half a character, a number beyond 64 bits
        raise InvalidOperation(f"It cannot be sent: {exc}.") from exc
    if message.ByteSize() > MESSAGE_BYTES:  # the server would end the stream
        raise InvalidOperation(
            f"Expected an operation of {MESSAGE_BYTES:,} bytes at most, without its picture. "
            f"Received {message.ByteSize():,}."
        )
    return message


def with_picture(sent: Sent) -> Iterator[messages.IngestRequest]:
    """An operation, and its picture in parts; by its hash alone where the file of it is gone."""
    data = b""
    if sent.sends_picture:
        try:
            data = _picture_bytes(sent.picture)
        except OSError as exc:
            sent.lost = f"The picture {sent.picture!s} cannot be read any more: {exc.strerror}."
    if not data:
        yield messages.IngestRequest(operation=sent.message)
        return
    message = messages.Operation()
    message.CopyFrom(sent.message)
    message.put_image.picture_bytes = len(data)
    message.put_image.picture = data[:PART_BYTES]
    yield messages.IngestRequest(operation=message)
    for start in range(PART_BYTES, len(data), PART_BYTES):
        yield messages.IngestRequest(picture_part=data[start : start + PART_BYTES])


def _picture_bytes(picture: Path | bytes | None) -> bytes:
    return picture.read_bytes() if isinstance(picture, Path) else picture or b""
