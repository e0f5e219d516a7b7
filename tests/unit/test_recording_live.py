"""Recording live: a real service behind the recording proxy; what was recorded is what went over the wire."""

from __future__ import annotations

import gzip
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.errors import DefinitionError, EngineError
from harness.recording.captured import header_pairs
from harness.recording.capturing import capture
from harness.recording.importing import ImportRequest
from harness.recording.live import LiveProgress, LiveReader, LiveRequest
from harness.recording.mitmdump import NoMitmdumpError, find_mitmdump
from harness.recording.readers.base import Rejects, Source
from harness.recording.store import open_recording
from tests.golden_files import golden
from tests.unit.capture_files import key_in
from tests.unit.live_service import BINARY, PAGE, certificate_in, proxy_of, service

try:
    find_mitmdump()
except NoMitmdumpError:
    pytest.skip("mitmproxy is not installed (scripts/bootstrap python makes it)", allow_module_level=True)


@dataclass
class Live:
    """One recording in a thread of its own; `rows` when it is over."""

    reader: LiveReader
    rejects: Rejects
    progress: list[LiveProgress] = field(default_factory=list)
    rows: list[dict] = field(default_factory=list)
    error: BaseException | None = None

    @property
    def port(self) -> int:
        return int(self.progress[0].address.rpartition(":")[2])


@contextmanager
def recording(target: str, **options: object) -> Iterator[Live]:
    progress: list[LiveProgress] = []
    listening = threading.Event()

    def watch(now: LiveProgress) -> None:
        progress.append(now)
        listening.set()

    live = Live(
        LiveReader(LiveRequest.of("0", target, **options), watch), Rejects(Path("live"), False), progress
    )

    def run() -> None:
        try:
            for batch in live.reader.read(Source(Path("live")), live.rejects):
                live.rows += batch.to_pylist()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            live.error = error
        finally:
            listening.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert listening.wait(30)
    try:
        yield live
    finally:
        live.reader.stop()
        thread.join(40)
        assert not thread.is_alive()


def say(
    port: int, method: str, path: str, body: object = None, headers: dict | None = None, **more
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, headers or {}, **more)
    answer = connection.getresponse()
    answer.said = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


def test_what_was_recorded_is_what_went_over_the_wire() -> None:
    with service() as (port, seen):
        with recording(f"http://127.0.0.1:{port}") as live:
            assert live.progress[0].address.startswith("127.0.0.1:")
            say(
                live.port,
                "POST",
                "/upload?name=x%20y",
                BINARY,
                {"Content-Type": "image/x", "X-Twice": "caf\xe9"},
            )
            say(
                live.port,
                "PUT",
                "/chunked",
                iter([b"a", BINARY]),
                {"Transfer-Encoding": "chunked"},
                encode_chunked=True,
            )
            page = say(live.port, "GET", "/gzip", headers={"Accept-Encoding": "gzip", "Cookie": "a=1; b=2"})
            say(live.port, "GET", "/cookies")
            say(live.port, "HEAD", "/head")
            say(live.port, "GET", "/missing")
        assert live.error is None
    assert gzip.decompress(page.said) == PAGE  # the client got it as the service sent it
    rows = live.rows
    assert [(row["method"], row["path"], row["body"]) for row in rows] == [(m, p, b) for m, p, _, b in seen]
    ours = {"host", "connection", "content-length", "transfer-encoding"}
    for row, (_, _, headers, _) in zip(rows, seen, strict=True):
        assert header_pairs(row["headers"]) == [(n.lower(), v) for n, v in headers if n.lower() not in ours]
    assert [row["status"] for row in rows] == [200, 200, 200, 302, 200, 404]
    assert [row["answer_body"] for row in rows] == [BINARY, b"one" + BINARY + b"three", PAGE, b"", b"", b"no"]
    assert "content-encoding: gzip" in rows[2]["answer_headers"]
    cookies = [value for name, value in header_pairs(rows[3]["answer_headers"]) if name == "set-cookie"]
    assert cookies == ["a=1; Path=/", "b=2"]
    assert {(row["scheme"], row["host"], row["http"]) for row in rows} == {
        ("http", f"127.0.0.1:{port}", "1.1")
    }
    assert {(row["client"], row["connection"]) for row in rows} == {("client-1", "client-1")}
    assert all(0 < row["at_ns"] <= row["first_byte_ns"] <= row["answered_ns"] for row in rows)


def test_redirects_of_the_service_lead_back_to_the_proxy() -> None:
    with service() as (port, seen), recording(f"http://127.0.0.1:{port}") as live:
        mine = f"http://127.0.0.1:{live.port}"
        answer = say(live.port, "GET", "/cookies", headers={"Origin": mine, "Referer": f"{mine}/form"})
        assert answer.getheader("location") == f"{mine}/next"
    (row,) = live.rows
    assert f"location: http://127.0.0.1:{port}/next" in row["answer_headers"]
    headers = dict(seen[0][2])
    assert (headers["Origin"], headers["Referer"]) == (
        f"http://127.0.0.1:{port}",
        f"http://127.0.0.1:{port}/form",
    )


