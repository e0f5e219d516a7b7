"""Makes a flow file of mitmproxy and the HAR that mitmproxy makes of it. Runs under mitmproxy's own Python.

make_flows.py FLOW_FILE HAR_FILE KIND…
"""

from __future__ import annotations

import gzip
import json
import sys

from mitmproxy import io
from mitmproxy.addons.savehar import SaveHar
from mitmproxy.http import Headers
from mitmproxy.test import taddons, tflow, tutils

START_S = 1_772_359_200.1234567


def make(kind: str, number: int):
    """One flow."""
    kind, _, argument = kind.partition(":")
    others = {"tcp": tflow.ttcpflow, "dns": tflow.tdnsflow, "websocket": tflow.twebsocketflow}
    if kind in others:
        return others[kind]()
    begin = START_S + number * 1.7
    request = tutils.treq(
        host="shop.example",
        port=80,
        path="/a?b=c",
        authority=b"",
        content=b"",
        timestamp_start=begin,
        timestamp_end=begin + 0.0078125,
        headers=Headers(((b"Host", b"shop.example"), (b"User-Agent", b"x"), (b"Cookie", b"a=1"))),
    )
    response = tutils.tresp(
        content=b"<p>caf\xe9</p>",
        reason=b"Fine",
        timestamp_start=begin + 0.0312501,
        timestamp_end=begin + 0.2000003,
        headers=Headers(
            (
                (b"Content-Type", b"text/html"),
                (b"Set-Cookie", b"a=1"),
                (b"Set-Cookie", b"b=2"),
                (b"X", b"\xe9"),
            )
        ),
    )
    flow = tflow.tflow(req=request, resp=response)
    flow.server_conn.timestamp_tcp_setup = flow.server_conn.timestamp_start + 0.3
    if kind == "client":
        flow.client_conn.peername = (argument, 1)
    elif kind in BENDS:
        BENDS[kind](flow, request, response)
    return flow


def gzipped(_flow, _request, response) -> None:
    response.headers["content-encoding"] = "gzip"
    response.raw_content = gzip.compress(b"packed" * 100, mtime=0)


def bad_gzip(_flow, _request, response) -> None:
    response.headers["content-encoding"] = "gzip"
    response.raw_content = b"SECRET"


def binary(_flow, request, response) -> None:
    request.method, request.raw_content = "PUT", b"caf\xc3\xa9\xff"
    response.raw_content = bytes(range(256))


def latin(_flow, _request, response) -> None:
    response.headers["content-type"] = "text/plain; charset=utf-8"
    response.raw_content = "café €".encode()


def error(flow, _request, _response) -> None:
    flow.response, flow.error = None, tflow.terr("[Errno 111] Connection refused")


def ipv6(_flow, request, _response) -> None:
    request.host, request.port, request.headers["host"] = "2001:db8::1", 8080, "[2001:DB8::1]:8080"


def twice(_flow, request, _response) -> None:
    request.headers.add("cookie", "b=2")
    request.path = "//x%20y"


def form(_flow, request, _response) -> None:
    request.method, request.headers["content-type"] = "POST", "application/x-www-form-urlencoded"
    request.raw_content = b"a=b&c=d%20e"


def not_modified(_flow, _request, response) -> None:
    response.status_code, response.raw_content = 304, b""


def http2(_flow, request, response) -> None:
    request.http_version = response.http_version = "HTTP/2.0"
    request.authority, request.scheme, request.port = "shop.example", "https", 443
    del request.headers["host"]


def huge(_flow, _request, response) -> None:
    response.raw_content = bytes(70 * 2**20)


BENDS = {
    bend.__name__: bend
    for bend in (bad_gzip, binary, latin, error, ipv6, twice, form, not_modified, http2, huge)
} | {"gzip": gzipped}

flow_file, har_file, *kinds = sys.argv[1:]
flows = [make(kind, number) for number, kind in enumerate(kinds)]
with open(flow_file, "wb") as file:  # noqa: PTH123 - mitmproxy's writer wants a stream
    writer = io.FlowWriter(file)
    for kind, flow in zip(kinds, flows, strict=True):
        if kind == "newer":
            state = flow.get_state()
            io.tnetstring.dump({**state, "version": state["version"] + 1}, file)
        else:
            writer.add(flow)
with taddons.context(SaveHar()), open(har_file, "w") as file:  # noqa: PTH123
    json.dump(SaveHar().make_har([flow for flow in flows if flow.type == "http"]), file)
