"""The proxy that the environment, or the system, asks for: as httpx2 finds it for the SDK."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from gpt_magics.settings import Secret


def proxy_for(url: str) -> Secret | None:
    """The proxy's address, which may hold a password, or ``None`` to connect directly."""
    parts = urlsplit(url)
    host, known = parts.hostname or "", getproxies()
    address = known.get(parts.scheme) or known.get("all")
    if not address or proxy_bypass(host) or _is_in_any(host, known.get("no", "")):
        return None
    return Secret(address if "://" in address else f"http://{address}")


def _is_in_any(host: str, networks: str) -> bool:
    """Whether a host is within one of ``NO_PROXY``'s networks, such as ``10.0.0.0/8``."""
    return any(_is_in(host, each.strip()) for each in networks.split(",") if "/" in each)


def _is_in(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:
        return False
