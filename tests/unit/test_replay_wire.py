"""What the generator puts on the wire and keeps of what comes back: connections, TLS, framing, times, sizes, digests."""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import json
import resource
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.model.recording import Exchange, Recording
from harness.replay.answer_table import Answers
from harness.replay.generator import ReplayChild, ReplayFailed, ReplayJob
from harness.replay.protocol import RESOURCES
from tests.unit.replay_target import Target
from tests.unit.replays import SECOND_NS, errors, history, job, recording, running_child


@pytest.fixture
def target() -> Iterator[Target]:
    with Target() as standing:
        yield standing


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplayChild]:
    """One for all: an order starts with nothing that an earlier one left."""
    with running_child(tmp_path_factory.mktemp("generator")) as child:
        yield child


def changed(of: Recording, **fields: Sequence[object]) -> Recording:
    """The recording with one value per exchange of each field."""
    exchanges = list(of.exchanges)
    for name, values in fields.items():
        exchanges = [
            replace(exchange, **{name: value}) for exchange, value in zip(exchanges, values, strict=True)
        ]
    return Recording.of(of.name, of.attribution, exchanges)


def test_requests_of_one_connection_share_theirs_and_nobody_elses(child: ReplayChild, target: Target) -> None:
    of = changed(recording(*["/x"] * 9, every_ms=60), connection=["client-1", "client-2", ""] * 3)
    child.replay(job(of, target.url))
    by_owner: dict[str, set[int]] = {}
    for exchange, got in zip(of.exchanges, target.got, strict=True):
        by_owner.setdefault(exchange.connection, set()).add(got.port)
    assert [len(ports) for ports in by_owner.values()] == [1, 1, 1]
    assert len(set.union(*by_owner.values())) == 3


def test_one_connection_carries_one_request_at_a_time(child: ReplayChild, target: Target) -> None:
    of = changed(recording("/wait?s=0.3", "/x", "/x"), connection=["client-1"] * 3)
    assert errors(child.replay(job(of, target.url))) == [""] * 3
    first, second, third = sorted(target.got, key=lambda got: got.path, reverse=False)[:3]
    assert len({got.port for got in target.got}) == 2
    assert (first.path, second.port) == ("/wait?s=0.3", third.port)


def test_http_1_0_closes_its_connection_as_recorded(child: ReplayChild, target: Target) -> None:
    of = changed(recording("/x", "/x", "/x", every_ms=60), http=["1.0", "1.0", "1.1"])
    assert errors(child.replay(job(of, target.url))) == [""] * 3
    assert [(got.version, got.headers.get("connection")) for got in target.got] == [
        ("HTTP/1.0", "close"),
        ("HTTP/1.0", "close"),
        ("HTTP/1.1", None),
    ]
    assert len({got.port for got in target.got}) == 3


def test_the_recorded_host_is_sent_only_when_asked_for(child: ReplayChild, target: Target) -> None:
    of = changed(recording("/x"), host=["shop.example:8443"])
    child.replay(job(of, target.url))
    child.replay(job(of, target.url, host_header="recorded"))
    assert [got.headers["host"] for got in target.got] == [
        target.url.removeprefix("http://"),
        "shop.example:8443",
    ]


