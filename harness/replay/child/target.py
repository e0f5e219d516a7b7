"""Where requests go: one host and port, its addresses, and TLS where the URL says https. A replay cannot leave it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Address = tuple[int, int, int, str, Any]
"""As `socket.getaddrinfo` gives it."""


@dataclass(frozen=True)
class Target:
    """`addresses` in the order in which they are tried."""

    host: str
    port: int
    addresses: tuple[Address, ...]
    tls: ssl.SSLContext | None


def find_target(base_url: str, insecure: bool, ca_file: str) -> Target:
    """Look the host up (in a thread: the event loop goes on). Raises ValueError, and OSError for an unknown host."""
    url = urlsplit(base_url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{base_url!r} is no http:// or https:// URL")
    port = url.port or (443 if url.scheme == "https" else 80)
    found = socket.getaddrinfo(url.hostname, port, 0, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    tls = tls_context(insecure, ca_file) if url.scheme == "https" else None
    return Target(url.hostname, port, tuple(found), tls)


def tls_context(insecure: bool, ca_file: str) -> ssl.SSLContext:
    """Certificates are verified unless `insecure`. Raises OSError for a `ca_file` that cannot be used."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.set_alpn_protocols(["http/1.1"])
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
