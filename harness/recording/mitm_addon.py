"""Runs inside `mitmdump`: tells the harness of every exchange through a pipe, and writes nothing to disk.

Takes its options from `mitmdump --set`: the pipe's number (`readiness_fd`), and a flow file to read (`readiness_file`)
or the service to record (`readiness_target`). Gives frames, which `mitmdump.py` reads: three lengths of four bytes, then
a head in JSON, the request's body and the answer's, both as they were on the wire. Ends when its standard input ends.

It may run under another Python than the harness, with whatever mitmproxy is there: so it imports nothing of the harness,
and leaves everything that can be decided later to the harness. Texts of a head stand for bytes (Latin-1).
"""

from __future__ import annotations

import asyncio
import collections
import json
import os
import shutil
import struct
import sys
import threading
from typing import Any

from mitmproxy import ctx, version
from mitmproxy import http as mitm_http
from mitmproxy import io as mitm_io

NO_BODY = 0xFFFFFFFF
LONGEST_FLOW_BYTES = 64 * 2**20
MOST_HELD_BYTES = 64 * 2**20
"""What may wait for the harness; beyond it the proxy waits, too."""
LAST_WAIT_S = 2.0
"""How long requests under way may still take when the recording ends."""


class Frames:
    """Writes frames from a thread of its own, in order, so that the proxy never waits for the pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._waiting: collections.deque[bytes] = collections.deque()
        self._held = 0
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def send(self, head: dict[str, Any], request: bytes | None = None, answer: bytes | None = None) -> None:
        text = json.dumps(head).encode("ascii")
        lengths = (NO_BODY if body is None else len(body) for body in (request, answer))
        frame = b"".join((struct.pack(">III", len(text), *lengths), text, request or b"", answer or b""))
        with self._changed:
            self._changed.wait_for(lambda: self._held < MOST_HELD_BYTES or self._ended)
            self._waiting.append(frame)
            self._held += len(frame)
            self._changed.notify_all()

    def end(self) -> None:
        """Returns when everything was written."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    break
                frame = self._waiting.popleft()
            try:
                with_rest = memoryview(frame)
                while with_rest:
                    with_rest = with_rest[os.write(self._fd, with_rest) :]
            except OSError:  # the harness is gone: standard input ends as well
                with self._changed:
                    self._ended = True
                    self._changed.notify_all()
                break
            with self._changed:
                self._held -= len(frame)
                self._changed.notify_all()
        os.close(self._fd)