def test_headers_go_out_as_recorded_but_for_the_framing(child: ReplayChild, target: Target) -> None:
    headers = (
        ("accept", "text/html"),
        ("accept", "application/json"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("transfer-encoding", "chunked"),
        ("x-request-id", "recorded"),
        ("accept-encoding", "gzip, br"),
    )
    of = changed(recording("/x"), headers=[headers])
    outcome = child.replay(job(of, target.url + "/under/", seed=3))
    [got] = target.got
    assert got.path == "/under/x"
    assert got.headers["cookie"] == "a=1; b=2"
    assert got.headers["accept-encoding"] == "gzip, br"
    assert got.headers["content-length"] == str(len(got.body))
    assert got.headers["x-request-id"] == history(outcome).rows()[0]["request_id"]
    assert not {"transfer-encoding", "connection"} & set(got.headers)


@pytest.mark.parametrize(
    ("http", "content_type", "said"),
    [("2", "text/html", "HTTP/2"), ("3", "text/html", "HTTP/3"), ("1.1", "application/grpc+proto", "gRPC")],
)
def test_newer_protocols_are_refused_unless_http_1_1_will_do(
    child: ReplayChild, target: Target, http: str, content_type: str, said: str
) -> None:
    of = changed(recording("/x"), http=[http], headers=[(("content-type", content_type),)])
    with pytest.raises(
        ReplayFailed, match=f"exchange 1 .*{said}.*import the recording with --http1"
    ) as failed:
        child.replay(job(of, target.url))
    assert errors(failed.value.outcome) == ["not sent"]
    assert target.got == []
    assert errors(child.replay(job(of, target.url, http1=True))) == [""]


def test_times_and_sizes_of_every_exchange(child: ReplayChild, target: Target) -> None:
    of = recording("/chunked", "/wait?s=0.3", "/big?bytes=70000", every_ms=150)
    rows = history(child.replay(job(of, target.url))).rows()
    for row in rows:
        times = ("scheduled_ns", "due_ns", "sent_ns", "connected_ns", "first_byte_ns", "answered_ns")
        assert [row[name] for name in times] == sorted(row[name] for name in times)
        assert row["due_ns"] == row["scheduled_ns"]
    chunked, waited, big = rows
    assert chunked["answered_ns"] - chunked["first_byte_ns"] > 0.03 * SECOND_NS
    assert waited["first_byte_ns"] - waited["connected_ns"] > 0.25 * SECOND_NS
    assert waited["first_byte_ns"] % 1000 or waited["answered_ns"] % 1000  # nothing is rounded
    assert chunked["body"] == "abcdefg"
    assert [row["body_digest"] for row in rows] == [
        hashlib.sha256(body).hexdigest() for body in (b"abcdefg", b"late", b"x" * 70000)
    ]
    assert big["received_bytes"] > 70000
    head_and_body = sum(len(f"{name}: {value}\r\n") for name, value in target.got[1].headers.items())
    head_and_body += len("POST /wait?s=0.3 HTTP/1.1\r\n") + len("\r\n") + len(target.got[1].body)
    assert waited["sent_bytes"] == head_and_body


def test_what_never_happened_has_no_time(child: ReplayChild, target: Target) -> None:
    rows = history(child.replay(job(recording("/hangup", "/half"), target.url))).rows()
    hangup, half = rows
    names = ("connected_ns", "first_byte_ns", "answered_ns", "received_bytes")
    assert [hangup[name] >= 0 for name in names] == [True, False, False, False]
    assert [half[name] >= 0 for name in names] == [True, True, False, True]
    assert hangup["body_digest"] == half["body_digest"] == ""


def test_the_encoding_of_an_answer_is_taken_off(child: ReplayChild, target: Target) -> None:
    rows = history(child.replay(job(recording("/gzip?text=hello", "/until_end"), target.url))).rows()
    assert [(row["status"], row["body"]) for row in rows] == [(200, "hello"), (200, "all of it")]
    assert rows[0]["body_digest"] == hashlib.sha256(b"hello").hexdigest()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_body_that_ends_before_its_encoding_does_is_no_whole_answer(
    child: ReplayChild, target: Target, encoding: str
) -> None:
    paths = [f"/encoded?as={encoding}&short={short}" for short in (0, 4)]
    whole, cut = history(child.replay(job(recording(*paths), target.url))).rows()
    assert (whole["status"], whole["body"]) == (200, "0123456789" * 9)
    assert (cut["status"], cut["error"], cut["answered_ns"]) == (0, "bad answer", -1)


def test_answers_that_have_no_body_end_with_their_head(child: ReplayChild, target: Target) -> None:
    of = changed(recording("/x", "/x", "/none", "/x", every_ms=60), method=["HEAD", "HEAD", "GET", "GET"])
    rows = history(child.replay(job(of, target.url))).rows()
    assert [(row["status"], row["body"]) for row in rows[:3]] == [(200, ""), (200, ""), (204, "")]
    assert rows[3]["body"]
    assert len({got.port for got in target.got}) == 1


def test_of_an_answer_only_the_named_fields_are_kept(
    child: ReplayChild, target: Target, tmp_path: Path
) -> None:
    of = recording("/login?user=ann", "/big?bytes=10")
    kept: list[bytes] = []

    def look(_: Answers) -> None:
        kept.extend(path.read_bytes() for path in child.stderr_path.parent.glob("*.answers"))

    outcome = child.replay(job(of, target.url, fields=("token", "nothing.here[0]")), look)
    login, big = history(outcome).rows()
    assert json.loads(login["body"]) == {"token": "live-token-of-ann"}
    assert login["body_digest"] == hashlib.sha256(b'{"token": "live-token-of-ann"}').hexdigest()
    assert big["body"] == "{}"
    assert kept
    assert not any(b"xxxx" in held for held in kept)


def test_whoever_watches_sees_answers_while_others_are_still_due(child: ReplayChild, target: Target) -> None:
    seen: list[tuple[int, int]] = []
    outcome = child.replay(
        job(recording(*["/x"] * 60, every_ms=20), target.url),
        lambda answers: seen.append((len(answers), answers[0].status)),
    )
    assert sum(count for count, _ in seen) == outcome.answered == 60
    assert len(seen) >= 4
    assert {status for _, status in seen} == {200}


def endless(of: Exchange, taken: list[int]) -> Iterator[Exchange]:
    for seq in range(400):
        taken.append(seq)
        yield replace(of, seq=seq, at_ns=seq * 10_000_000)


def test_a_recording_is_read_as_it_is_sent_and_never_held(child: ReplayChild, target: Target) -> None:
    """400 requests of 100 kB: 40 MB, of which a few may be under way between recording and network."""
    [exchange] = changed(recording("/x"), body=[b"x" * 100_000]).exchanges
    taken: list[int] = []
    ahead: list[int] = []
    of = recording("/x")
    work = job(of, target.url, exchanges=endless(exchange, taken), length_ns=4 * SECOND_NS)
    outcome = child.replay(work, lambda _: ahead.append(len(taken) - len(target.got)))
    assert (outcome.planned, outcome.answered) == (400, 400)
    assert max(ahead[: len(ahead) // 2]) < 120


def broken(of: Recording) -> Iterator[Exchange]:
    yield from of.exchanges
    raise OSError("the disk is gone")


def test_a_recording_that_cannot_be_read_on_fails_the_replay(child: ReplayChild, target: Target) -> None:
    of = recording("/x", "/x")
    with pytest.raises(ReplayFailed, match="the disk is gone") as failed:
        child.replay(job(of, target.url, exchanges=broken(of)))
    assert failed.value.outcome.planned == 2
    assert list(child.stderr_path.parent.glob("*.requests")) == []


def test_a_request_that_finds_no_free_descriptor_is_not_sent_and_counted(
    tmp_path: Path, target: Target
) -> None:
    with running_child(tmp_path) as child:
        resource.prlimit(child.pid, resource.RLIMIT_NOFILE, (60, 60))
        outcome = child.replay(job(recording(*["/wait?s=0.5"] * 100, every_ms=1), target.url))
    unsent = errors(outcome).count("not sent")
    figures = outcome.detail()
    assert 30 <= unsent < 90
    assert errors(outcome).count("") == 100 - unsent
    assert figures["in_flight_limit_hits"] == unsent
    assert (
        outcome.job.start_ns
        < figures["in_flight_limit_first_ns"]
        <= figures["in_flight_limit_last_ns"]
        < outcome.job.start_ns + SECOND_NS
    )


LIMITED = """
import json, sys
from pathlib import Path
from tests.unit.replays import errors, job, recording, running_child
with running_child(Path(sys.argv[1])) as child:
    outcome = child.replay(job(recording(*["/wait?s=0.6"] * 60, *["/x"] * 5, every_ms=20), sys.argv[2]))
print(json.dumps([errors(outcome), outcome.detail()]))
"""


def test_no_more_are_under_way_than_the_open_files_allow(tmp_path: Path, target: Target) -> None:
    """Ten connections under a hard limit of 74 files: what finds them busy is not sent, and never waits for one."""
    script = [sys.executable, "-c", LIMITED, str(tmp_path), target.url]
    found = subprocess.run(
        ["bash", "-c", 'ulimit -n 74; exec "$@"', "bash", *script], capture_output=True, text=True, check=True
    )
    said, figures = json.loads(found.stdout)
    assert (figures["in_flight_limit"], figures["most_in_flight"]) == (10, 10)
    assert 10 <= said.count("not sent") == figures["in_flight_limit_hits"] < 50
    assert said.count("") == 65 - said.count("not sent")
    assert figures["lag_max_ms"] < 500


FEW_PORTS = """
import json, sys
from pathlib import Path
from tests.unit.replay_target import Target
from tests.unit.replays import errors, job, recording, running_child
with Target() as target, running_child(Path(sys.argv[1])) as child:
    outcome = child.replay(job(recording(*["/wait?s=1"] * 40, every_ms=10), target.url))
print(json.dumps([errors(outcome), outcome.sent, outcome.detail()]))
"""
OF_ITS_OWN = ["unshare", "--user", "--map-root-user", "--net"]
SET_UP = 'ip link set lo up && echo 40000 40015 > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"'


@pytest.mark.skipif(
    subprocess.run([*OF_ITS_OWN, "ip", "link", "set", "lo", "up"], capture_output=True).returncode != 0,
    reason="no network namespaces here",
)
def test_a_request_that_finds_no_free_port_is_not_sent_and_counted(tmp_path: Path) -> None:
    """It never left this machine: the target is not to blame, and the replay was not faithful."""
    script = [sys.executable, "-c", FEW_PORTS, str(tmp_path)]
    found = subprocess.run(
        [*OF_ITS_OWN, "bash", "-c", SET_UP, "bash", *script], capture_output=True, text=True, check=True
    )
    said, sent, figures = json.loads(found.stdout)
    unsent = said.count("not sent")
    assert 10 < unsent == figures["in_flight_limit_hits"]
    assert sent == said.count("") == 40 - unsent


def test_every_figure_that_is_promised_is_there(child: ReplayChild, target: Target) -> None:
    outcome = child.replay(job(recording(*["/x"] * 30, every_ms=20), target.url))
    figures = outcome.detail()
    assert set(RESOURCES) <= set(figures)
    assert 0 < figures["cpu_ms"] < figures["wall_ms"]
    assert figures["max_rss_bytes"] > 2**20
    assert figures["connections_opened"] >= 1
    assert figures["sent_bytes"] == sum(row["sent_bytes"] for row in history(outcome).rows())
    assert figures["received_bytes"] == sum(row["received_bytes"] for row in history(outcome).rows())


# -- TLS


def certificate(folder: Path, *names: str) -> Path:
    """A certificate that vouches for itself, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    alternatives: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(each)) for each in names]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{'-'.join(names)}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextmanager
def tls_target(pem: Path) -> Iterator[Target]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with Target(tls=context) as standing:
        yield standing


def tls_job(target: Target, **options: object) -> ReplayJob:
    of = recording("/big?bytes=300000", "/x", "/wait?s=0.1", every_ms=100)
    return job(changed(of, body=[b"y" * 200_000, b"", b""]), target.url, **options)


def test_tls_with_a_certificate_that_the_ca_file_vouches_for(child: ReplayChild, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "127.0.0.1")
    with tls_target(pem) as target:
        outcome = child.replay(tls_job(target, ca_file=str(pem)))
        assert len({got.port for got in target.got}) == 1
        assert target.got[0].body == b"y" * 200_000
    rows = history(outcome).rows()
    assert [row["status"] for row in rows] == [200, 200, 200]
    assert rows[0]["body_digest"] == hashlib.sha256(b"x" * 300_000).hexdigest()
    assert rows[0]["connected_ns"] > rows[0]["sent_ns"]


@pytest.mark.parametrize(
    ("names", "why"), [("127.0.0.1", "self-signed"), ("127.0.0.2", "IP address mismatch")]
)
def test_tls_with_any_other_certificate_is_refused_unless_asked_for(
    child: ReplayChild, tmp_path: Path, names: str, why: str
) -> None:
    pem = certificate(tmp_path, names)
    with tls_target(pem) as target:
        ca_file = str(pem) if names == "127.0.0.2" else ""
        said = errors(child.replay(tls_job(target, ca_file=ca_file)))
        assert target.got == []
        assert all(error.startswith("tls: ") and why in error for error in said), said
        assert errors(child.replay(tls_job(target, insecure=True))) == ["", "", ""]


def test_a_server_without_tls_is_named(child: ReplayChild, target: Target) -> None:
    said = errors(child.replay(job(recording("/x"), target.url.replace("http:", "https:"))))
    assert said[0].startswith(("tls: ", "closed"))


def test_a_name_is_looked_up_and_all_its_addresses_are_tried(child: ReplayChild, target: Target) -> None:
    url = target.url.replace("127.0.0.1", "localhost")
    assert errors(child.replay(job(recording("/x"), url))) == [""]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://no-such-host.invalid/"])
def test_a_target_that_cannot_be_used_fails_the_replay(child: ReplayChild, url: str) -> None:
    with pytest.raises(ReplayFailed) as failed:
        child.replay(job(recording("/x"), url))
    assert errors(failed.value.outcome) == ["not sent"]