def test_what_is_under_way_is_finished_before_the_recording_ends() -> None:
    with service() as (port, _), recording(f"http://127.0.0.1:{port}") as live:
        answers: list = []
        client = threading.Thread(target=lambda: answers.append(say(live.port, "GET", "/slow")))
        client.start()
        time.sleep(0.4)
        live.reader.stop()
        client.join()
    assert answers[0].said == b"late"
    assert [(row["path"], row["status"], row["answer_body"]) for row in live.rows] == [
        ("/slow", 200, b"late")
    ]


def test_a_service_that_hangs_up_is_recorded_as_no_answer() -> None:
    with service() as (port, _), recording(f"http://127.0.0.1:{port}") as live:
        assert say(live.port, "GET", "/cut").status == 502  # of the proxy, in place of none
    (row,) = live.rows
    assert (row["status"], row["error"], row["answer_body"]) == (0, "closed", None)


def test_it_ends_by_itself_after_its_time() -> None:
    with service() as (port, _), recording(f"http://127.0.0.1:{port}", length_s=1.5) as live:
        say(live.port, "GET", "/one")
        until = time.monotonic() + 30
        while not live.rows and time.monotonic() < until:
            time.sleep(0.05)
    assert [row["path"] for row in live.rows] == ["/one"]
    assert live.progress[-1].exchanges == 1
    assert live.progress[-1].left_s == 0.0


def test_a_proxy_that_dies_makes_no_recording() -> None:
    with service() as (port, _), recording(f"http://127.0.0.1:{port}") as live:
        say(live.port, "GET", "/one")
        until = time.monotonic() + 30
        while not live.progress[-1].exchanges and time.monotonic() < until:
            time.sleep(0.05)  # the client may have its answer before the proxy has told of it
        os.kill(proxy_of(live.port), signal.SIGKILL)
        while live.error is None and time.monotonic() < until:
            time.sleep(0.05)
    assert isinstance(live.error, EngineError)
    golden("messages/live_died.txt", str(live.error) + "\n")
    assert not live.rows


def test_a_service_with_tls(tmp_path: Path) -> None:
    context, certificate = certificate_in(tmp_path)
    with service(context) as (port, _):
        target = f"https://localhost:{port}"
        with recording(target, insecure=True) as live:
            say(live.port, "GET", "/one")
        assert [(row["scheme"], row["host"], row["status"]) for row in live.rows] == [
            ("https", f"localhost:{port}", 200)
        ]
        with recording(target, ca=certificate) as live:
            say(live.port, "GET", "/one")
        assert [row["status"] for row in live.rows] == [200]
        with recording(target) as live:
            pass
        assert f"the certificate of {target} will not do" in str(live.error)


@pytest.mark.parametrize("case", ["refused", "taken", "elsewhere", "no_tls"])
def test_what_cannot_be_recorded_is_said_at_once(case: str) -> None:
    with service() as (port, _), socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        free = closed.getsockname()[1]
        listen, to = {
            "refused": ("0", f"http://127.0.0.1:{free}"),
            "taken": (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"),
            "elsewhere": ("192.0.2.1:8080", f"http://127.0.0.1:{port}"),
            "no_tls": ("0", f"https://127.0.0.1:{port}"),
        }[case]
        with pytest.raises(EngineError) as error:
            list(
                LiveReader(LiveRequest.of(listen, to)).read(
                    Source(Path("live")), Rejects(Path("live"), False)
                )
            )
    said = str(error.value).replace(str(free), "PORT").replace(str(port), "PORT")
    golden(f"messages/live_{case}.txt", said + "\n")


def test_words_of_the_command_line_are_all_checked_at_once(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError) as error:
        LiveRequest.of("localhost:http", "ftp://x/", -1, ca=tmp_path / "none.pem")
    golden("messages/live_words.txt", str(error.value).replace(str(tmp_path), "TMP") + "\n")
    for wrong in ("http://x/path", "http://u:p@x", "x:80", "http://x:port", "http://", "http://x?a"):
        with pytest.raises(DefinitionError):
            LiveRequest.of("8080", wrong)
    assert LiveRequest.of("8080", "HTTP://[::1]:80/").target == "http://[::1]"
    assert LiveRequest.of("[::1]:8080", "https://x:444") == LiveRequest("::1", 8080, "https://x:444")


def test_ctrl_c_ends_the_recording_and_all_of_it_is_there(tmp_path: Path) -> None:
    """In a process of its own, in the foreground group of nobody: the signal reaches the harness alone."""
    script = tmp_path / "record.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from harness.recording.live import LiveReader, LiveRequest\n"
        "from harness.recording.readers.base import Rejects, Source\n"
        "watch = lambda now: print('at', now.address, flush=True)\n"
        "reader = LiveReader(LiveRequest.of('0', sys.argv[1]), watch)\n"
        "batches = list(reader.read(Source(Path('live')), Rejects(Path('live'), False)))\n"
        "print('rows', sum(batch.num_rows for batch in batches), flush=True)\n"
    )
    with service() as (port, _):
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, str(script), f"http://127.0.0.1:{port}"],
            stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        proxy = int(process.stdout.readline().rpartition(":")[2])
        assert os.getsid(proxy_of(proxy)) != os.getsid(process.pid)
        for _ in range(20):
            say(proxy, "GET", "/one")
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=40)
    assert process.returncode == 0
    assert said.splitlines()[-1] == "rows 20"
    with pytest.raises(ConnectionRefusedError):
        say(proxy, "GET", "/gone")