class Addon:
    """What mitmproxy calls."""

    def __init__(self) -> None:
        self._frames: Frames | None = None
        self._under_way: dict[str, mitm_http.HTTPFlow] = {}
        self._origins: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def load(self, loader: Any) -> None:
        loader.add_option("readiness_fd", int, -1, "Pipe to the harness.")
        loader.add_option("readiness_file", str, "", "Flow file to read.")
        loader.add_option("readiness_target", str, "", "Origin of the service that is recorded.")

    def running(self) -> None:
        self._frames = Frames(ctx.options.readiness_fd)
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._until_told, args=(loop,), daemon=True).start()
        if ctx.options.readiness_file:
            self._tell({"kind": "reading", "version": version.VERSION})
            threading.Thread(target=self._read, daemon=True).start()
        else:
            addresses = ctx.master.addons.get("proxyserver").listen_addrs()
            self._tell(
                {
                    "kind": "listening",
                    "version": version.VERSION,
                    "addresses": [list(a[:2]) for a in addresses],
                }
            )

    def done(self) -> None:
        if self._frames is not None:
            self._frames.end()
            shutil.rmtree(
                ctx.options.confdir, ignore_errors=True
            )  # made for this run; the harness may be gone

    def requestheaders(self, flow: mitm_http.HTTPFlow) -> None:
        self._under_way[flow.id] = flow
        target, request = ctx.options.readiness_target, flow.request
        if not target:
            return
        mine = f"{'https' if flow.client_conn.tls_established else 'http'}://{request.host_header or ''}"
        self._origins[flow.id] = mine
        request.host_header = target.partition("://")[2]
        for name in ("origin", "referer"):
            value = request.headers.get(name, "")
            if value == mine or value.startswith(mine + "/"):
                request.headers[name] = target + value.removeprefix(mine)

    def responseheaders(self, flow: mitm_http.HTTPFlow) -> None:
        if flow.response is not None and "text/event-stream" in flow.response.headers.get("content-type", ""):
            flow.response.stream = True  # it may never end

    def response(self, flow: mitm_http.HTTPFlow) -> None:
        self._exchange(flow)
        target, mine = ctx.options.readiness_target, self._origins.pop(flow.id, "")
        location = flow.response.headers.get("location", "") if flow.response is not None else ""
        if target and (location == target or location.startswith(target + "/")):
            assert flow.response is not None
            flow.response.headers["location"] = mine + location.removeprefix(target)

    def error(self, flow: mitm_http.HTTPFlow) -> None:
        self._exchange(flow)
        self._origins.pop(flow.id, None)

    def _exchange(self, flow: mitm_http.HTTPFlow) -> None:
        if self._under_way.pop(flow.id, None) is not None and self._frames is not None:
            self._frames.send(*frame_of(flow))

    def _tell(self, head: dict[str, Any]) -> None:
        if self._frames is not None:
            self._frames.send(head)

    def _until_told(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the harness closes standard input, or is gone."""
        while os.read(sys.stdin.fileno(), 1024):
            pass
        loop.call_soon_threadsafe(lambda: self._tasks.append(loop.create_task(self._stop())))

    async def _stop(self) -> None:
        for _ in range(round(LAST_WAIT_S / 0.05)):
            if not self._under_way:
                break
            await asyncio.sleep(0.05)
        for flow in list(self._under_way.values()):
            self._exchange(flow)
        self._tell({"kind": "end"})
        ctx.master.shutdown()

    def _read(self) -> None:
        """The whole flow file, then the end."""
        try:
            with open(ctx.options.readiness_file, "rb") as file:  # noqa: PTH123 - FlowReader peeks into this stream
                size = file.seek(0, os.SEEK_END)
                file.seek(0)
                self._read_flows(file, size)
        except OSError as error:
            self._tell({"kind": "failed", "why": "unreadable", "number": 0, "said": error.strerror or ""})
        self._tell({"kind": "end"})
        ctx.master.shutdown()

    def _read_flows(self, file: Any, size: int) -> None:
        number, begin = 0, 0
        while begin < size:
            number += 1
            end = end_of_flow(file, begin)
            if end is None or end > size:
                why = "no flow" if end is None else "cut off"
                self._tell({"kind": "failed", "why": why, "number": number})
                return
            if end - begin > LONGEST_FLOW_BYTES:
                self._tell({"kind": "too long", "number": number})
            else:
                try:
                    flow = next(iter(mitm_io.FlowReader(file).stream()))
                except Exception as error:  # noqa: BLE001 - whatever mitmproxy meets in a damaged flow
                    if "update mitmproxy" in str(error):
                        self._tell(
                            {"kind": "failed", "why": "newer", "number": number, "version": version.VERSION}
                        )
                        return
                    self._tell({"kind": "damaged", "number": number})
                else:
                    self._send_read(flow, number)
            file.seek(end)
            begin = end

    def _send_read(self, flow: Any, number: int) -> None:
        if not isinstance(flow, mitm_http.HTTPFlow):
            self._tell({"kind": "other", "number": number, "type": str(flow.type)})
        elif self._frames is not None:
            head, request, answer = frame_of(flow)
            self._frames.send({**head, "number": number}, request, answer)


def end_of_flow(file: Any, begin: int) -> int | None:
    """Where the flow at `begin` ends, by the length that it begins with; None where there is none."""
    digits, colon, _ = file.peek(16)[:16].partition(b":")
    return begin + len(digits) + 1 + int(digits) + 1 if colon and digits.isdigit() else None


def frame_of(flow: mitm_http.HTTPFlow) -> tuple[dict[str, Any], bytes | None, bytes | None]:
    """Head and bodies of one exchange."""
    request, response = flow.request, flow.response
    head: dict[str, Any] = {
        "kind": "exchange",
        "peer": flow.client_conn.peername[0] if flow.client_conn.peername else "",
        "web_socket": flow.websocket is not None,
        "method": request.method,
        "url": request.pretty_url,
        "host": request.host_header or "",
        "http": request.http_version,
        "headers": texts(request.headers),
        "start_s": request.timestamp_start,
        "error": flow.error.msg if flow.error is not None else None,
        "answer": None,
    }
    if response is not None:
        head["answer"] = {
            "status": response.status_code,
            "reason": response.reason,
            "http": response.http_version,
            "headers": texts(response.headers),
            "start_s": response.timestamp_start,
            "end_s": response.timestamp_end,
        }
    return head, request.raw_content, response.raw_content if response is not None else None


def texts(headers: Any) -> list[list[str]]:
    """Names and values as one character a byte."""
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers.fields]


addons = [Addon()]
