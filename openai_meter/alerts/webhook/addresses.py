"""Which addresses a webhook may be posted to.

The owner of a name decides about its address. It may be one in the network of the program, where a request can do harm.
So a name must have a public address, unless the user allows others.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

__all__ = ["is_public", "named_private"]

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet: no private, local, shared, reserved or multicast one.

    The same holds for an IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), which the network takes out again.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is not None:
            return _is_global(inner)
    return _is_global(ip)


def _is_global(ip: IPv4Address | IPv6Address) -> bool:
    # Site-local addresses are long out of use, and global to some versions of the library.
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not getattr(ip, "is_site_local", False)


def named_private(host: str) -> bool:
    """Whether the host in a URL is visibly not public: ``localhost``, or a private address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return not is_public(host)
