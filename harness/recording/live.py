"""`readiness record live`: records what clients say to a service, and what it answers, through a reverse proxy.

Takes a `LiveRequest`, gives batches of `CAPTURED` as they come, until Ctrl-C, SIGTERM or the end of its time. Nothing is
written here: mitmproxy (`mitmdump.py`) sends every exchange through a pipe, and whoever takes the batches redacts them.
The proxy listens on the one address that was given. It is transparent in both directions: the service gets its own name
in `host`, `origin` and `referer`, and clients the proxy's in `location`; recorded is what the service saw and said.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self
from urllib.parse import urlsplit

import pyarrow as pa

from harness.errors import DefinitionError, EngineError, Location, Problem
from harness.recording.mitmdump import INSTALL, Mitmdump, NoMitmdumpError
from harness.recording.readers.base import Rejects, Source
from harness.recording.readers.mitm_flow import Clients, row_of
from harness.recording.readers.rows import LeftOutError, Rows, UnusableError

DEFAULT_HOST = "127.0.0.1"
START_S = 30.0
REACH_S = 5.0
PROGRESS_S = 0.5
_POLL_S = 0.2
_LISTEN = re.compile(r"(?:(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):)?(?P<port>[0-9]{1,5})")
_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class LiveRequest:
    """What to record. `target`: scheme, host and port of the service. `length_s` None: until it is stopped.

    `insecure`: any certificate of the service will do. `ca`: a file with the certificates that vouch for it.
    """

    host: str
    port: int
    target: str
    length_s: float | None = None
    insecure: bool = False
    ca: Path | None = None

    @classmethod
    def of(
        cls,
        listen: str,
        to: str,
        length_s: float | None = None,
        insecure: bool = False,
        ca: Path | None = None,
    ) -> Self:
        """From the words of the command line. Raises DefinitionError with all that is wrong."""
        problems: list[Problem] = []
        found = _LISTEN.fullmatch(listen)
        if found is None or int(found["port"]) > 65535:
            what = f"{listen!r} is no address to listen on"
            problems.append(Problem(Location("--listen"), what, "write HOST:PORT, or PORT for 127.0.0.1"))
        target = _origin(to)
        if target is None:
            what = f"{to!r} is no service that could be recorded"
            fix = "write http://HOST:PORT or https://HOST; clients give the paths"
            problems.append(Problem(Location("--to"), what, fix))
        if length_s is not None and length_s <= 0:
            problems.append(Problem(Location("--for"), "the time is over at once", "give a time above zero"))
        if ca is not None and not ca.is_file():
            problems.append(
                Problem(Location("--ca"), f"there is no file {ca}", "name a file of certificates (PEM)")
            )
        if problems or found is None or target is None:
            raise DefinitionError(problems)
        host = (found["host"] or DEFAULT_HOST).strip("[]")
        return cls(host, int(found["port"]), target, length_s, insecure, ca)

    @property
    def target_address(self) -> tuple[str, int]:
        parts = urlsplit(self.target)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def secure(self) -> bool:
        return self.target.startswith("https:")


@dataclass(frozen=True)
class LiveProgress:
    """How far a recording is. `address`: HOST:PORT where the proxy listens."""

    address: str
    exchanges: int
    per_s: float
    elapsed_s: float
    left_s: float | None


Watch = Callable[[LiveProgress], None]


class LiveReader:
    """A reader whose source is a service. `read` returns when the recording is over; `stop` ends it from any thread."""

    name = "live"
    is_log = False
    summary = "a service, recorded through a reverse proxy (needs mitmproxy: the extra [mitm])"
    unknown = "bodies above 64 MiB and of event streams, and bytes on the wire of HTTP/2"

    def __init__(self, request: LiveRequest, watch: Watch = lambda _: None) -> None:
        self._request = request
        self._watch = watch
        self._stop = threading.Event()

    def recognises(self, path: Path, head: bytes) -> bool:  # noqa: ARG002 - no file is a service
        return False

    def stop(self) -> None:
        """As Ctrl-C does: what is under way is finished, then the recording ends."""
        self._stop.set()

    def read(self, source: Source, rejects: Rejects) -> Generator[pa.RecordBatch, None, None]:  # noqa: ARG002 - it reads no file
        """Raises EngineError when the proxy cannot start or dies; what was given until then is not a recording."""
        request = self._request
        _reach(request)
        _free(request)
        try:
            with _stopping(self._stop), Mitmdump(*_command(request)) as program:
                yield from _Session(program, request, self._watch, self._stop).batches(rejects)
        except NoMitmdumpError:
            raise EngineError("recording needs mitmproxy, which is not installed", INSTALL) from None


class _Session:
    """One recording, from the proxy's first word to its last."""

    def __init__(self, program: Mitmdump, request: LiveRequest, watch: Watch, stop: threading.Event) -> None:
        self._program = program
        self._request = request
        self._watch = watch
        self._stop = stop
        self._rows = Rows()
        self._clients = Clients()
        self._records = 0
        self._whole = False
        self._address = ""
        self._began_s = self._told_s = time.monotonic()
        self._told = 0

    def batches(self, rejects: Rejects) -> Generator[pa.RecordBatch, None, None]:
        asked_s: float | None = None
        while (frames := self._program.poll(_POLL_S)) is not None:
            for frame in frames:
                if frame.kind == "listening":
                    self._listening(frame.head["addresses"])
                elif frame.kind == "end":
                    self._whole = True
                else:
                    self._records += 1
                    try:
                        self._rows.add(row_of(frame, self._clients))
                    except UnusableError as error:
                        rejects.bad(self._records, error.what, error.fix)
                    except LeftOutError as error:
                        rejects.left_out(error.reason)
            if self._rows.full:
                yield from self._rows.batch()
            asked_s = self._steer(asked_s)
        self._program.exit_code()
        if not self._whole:
            raise EngineError(*self._why())
        self._tell()
        yield from self._rows.batch()

    def _steer(self, asked_s: float | None) -> float | None:
        """End it when it is time; when it was asked to end, and by when it has to."""
        now_s = time.monotonic()
        if not self._address and now_s > self._began_s + START_S:
            self._program.kill()
        length_s = self._request.length_s
        over = bool(self._address) and length_s is not None and now_s >= self._began_s + length_s
        if asked_s is None and (over or self._stop.is_set()):
            self._program.ask_to_end()
            return now_s
        if asked_s is not None and now_s > asked_s + START_S:
            self._program.kill()
        if now_s >= self._told_s + PROGRESS_S and self._address:
            self._tell()
        return asked_s

    def _listening(self, addresses: list[list[str | int]]) -> None:
        if addresses:
            host, port = addresses[0]
            self._address = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
        self._began_s = self._told_s = time.monotonic()
        self._tell()

    def _tell(self) -> None:
        now_s = time.monotonic()
        since_s = now_s - self._told_s
        per_s = (self._records - self._told) / since_s if since_s > 0 else 0.0
        elapsed_s, length_s = now_s - self._began_s, self._request.length_s
        left_s = max(0.0, length_s - elapsed_s) if length_s is not None else None
        self._told_s, self._told = now_s, self._records
        self._watch(LiveProgress(self._address, self._records, per_s, elapsed_s, left_s))

    def _why(self) -> tuple[str, str]:
        """What to say of a proxy that ended by itself."""
        if not self._address:
            said = self._program.last_words() or "it said nothing"
            return f"the recording proxy did not start: {said}", "put that right and try again"
        count = f"{self._records} exchange" + "s" * (self._records != 1)
        what = f"the recording proxy died (exit code {self._program.exit_code()}) after {count}"
        return what, "nothing of it was kept; see whether the machine is short of memory, and record again"


