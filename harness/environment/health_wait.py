"""Waits inside the plane until services answer; a script of the standard library alone, run in the container.

Takes a JSON list of `{"service", "address", "port", "http", "every_s", "within_s"}` as its argument; prints one JSON
line `{"service", "healthy", "after_s", "last"}` for each, the moment it is decided, and exits 0 when all are healthy.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from typing import Any

TRY_TIMEOUT_S = 2.0


def probe(target: dict[str, Any]) -> str:
    """One try: an empty string when healthy, else what happened."""
    address, port, path = target["address"], target["port"], target.get("http")
    try:
        if path is None:
            socket.create_connection((address, port), TRY_TIMEOUT_S).close()
            return ""
        connection = http.client.HTTPConnection(address, port, timeout=TRY_TIMEOUT_S)
        try:
            connection.request(
                "GET", path, headers={"host": target["service"], "user-agent": "readiness-health"}
            )
            answer = connection.getresponse()
            body = answer.read(200).decode("utf-8", "replace")
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    return "" if 200 <= answer.status < 300 else f"status {answer.status}: {body.strip()}"


def wait(target: dict[str, Any]) -> bool:
    """Probe until healthy or out of time, and say which."""
    started = time.monotonic()
    while True:
        last = probe(target)
        after_s = time.monotonic() - started
        if not last or after_s > target["within_s"]:
            result = {
                "service": target["service"],
                "healthy": not last,
                "after_s": round(after_s, 3),
                "last": last,
            }
            print(json.dumps(result), flush=True)
            return not last
        time.sleep(target["every_s"])


def main() -> int:
    results: list[bool] = []
    threads = [
        threading.Thread(target=lambda target=target: results.append(wait(target)), daemon=True)
        for target in json.loads(sys.argv[1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
