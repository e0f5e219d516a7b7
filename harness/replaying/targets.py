"""Where a replay may send, and nowhere else: the targets that the command line names, and which host goes to which.

Takes `--target`, `--map` and the hosts that the recording names; gives `Targets`, or says what is missing. A recording
that names one host (or none) goes to the target; one that names several goes where each is mapped to.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from harness.errors import DefinitionError, Location, Problem

REACH_S = 5.0
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Targets:
    """`by_host`: for each host as recorded the base URL that its exchanges go to; "" for those that name no host."""

    by_host: Mapping[str, str]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.by_host.values()))

    def hosts_of(self, url: str) -> frozenset[str]:
        return frozenset(host for host, base_url in self.by_host.items() if base_url == url)


def targets(target: str, maps: Iterable[str], hosts: Mapping[str, int]) -> Targets:
    """`hosts`: how many exchanges name each. Raises DefinitionError with every problem."""
    problems: list[Problem] = []

    def wrong(option: str, what: str, fix: str) -> None:
        problems.append(Problem(Location(option), what, fix))

    mapped: dict[str, str] = {}
    for text in maps:
        host, equals, url = text.partition("=")
        why = _no_url(url) if equals and host else "is not HOST=URL"
        if why:
            wrong(
                "--map", f"{text!r} {why}", "write for example --map shop.example.com=http://127.0.0.1:8080"
            )
        elif host.lower() in mapped:
            wrong("--map", f"{host!r} is mapped twice", "give each host one URL")
        else:
            mapped[host.lower()] = url
    if target and (why := _no_url(target)):
        wrong("--target", f"{target!r} {why}", "write for example --target http://127.0.0.1:8080")
    named = [host for host in hosts if host]
    for host in mapped.keys() - {host.lower() for host in named}:
        wrong("--map", f"the recording names no host {host!r}", _known(hosts))
    by_host: dict[str, str] = {}
    for host in hosts:
        url = mapped.get(host.lower()) or (target if len(named) <= 1 or not host else "")
        by_host[host] = url
    lost = [host for host, url in by_host.items() if not url]
    if lost and not problems:
        if len(named) > 1:
            for host in lost:
                whose = f"{host!r}" if host else "no host"
                count = "1 exchange" if hosts[host] == 1 else f"{hosts[host]:,} exchanges"
                what = f"the recording names {len(named)} hosts, and {whose} ({count}) is not mapped"
                wrong(
                    "--map",
                    what,
                    f"add --map {host or 'HOST'}=URL, or leave its exchanges out of the recording",
                )
        else:
            wrong("--target", "no target is named", "add --target URL: replay sends nowhere else")
    if problems:
        raise DefinitionError(problems)
    return Targets(by_host)


def _known(hosts: Mapping[str, int]) -> str:
    named = [host for host in hosts if host]
    return f"it names {', '.join(sorted(named)[:8])}" if named else "leave --map out and name a --target"


def _no_url(url: str) -> str:
    """Why this is no base URL; empty when it is one."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in PORTS or not parts.hostname:
        return "is no URL that begins with http:// or https:// and names a host"
    if parts.query or parts.fragment or parts.username is not None:
        return "holds more than scheme, host, port and path"
    if not re.fullmatch(r"[\x21-\x7e]*", url):
        return "holds characters that a URL has not (percent-encode them)"
    return ""


def reach(url: str, insecure: bool, ca_file: Path | None) -> None:
    """Raises DefinitionError where nobody answers at the URL's host and port, or not with a certificate that holds."""
    parts = urlsplit(url)
    try:
        _connect(parts, insecure, ca_file)
    except ssl.SSLCertVerificationError as error:
        what = f"{url}: its certificate does not hold: {error.verify_message}"
        fix = "give the authority that signed it with --ca-file, or take any certificate with --insecure"
        raise DefinitionError.at("--target", what, fix) from error
    except ssl.SSLError as error:
        what = (
            f"{url}: what answers there does not speak TLS that is understood here ({error.reason or error})"
        )
        raise DefinitionError.at("--target", what, "is it http://? nothing was sent") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        what = f"nothing answers at {url}: {why.lower()}"
        raise DefinitionError.at(
            "--target", what, "start it, or name another target; nothing was sent"
        ) from error


def _connect(parts: SplitResult, insecure: bool, ca_file: Path | None) -> None:
    host = parts.hostname or ""
    port = parts.port or PORTS[parts.scheme]
    with socket.create_connection((host, port), timeout=REACH_S) as sock:
        if parts.scheme != "https":
            return
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(sock, server_hostname=host):
            return
