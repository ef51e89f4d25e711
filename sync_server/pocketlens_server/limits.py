"""What a server gives to its clients, at most.

    limits = Limits(calls=512)
    server = grpc.aio.server(options=limits.channel_options(), ...)

What gRPC holds by itself is among its options; the rest is held by `services.limiting`.
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, fields

from pocketlens.errors import ServerError


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of the gRPC server; all above 0.

    A client is a token (or a certificate) as it comes from one host: the phones of a shop have one
    token, and one of them is not to keep the others out.

    Attributes:
        message_bytes: Of a request. Pictures come in parts; the longest list of pieces is 4 kB.
        metadata_bytes: Of a request's headers, its token among them: what gRPC allows by default.
        unary_seconds: That a call of one answer may take, whatever deadline it brings.
        stream_seconds: That a stream may take: as long as a connection may last.
        deadlines_required: Whether a call without a deadline is refused; what hangs at the client
            would be held here for as long as above.
        host_calls: Of a host at once, before it is known who calls: of all that one attacker sends
            slowly, or of all phones behind one address.
        client_calls: Of a client at once: a backend with that many workers. Streams are calls.
        client_rate: Calls a second of a client, over time.
        client_burst: That a client may make at once after a pause.
        waiting_calls: That nobody has begun to answer. Beyond it gRPC drops calls, by chance, and
            beyond a quarter more all of them, before they cost anything: two clients may send all
            they may at once, and in an overload nobody waits longer than for so many answers
            (benchmarks/faults/overload.py).
        calls: Answered at once, of all clients, that have one answer.
        streams: Of all clients at once: each holds 64 KiB while its client reads slowly. As many
            more calls of one answer may be on their way, in or out.
        connections: At once; each takes a file descriptor.
        connection_streams: Calls of one connection at once; more wait at the client.
        connection_age_seconds: After which a client connects again, to another server maybe.
        connection_grace_seconds: That the calls of a connection have after that.
        idle_seconds: After which a connection without a call is closed.
        keepalive_seconds: After which a connection with calls, of which nothing comes, is asked
            whether it is still there; it has 10 s to say so.
        handshake_seconds: That a connection has to become one: a phone on a bad network needs 2.
        drain_seconds: That running calls have when the server stops: below the 10 s after which
            containers are killed.
    """

    message_bytes: int = 1 << 20
    metadata_bytes: int = 8 << 10
    unary_seconds: float = 60
    stream_seconds: float = 3600
    deadlines_required: bool = True
    host_calls: int = 128
    client_calls: int = 64
    client_rate: float = 200
    client_burst: int = 400
    waiting_calls: int = 128
    calls: int = 256
    streams: int = 1024
    connections: int = 8192
    connection_streams: int = 32
    connection_age_seconds: float = 3600
    connection_grace_seconds: float = 300
    idle_seconds: float = 60
    keepalive_seconds: float = 60
    handshake_seconds: float = 4
    drain_seconds: float = 8

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not isinstance(value, bool) and not value > 0:
                raise ServerError(f"Expected {each.name} above 0. Received {value}.")

    def channel_options(self) -> list[tuple[str, int]]:
        """What gRPC's server is made with."""
        return [
            ("grpc.max_receive_message_length", self.message_bytes),
            # Between the two, gRPC would refuse by chance.
            ("grpc.max_metadata_size", self.metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.metadata_bytes),
            ("grpc.server.max_pending_requests", self.waiting_calls),
            ("grpc.server.max_pending_requests_hard_limit", self.waiting_calls * 5 // 4),
            ("grpc.max_allowed_incoming_connections", self.connections),
            # Of each stream gRPC takes in one request ahead; more, the faster its client is, if it
            # were let (benchmarks/ingest.py, memory: 9 MB a stream in place of 3).
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", self.message_bytes + (64 << 10)),
            ("grpc.max_concurrent_streams", self.connection_streams),
            ("grpc.max_connection_age_ms", _ms(self.connection_age_seconds)),
            ("grpc.max_connection_age_grace_ms", _ms(self.connection_grace_seconds)),
            ("grpc.max_connection_idle_ms", _ms(self.idle_seconds)),
            ("grpc.keepalive_time_ms", _ms(self.keepalive_seconds)),
            ("grpc.keepalive_timeout_ms", _ms(_KEEPALIVE_ANSWER_SECONDS)),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_seconds)),
            ("grpc.so_reuseport", 0),  # a second server on the port is an error, not half the calls
        ]


_KEEPALIVE_ANSWER_SECONDS = 10


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
