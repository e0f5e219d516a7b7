"""HAProxy's configuration: both halves of every edge, tuned to add nothing of its own to what callers see.

Takes routes and the run's seed, gives the text of `haproxy.cfg`. What is decided here, and why:

* No retries, no redispatch, and timeouts of an hour, longer than any fault: who waits how long is the caller's and the
  callee's affair.
* `http-reuse never`: a caller's connection has a connection of its own to the callee, as without the plane. Both are
  kept alive. (One difference stays: when a callee closes an idle kept-alive connection, the caller's stays open and its
  next request opens a new one.)
* `abortonclose`: when a caller gives up, the callee's connection is closed too, as without the plane. It stands in the
  defaults, because in the backend alone it comes too late: HAProxy has stopped reading from the caller by then.
* Empty 400, 502, 503 and 504 pages: an answer that the callee never gave must not look like one. The caller sees its
  connection closed instead; the log's termination says why. (400 is HAProxy's for a caller that gave up.)
* `filter trace ... quiet` on TCP: without any filter HAProxy forwards on a fast path that updates the byte counters of
  a kept-alive connection only every five seconds, with one at every chunk.
* `accept-invalid-http-...`: whether a request or an answer is well formed is for callee and caller to judge.
* Request faults are answered by a service of our own (`image/answer.lua`) that reads the request's body to its end.
* One thread: lines of the log and counters then have one order, and the plane takes at most one core.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.environment import Protocol
from harness.plane.routes import EdgeRoute

REQUEST_FAULTS_MAP = "/etc/readiness/request_faults.map"
REQUEST_FAULTS_TABLE = "request_faults"
PROBE_PATH = "/.readiness-probe"
DRAWS = 10_000
"""A request fault hits the requests whose draw (hash of id and seed, modulo this) lies below its limit."""
HTTP: Protocol = "http"

_HEAD = """\
global
    log stdout len 8192 format raw daemon
    stats socket /run/haproxy.sock mode 600 level admin
    user haproxy
    group haproxy
    nbthread 1
    fd-hard-limit 65536
    tune.bufsize 32768
    tune.http.maxhdr 256
    lua-load /opt/readiness/answer.lua

defaults
    timeout connect 1h
    timeout client 1h
    timeout server 1h
    timeout http-request 1h
    timeout http-keep-alive 1h
    retries 0
    option contstats
    option abortonclose
"""

_TCP_HALF = """
frontend {name}
    mode tcp
    bind {bind}
    filter trace name {name} quiet
    default_backend {name}
backend {name}
    mode tcp
    server next {server}
"""

# Fields of the log line are strings where HAProxy may have nothing to say ("-"); `harness.plane.log` reads them.
_LOG_FORMAT = (
    '{{"edge":{index},"begin_us":"%[var(txn.begin)]","end_us":"%[date(0,us)]",'
    '"id":"%[var(txn.id),json(utf8s)]","method":"%HM","path":"%[var(txn.path),json(utf8s)]",'
    '"status":%ST,"bytes":%B,"termination":"%ts","fault":"%[var(txn.window)]"}}'
)

_HTTP_HALF = """
frontend out_{index}
    mode http
    log global
    bind 127.0.0.1:{port}
    monitor-uri {probe}
    option dontlognull
    option http-ignore-probes
    option accept-invalid-http-request
    http-request set-var(txn.begin) date(0,us)
    http-request set-var(txn.path) path
    http-request set-var(txn.id) req.fhdr(x-request-id)
    http-request set-var(txn.rule) str({index}:),concat(,txn.path),map_beg({map})
    acl ruled var(txn.rule) -m found
    acl has_id var(txn.id) -m len ge 1
    http-request track-sc0 int({index}) table {table} if ruled
    http-request sc-inc-gpc(0,0) if ruled
    http-request sc-inc-gpc(2,0) if ruled !has_id
    http-request set-var(txn.draw) var(txn.id),xxh32({seed}),mod({draws}) if ruled has_id
    http-request set-var(txn.draw) sc_get_gpc(2,0),xxh32({seed}),mod({draws}) if ruled !has_id
    http-request set-var(txn.limit) var(txn.rule),field(1,:) if ruled
    http-request set-var(txn.status) var(txn.rule),field(2,:) if ruled {{ var(txn.draw),sub(txn.limit) lt 0 }}
    acl hit var(txn.status) -m found
    http-request set-var(txn.window) var(txn.rule),field(3,:) if hit
    http-request sc-inc-gpc(1,0) if hit
    log-format '{log_format}'
    use_backend fault_answers if hit
    default_backend out_{index}
backend out_{index}
    mode http
    http-reuse never
    option accept-invalid-http-response
    errorfile 400 /dev/null
    errorfile 502 /dev/null
    errorfile 503 /dev/null
    errorfile 504 /dev/null
    server callee {callee}
"""

_REQUEST_FAULTS = """
backend {table}
    stick-table type integer size {size} store gpc(3)
backend fault_answers
    mode http
    http-request use-service lua.readiness_answer
"""


def haproxy_configuration(routes: Sequence[EdgeRoute], seed: int) -> str:
    """The whole file. The same seed hits the same request ids on every plane."""
    parts = [_HEAD, _REQUEST_FAULTS.format(table=REQUEST_FAULTS_TABLE, size=max(len(routes), 1))]
    for route in routes:
        listen = f"{route.listen_address}:{route.listen_port}"
        toxiproxy = f"127.0.0.1:{route.toxiproxy_port}"
        parts.append(_TCP_HALF.format(name=f"in_{route.index}", bind=listen, server=toxiproxy))
        parts.append(_out_half(route, seed))
    return "".join(parts)


def _out_half(route: EdgeRoute, seed: int) -> str:
    callee = f"{route.callee_address}:{route.callee_port}"
    if route.protocol != HTTP:
        bind = f"127.0.0.1:{route.out_port}"
        return _TCP_HALF.format(name=f"out_{route.index}", bind=bind, server=callee)
    return _HTTP_HALF.format(
        index=route.index,
        port=route.out_port,
        callee=callee,
        probe=PROBE_PATH,
        map=REQUEST_FAULTS_MAP,
        table=REQUEST_FAULTS_TABLE,
        seed=seed & 0xFFFF_FFFF,
        draws=DRAWS,
        log_format=_LOG_FORMAT.format(index=route.index),
    )