def _origin(to: str) -> str | None:
    """Scheme, host and port, in lower case; None where it is anything else or more than that."""
    try:
        parts = urlsplit(to)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        return None
    if parts.fragment or parts.username is not None:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None and port != default else "")


def _command(request: LiveRequest) -> tuple[dict[str, str], list[str]]:
    """Options and arguments for mitmdump."""
    paths = ssl.get_default_verify_paths()
    ca = str(request.ca) if request.ca is not None else paths.cafile
    options = {
        "readiness_target": request.target,
        "keep_host_header": "true",  # the addon puts it right, and undoes it in `location`
        "connection_strategy": "lazy",
        "stream_large_bodies": "64m",
        "ssl_insecure": "true" if request.insecure else "false",
    }
    if request.secure and ca is not None:
        options["ssl_verify_upstream_trusted_ca"] = ca
    arguments = ["--mode", f"reverse:{request.target}", "--listen-host", request.host]
    return options, [*arguments, "--listen-port", str(request.port)]


def _reach(request: LiveRequest) -> None:
    """Raises EngineError when the service does not answer, or its certificate will not do."""
    host, port = request.target_address
    try:
        with socket.create_connection((host, port), REACH_S) as connection:
            if request.secure:
                context = ssl.create_default_context(
                    cafile=str(request.ca) if request.ca is not None else None
                )
                if request.insecure:
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                with context.wrap_socket(connection, server_hostname=host):
                    pass
    except ssl.SSLCertVerificationError as error:
        fix = "name the certificates that vouch for it with --ca FILE, or take any with --insecure"
        raise EngineError(
            f"the certificate of {request.target} will not do: {error.verify_message}", fix
        ) from None
    except ssl.SSLError:
        fix = "write http:// where the service speaks no TLS"
        raise EngineError(f"{request.target} speaks no TLS that is understood here", fix) from None
    except OSError as error:
        what = f"{request.target} cannot be reached: {error.strerror or error}"
        raise EngineError(what, "start the service first, and see that --to names it") from None


def _free(request: LiveRequest) -> None:
    """Raises EngineError when nobody could listen there."""
    try:
        found = socket.getaddrinfo(
            request.host, request.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        where = (
            f"{request.host}:{request.port}"
            if ":" not in request.host
            else f"[{request.host}]:{request.port}"
        )
        what = f"cannot listen on {where}: {error.strerror or error}"
        raise EngineError(
            what, "give an address of this machine and a free port (0: any), or end what listens there"
        ) from None


@contextlib.contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """Within: the first Ctrl-C or SIGTERM ends the recording, which is then complete; a second one gives it up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def asked(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            before = previous[signal.Signals(number)]
            if callable(before):
                before(number, frame)
            raise KeyboardInterrupt
        stop.set()

    previous = {number: signal.signal(number, asked) for number in _STOPS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