def test_the_proxy_ends_with_the_harness(tmp_path: Path) -> None:
    script = tmp_path / "record.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from harness.recording.live import LiveReader, LiveRequest\n"
        "from harness.recording.readers.base import Rejects, Source\n"
        "reader = LiveReader(LiveRequest.of('0', sys.argv[1]), lambda now: print('at', now.address, flush=True))\n"
        "list(reader.read(Source(Path('live')), Rejects(Path('live'), False)))\n"
    )
    with service() as (port, _):
        root = Path(__file__).parents[2]
        process = subprocess.Popen(
            [sys.executable, str(script), f"http://127.0.0.1:{port}"],
            stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
        )  # fmt: skip
        assert process.stdout is not None
        proxy = int(process.stdout.readline().rpartition(":")[2])
        pid = proxy_of(proxy)
        process.kill()
        process.communicate(timeout=20)
        _until(lambda: not Path(f"/proc/{pid}").exists())


def kept_in(tmp_path: Path, **options: object) -> ImportRequest:
    return ImportRequest(files=(), out=tmp_path / "shop.recording", key=key_in(tmp_path), **options)


def test_a_stored_recording_holds_what_was_said_and_no_secret_of_it(tmp_path: Path) -> None:
    secret = "s3cr3t-5f1d7c2b9a"
    with service() as (port, _):

        def clients(now: LiveProgress) -> None:
            if now.exchanges == 0:
                to = int(now.address.rpartition(":")[2])
                for number in range(3):
                    headers = {"Authorization": f"Bearer {secret}", "Cookie": f"sid={secret}"}
                    say(to, "POST", f"/orders/{number}?token={secret}", b'{"password": "%s"}' % secret.encode(),
                        {**headers, "Content-Type": "application/json"})  # fmt: skip

        request = LiveRequest.of("0", f"http://127.0.0.1:{port}", length_s=1.0)
        made = capture(request, kept_in(tmp_path, attribution="ours"), _once(clients))
    stored = open_recording(made.folder)
    exchanges = list(stored.slice(0, stored.count))
    assert [exchange.path.partition("?")[0] for exchange in exchanges] == [
        "/orders/0",
        "/orders/1",
        "/orders/2",
    ]
    assert {exchange.answer.status for exchange in exchanges} == {200}
    assert {exchange.answer.body for exchange in exchanges} == {BINARY}
    (source,) = stored.header.sources
    assert (source.reader, source.exchanges, source.file) == ("live", 3, f"http://127.0.0.1:{port}")
    for file in made.folder.rglob("*"):
        assert secret.encode() not in file.read_bytes()
    assert not any(secret in f"{e.path}{e.headers}{e.body!r}" for e in exchanges)
    assert (
        len({dict(e.headers)["authorization"] for e in exchanges}) == 1
    )  # the same secret, the same pseudonym


def test_what_later_traffic_shows_to_be_secret_is_known_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.recording.readers.rows.MOST_ROWS", 1)  # a batch an exchange
    secret = "s3cr3t-5f1d7c2b9a"
    with service() as (port, _):

        def clients(now: LiveProgress) -> None:
            to = int(now.address.rpartition(":")[2])
            say(to, "GET", f"/links/{secret}")
            time.sleep(0.5)
            say(to, "GET", "/me", headers={"Authorization": f"Bearer {secret}"})

        request = LiveRequest.of("0", f"http://127.0.0.1:{port}", length_s=2.0)
        made = capture(request, kept_in(tmp_path), _once(clients))
    assert made.count == 2
    assert not any(secret in exchange.path for exchange in made.slice(0, 2))


def _once(act: Callable[[LiveProgress], None]) -> Callable[[LiveProgress], None]:
    """Runs `act` in a thread of its own, the first time that it is told of progress."""
    begun: list[threading.Thread] = []

    def watch(now: LiveProgress) -> None:
        if not begun:
            begun.append(threading.Thread(target=act, args=(now,)))
            begun[0].start()

    return watch


@pytest.mark.parametrize("case", ["nothing", "dies"])
def test_no_recording_is_left_behind_on_failure(tmp_path: Path, case: str) -> None:
    def clients(now: LiveProgress) -> None:
        if case == "dies":
            to = int(now.address.rpartition(":")[2])
            say(to, "GET", "/one")
            os.kill(proxy_of(to), signal.SIGKILL)

    with service() as (port, _):
        request = LiveRequest.of("0", f"http://127.0.0.1:{port}", length_s=1.0 if case == "nothing" else 60.0)
        with pytest.raises(DefinitionError if case == "nothing" else EngineError) as error:
            capture(request, kept_in(tmp_path), _once(clients))
    said = str(error.value).replace(str(port), "PORT")
    golden(f"messages/live_kept_{case}.txt", said + "\n")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def _until(true: Callable[[], bool], limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
