"""What the web side gives to its callers besides `pocketlens_server.limits`. Values only."""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field

from pocketlens_server.http.connections import HttpLimits


@dataclass(frozen=True, slots=True)
class WebLimits:
    """All of it; everything is above 0.

    Attributes:
        http: Connections, and the time of their heads.
        head_bytes: Of a request line and its headers: twice what gRPC's may have, as browsers bring
            the cookies of whatever else was ever served on this host.
        json_bytes: Of a body in JSON: an embedding of 4,096 numbers, in full, has 100 kB.
        form_bytes: Of a form, besides its photo.
        bodies_bytes: Of all bodies at once, from their first byte until they are answered.
        host_bodies_bytes: Of those from one host, or one photo's where it may have more.
        body_seconds: That a body may take to come: 4 MB from a phone with 1 Mbit/s.
        visitor_rate, visitor_burst: Questions a second of one visitor of the page, and at once:
            more than anybody looks at.
        network_rate, network_burst: The same of all visitors from one network: a shop's own WLAN.
    """

    http: HttpLimits = field(default_factory=HttpLimits)
    head_bytes: int = 16 << 10
    json_bytes: int = 256 << 10
    form_bytes: int = 64 << 10
    bodies_bytes: int = 128 << 20
    host_bodies_bytes: int = 32 << 20
    body_seconds: float = 32
    visitor_rate: float = 1
    visitor_burst: int = 20
    network_rate: float = 10
    network_burst: int = 100
