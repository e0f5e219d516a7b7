"""The smallest graph that a run can judge: `front` asks `back` and answers without it when it must.

`write_graph` puts environment, scenario, change and recording into a folder; each test turns one knob. A run of it takes
about half a minute: one steady stretch and one fault, three arms in turn.
"""

from __future__ import annotations

import json
from pathlib import Path

IMAGE = "readiness-tests/tiny:1"
RATE = 40

SERVER = """
import http.client, http.server, json, os, sys, time

class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        length = int(self.headers.get("content-length", 0))
        self.rfile.read(length)
        time.sleep(float(os.environ.get("WORK_S", "0")))
        self.answer(BACK if ROLE == "back" or self.path == "/healthz" else front(self.headers["x-request-id"]))

    do_POST = do_GET

    def answer(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

def front(request_id):
    for attempt in range(2):
        connection = http.client.HTTPConnection("back", 8080, timeout=0.3)
        try:
            connection.request("GET", "/", headers={"x-request-id": request_id or "-"})
            answer = connection.getresponse()
            if answer.status == 200:
                return {**json.loads(answer.read()), "degraded": False}
        except TimeoutError:
            break
        except OSError:
            continue
        except http.client.HTTPException:
            continue
        finally:
            connection.close()
    return {"answer": "fallback", "degraded": True}

ROLE = sys.argv[1]
BACK = {"answer": os.environ.get("ANSWER", "yes")}
http.server.ThreadingHTTPServer.request_queue_size = 256
http.server.ThreadingHTTPServer(("", 8080), Service).serve_forever()
"""

DOCKERFILE = """\
FROM debian:bookworm-slim
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends libpython3-stdlib python3-minimal \\
 && rm -rf /var/lib/apt/lists/*
COPY server.py /server.py
STOPSIGNAL SIGKILL
"""

ENVIRONMENT = f"""\
environment: tiny
services:
  back: &service
    image: {IMAGE}
    build: {{context: image}}
    command: [python3, /server.py, back]
    health: {{port: 8080, http: /healthz}}
    limits: {{cpus: 0.3, memory: 64MiB}}
  front:
    <<: *service
    command: [python3, /server.py, front]
    after: [back]
entries:
  api: {{to: front, port: 8080, tolerance: {{timeout: 2s}}}}
edges:
  - from: front
    to: back
    port: 8080
    protocol: http
    tolerance: {{timeout: 300ms, retries: 1, fallback: an answer of its own, quality_loss: 1.0, recovery: 2s}}
  - from: back
    to: front
    port: 8080
    protocol: http
    traffic: on_fallback
    tolerance: {{timeout: 300ms, quality_loss: 1.0}}
"""

SCENARIO = """\
scenario: tiny
environment: environment.yaml
recording: tiny.ndjson
warmup: 500ms
timeline:
  - steady: calm
    for: 3s
  - fault: {fault}
    edge: {edge}
    name: harm
    for: 1500ms
    recovery: 2s
checks:
  - check: outcome
    service: back
    field: answer
    equals: "yes"
    max_shift: 0.1
    says: of answers are yes
  - check: availability
    at_least: 0.95
    worse_by_at_most: 0.05
  - check: recovery
"""

CHANGE = """\
change: another-word
title: Another word for the same
why: to have something to try
intended_outcome: nothing moves
scenarios: [tiny.scenario.yaml]
services:
  back:
    candidate:
      variables: {{{variables}}}
owners: {{change_sponsor: A, data_steward: B, model_validator: C, service_owner: D}}
"""

# A little patient: what these tests are about must not hang on how busy the machine is that they run on.
POLICY = """\
policy: small
minimum_samples: 60
minimum_fault_samples: 30
schedule_lag_p50: 1s
schedule_lag_p90: 1s
schedule_lag_p99: 1s
schedule_lag_max: 3s
rate_deviation: 1
burstiness_10ms: 99
burstiness_100ms: 99
burstiness_1s: 9
gap_distance: 1
generator_cpu: 1
baseline_availability: 0.95
"""


def write_graph(
    folder: Path,
    fault: str = "refused",
    edge: str = "front->back",
    variables: str = 'COMMENT: "1"',
) -> Path:
    """Everything that a run needs, in `folder`; gives the change file. `policy.yaml` lies beside it."""
    files = {
        "image/server.py": SERVER,
        "image/Dockerfile": DOCKERFILE,
        "environment.yaml": ENVIRONMENT,
        "tiny.scenario.yaml": SCENARIO.format(fault=fault, edge=edge),
        "another-word.change.yaml": CHANGE.format(variables=variables),
        "policy.yaml": POLICY,
        "tiny.ndjson": _recording(),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "another-word.change.yaml"


def _recording(seconds: int = 8) -> str:
    head = {"format": 1, "recording": "tiny", "source": "made for tests", "attribution": "none"}
    lines = [json.dumps(head)]
    for number in range(seconds * RATE):
        at_ns = (2 * number + 1) * 1_000_000_000 // (2 * RATE)
        lines.append(json.dumps({"at_ns": at_ns, "method": "POST", "path": "/ask", "json": {"n": number}}))
    return "\n".join(lines) + "\n"
