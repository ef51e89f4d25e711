"""Who makes a call, as far as it is known: for limits and logs.

host_of("ipv4:192.0.2.7:50412")             # "192.0.2.7"
network_of("ipv6:[2001:db8::7]:50412")      # "2001:db8::/64"
network("2001:db8::7")                      # the same
"""

# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ipaddress
from urllib.parse import unquote

from pocketlens_server import callers

NOBODY = "-"

_SITE_BITS = 64  # of an IPv6 address: whoever has one has all that begin like it


def caller_id() -> str:
    """The id of who makes the call that is being answered; `NOBODY` where nobody has looked."""
    try:
        return callers.current().id
    except LookupError:
        return NOBODY


def host_of(peer: str) -> str:
    """The host of a peer as gRPC names it, without the port; "local" where it has none."""
    kind, _, address = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return "local"
    return unquote(address).rpartition(":")[0].strip("[]")


def network_of(peer: str) -> str:
    """Whom to count a peer as; see `network`."""
    return network(host_of(peer))


def network(host: str) -> str:
    """Whom to count as one: a host, or all of the network that it can choose its address from."""
    if ":" not in host:
        return host
    # An address of this machine's own links has the name of the link behind it.
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, _SITE_BITS), strict=False))
