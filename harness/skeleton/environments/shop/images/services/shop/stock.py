"""stock: how many pieces are left, and how often an article was looked at. Two protocols, one process.

HTTP on port 8080, `GET /stock/A-01`; plain TCP on port 7000, one line `viewed A-01`, acknowledged by `ok`. Views are
counted in Redis; without it the number is null and everything else goes on.
"""

from __future__ import annotations

import json
import socketserver
import threading
from pathlib import Path

import redis

from shop.web import Answer, HttpError, Request, serve

ARTICLES = Path("/etc/shop/articles.json")
LINES_PORT = 7000
STORE_TIMEOUT_S = 0.1


def main() -> None:
    articles = json.loads(ARTICLES.read_text())
    views = redis.Redis(host="redis", socket_timeout=STORE_TIMEOUT_S, socket_connect_timeout=STORE_TIMEOUT_S)

    def viewed(article: str) -> int | None:
        try:
            return int(views.get(f"views:{article}") or 0)
        except redis.RedisError:
            return None

    def answer(request: Request) -> Answer:
        match request.parts:
            case ("stock", article) if article in articles:
                return {"left": articles[article]["left"], "viewed": viewed(article)}
        raise HttpError(404, "no such article")

    class Line(socketserver.StreamRequestHandler):
        timeout = 5.0

        def handle(self) -> None:
            verb, _, article = self.rfile.readline(256).decode(errors="replace").strip().partition(" ")
            if verb != "viewed" or article not in articles:
                return
            try:
                views.incr(f"views:{article}")
            except redis.RedisError:
                self.wfile.write(b"not counted\n")
            else:
                self.wfile.write(b"ok\n")

    class Lines(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 256

    with Lines(("", LINES_PORT), Line) as lines:
        threading.Thread(target=lines.serve_forever, daemon=True).start()
        serve(answer)


if __name__ == "__main__":
    main()
