"""Network addresses: which are this machine's own, and which count as one client."""

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

_LONGEST = 64
"""Characters of an address that is none, as a proxy may have passed it on."""


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=4_096)
def client_network(host: str) -> str:
    """What counts as one client: an IPv4 address, or a /64 of IPv6, which one client may own."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:_LONGEST]
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))


def parse_networks(text: str) -> Sequence[str]:
    """Addresses and networks with commas between them.

    Raises:
        ValueError: one is neither.
    """
    networks = [part.strip() for part in text.split(",") if part.strip()]
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ValueError(
                "must be addresses or networks with commas between them, such as "
                "'10.0.0.1,192.168.0.0/16'"
            ) from None
    return networks
