"""Files of traffic for the benchmarks: made up, the same every time, of any size.

Takes a path and how large it shall be, writes the file. Clients, paths and agents are as unevenly used as real ones are;
one request in twenty carries a token that redaction must replace. The file in which every line is different, each with a
token, is the worst that a log can do to dictionaries and to redaction.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

CLIENTS, PATHS, AGENTS = 20_000, 2_000, 300
START_S = 1_772_323_200

Lines = Callable[[random.Random], Iterator[str]]


def write_lines(path: Path, size: int, lines: Lines) -> None:
    """At least `size` bytes."""
    made = lines(random.Random(1))
    with path.open("w") as file:
        written = 0
        while written < size:
            piece = "".join(next(made) for _ in range(1_000))
            file.write(piece)
            written += len(piece)


def write_count(path: Path, count: int, lines: Lines) -> None:
    """So many lines."""
    with path.open("w") as file:
        file.writelines(islice(lines(random.Random(1)), count))


def combined_log(made: random.Random) -> Iterator[str]:
    """As a shop's nginx writes it, with `$request_time` at the end."""
    for client, path, agent, at_ms in _requests(made):
        when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at_ms // 1_000))
        status, size = _answer(made)
        yield (
            f'{client} - - [{when}] "GET {path} HTTP/1.1" {status} {size} "https://shop.example/" "{agent}" '
            f"0.{made.randrange(1_000):03}\n"
        )


def different_log(made: random.Random) -> Iterator[str]:
    """The same, and every line is different, and has a token in its query."""
    for _, _, agent, at_ms in _requests(made):
        when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(at_ms // 1_000))
        number, token = made.randrange(10**9), made.getrandbits(96)
        yield (
            f'{_address(number)} - - [{when}] "GET /api/v1/orders/{number}?page=3&token={token:024x} HTTP/1.1" '
            f'{_answer(made)[0]} {number % 90_000} "https://shop.example/p/{number % 5_000}" "{agent}" 0.012\n'
        )


def short_log(made: random.Random) -> Iterator[str]:
    """Common log, one line a millisecond: for very many exchanges."""
    for number in range(2**40):
        when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(START_S + number // 1_000))
        client = _address(made.randrange(CLIENTS))
        yield f'{client} - - [{when}] "GET /api/orders/{made.randrange(100_000)} HTTP/1.1" 200 512\n'


def nginx_json_log(made: random.Random) -> Iterator[str]:
    """nginx with `escape=json`; every value is a text, as its variables are."""
    for client, path, agent, at_ms in _requests(made):
        status, size = _answer(made)
        record = {
            "msec": f"{at_ms / 1_000:.3f}",
            "remote_addr": client,
            "request": f"GET {path} HTTP/1.1",
            "status": status,
            "body_bytes_sent": size,
            "request_time": f"0.{made.randrange(1_000):03}",
            "http_referer": "https://shop.example/",
            "http_user_agent": agent,
            "host": "shop.example",
        }
        yield json.dumps(record, separators=(",", ":")) + "\n"


def write_har(path: Path, size: int) -> None:
    """HAR of a browser: headers, cookies, a JSON body of a few kilobytes in every answer."""
    made = random.Random(1)
    requests = _requests(made)
    with path.open("w") as file:
        written = file.write('{"log":{"version":"1.2","creator":{"name":"made up","version":"1"},"entries":[')
        begin = ""
        while written < size:
            written += file.write(begin + json.dumps(_har_entry(made, next(requests))))
            begin = ",\n"
        file.write("]}}\n")


def _har_entry(made: random.Random, request: tuple[str, str, str, int]) -> dict[str, object]:
    _, target, agent, at_ms = request
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms // 1_000)) + f".{at_ms % 1_000:03}Z"
    items = [
        {"id": made.randrange(10**6), "name": f"part {k}", "price": made.random(), "left": k % 7}
        for k in range(30)
    ]
    sent = {
        "Host": "shop.example",
        "User-Agent": agent,
        "Accept": "application/json",
        "Cookie": f"sid={made.getrandbits(96):x}",
    }
    answered = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "ETag": f'"{made.getrandbits(32):x}"',
    }
    text = json.dumps({"items": items})
    return {
        "startedDateTime": when,
        "time": 12.5,
        "request": {
            "method": "GET",
            "url": f"https://shop.example{target}",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": name, "value": value} for name, value in sent.items()],
            "queryString": [],
            "cookies": [],
            "headersSize": 300,
            "bodySize": 0,
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/1.1",
            "headers": [{"name": name, "value": value} for name, value in answered.items()],
            "cookies": [],
            "content": {"size": len(text), "mimeType": "application/json", "text": text},
            "redirectURL": "",
            "headersSize": 200,
            "bodySize": len(text),
        },
        "cache": {},
        "timings": {"send": 0.5, "wait": 10, "receive": 2},
    }


def _requests(made: random.Random) -> Iterator[tuple[str, str, str, int]]:
    """`(client, target, agent, at_ms)` without end, about 500 a second."""
    agents = [
        f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{100 + k}.0.{k * 37} Safari/537.36"
        for k in range(AGENTS)
    ]
    paths = [f"/catalogue/{k % 40}/item-{k}/details.html" for k in range(PATHS)]
    at_ms = START_S * 1_000
    while True:
        at_ms += int(made.expovariate(1 / 2))
        path = paths[int(PATHS * made.random() ** 3)]
        if made.random() < 0.05:
            path += f"?token={made.getrandbits(96):024x}"
        yield (
            _address(int(CLIENTS * made.random() ** 2)),
            path,
            agents[int(AGENTS * made.random() ** 2)],
            at_ms,
        )


def _answer(made: random.Random) -> tuple[str, str]:
    return made.choice(("200", "200", "200", "304", "404")), str(made.randrange(100_000))


def _address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
