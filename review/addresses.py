"""Where we may send something: which addresses a name may stand for (design, Edges).

Whoever can register an address must not reach through us what only we can reach: this machine, the
house's network, a cloud's metadata. What lies inside and is meant, such as the bureau's OA, is
allowed by name in the settings.
"""

from ipaddress import IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

LONGEST = 2_000  # characters of a URL
NAT64 = IPv6Network("64:ff9b::/96")


def wrong_with_url(url: str) -> str | None:
    """Return why a URL is none that we send to, as a code of the catalogue; None when it is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "url_malformed"
    if len(url) > LONGEST or not url.isascii() or not url.isprintable() or " " in url:
        return "url_malformed"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or "\\" in url:
        return "url_malformed"
    if parts.username is not None or parts.password is not None or "#" in url:
        return "url_malformed"
    return None


def is_public(address: str) -> bool:
    """Tell whether an address that a name was resolved to lies outside, for everybody to reach.

    Never one that only looks so because another address is written inside it (IPv4-mapped, 6to4,
    Teredo, NAT64).
    """
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        if found.sixtofour is not None or found.teredo is not None or found in NAT64:
            return False
        if found.is_site_local:
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)
