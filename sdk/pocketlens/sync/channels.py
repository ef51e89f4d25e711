"""Connections over gRPC to a server at HOST:PORT, for files and for questions."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import grpc

from pocketlens.sync.credentials import is_loopback
from pocketlens.sync.statuses import PUSHBACK_METADATA

MAX_MESSAGE_BYTES = 4 << 20


def is_encrypted(address: str, ca: bytes | None) -> bool:
    """Whether a connection is: all but this machine's; that too, with certificates of its own."""
    return ca is not None or not is_loopback(address.rpartition(":")[0])


def channel_to(address: str, ca: bytes | None, *, connect_seconds: float) -> grpc.Channel:
    """A channel that connects when it is first used.

    Args:
        address: HOST:PORT.
        ca: Certificates to trust in place of the system's, PEM.
        connect_seconds: That one attempt may take.
    """
    options = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),  # what failed for another is tried anew
        ("grpc.enable_retries", 0),  # who asks has a budget for them, or none
        ("grpc.enable_http_proxy", 0),  # only who is named is asked, as over HTTP
        ("grpc.min_reconnect_backoff_ms", int(connect_seconds * 1000)),  # of one attempt, too
    ]
    if is_encrypted(address, ca):
        return grpc.secure_channel(address, grpc.ssl_channel_credentials(ca), options)
    return grpc.insecure_channel(address, options)


def retry_seconds(exc: grpc.RpcError) -> float:
    """How long the server asks to be left alone; for good where that is no number of gRPC's."""
    for name, value in exc.trailing_metadata() or ():
        if name == PUSHBACK_METADATA:
            return int(value) / 1000 if value.isdecimal() and len(value) < 10 else math.inf
    return 0.0
