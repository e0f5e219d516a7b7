"""`python3 -m members [PORT]`: serves until SIGTERM. Prints the port once it listens (0 asks for a free one)."""

import signal
import sys
from http.server import ThreadingHTTPServer

from members.shop import Shop
from members.web import handler

server = ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else 8080), handler(Shop()))
server.daemon_threads = True
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print(server.server_port, flush=True)
server.serve_forever()
