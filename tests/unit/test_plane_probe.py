"""The probe that runs inside the plane, against real sockets: every outcome, and never longer than its limit."""

import importlib.util
import socket
import threading
import time
from pathlib import Path

import pytest

import harness.plane.container

SOURCE = Path(harness.plane.container.CONTEXT) / "probe.py"


@pytest.fixture(scope="module")
def probe():
    spec = importlib.util.spec_from_file_location("plane_probe", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def listening():
    """Gives a function: what to do with each connection -> the port; all of it ends with the test."""
    servers = []

    def listen(serve):
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def loop():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return server.getsockname()[1]

    yield listen
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def answer_after(delay_s):
    def serve(connection):
        connection.recv(1000)
        time.sleep(delay_s)
        connection.sendall(b"+PONG\r\n")

    return serve


def one_after_another(*delays_s):
    """Each connection is answered after the next delay; None closes it at once."""
    left = iter(delays_s)

    def serve(connection):
        delay_s = next(left)
        if delay_s is not None:
            answer_after(delay_s)(connection)

    return serve


def test_answered_takes_the_fastest_of_three(probe, listening):
    result = probe.probe(listening(one_after_another(0.08, 0.02, 0.05)), "redis", 1.0)
    assert (result["outcome"], result["tries"]) == ("answered", 3)
    assert 20 <= result["first_byte_ms"] < 50


def test_a_slow_answer_is_tried_only_as_often_as_the_limit_allows(probe, listening):
    started = time.monotonic()
    result = probe.probe(listening(answer_after(0.3)), "http", 0.8)
    assert time.monotonic() - started < 0.8
    assert (result["outcome"], result["tries"]) == ("answered", 2)
    assert result["first_byte_ms"] >= 300


def test_no_answer(probe, listening):
    started = time.monotonic()
    result = probe.probe(listening(answer_after(0.6)), "redis", 0.2)
    assert time.monotonic() - started < 0.4
    assert (result["outcome"], result["first_byte_ms"], result["tries"]) == ("timed_out", None, 1)
    assert result["connect_ms"] is not None


def test_closed(probe, listening):
    assert probe.probe(listening(lambda connection: None), "postgres", 1.0)["outcome"] == "closed"


def test_refused(probe):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = probe.probe(port, "redis", 1.0)
    assert result == {"outcome": "refused", "connect_ms": None, "first_byte_ms": None, "tries": 1}


def test_a_plain_stream_can_only_be_connected_to(probe, listening):
    result = probe.probe(listening(lambda connection: connection.recv(1)), "tcp", 1.0)
    assert (result["outcome"], result["first_byte_ms"]) == ("connected", None)


def test_a_later_try_that_fails_is_what_counts(probe, listening):
    result = probe.probe(listening(one_after_another(0, None, 0)), "redis", 1.0)
    assert result["outcome"] == "closed"
