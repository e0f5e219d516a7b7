"""`verify`: a good report passes, and whatever is done to one is found and the file named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import DefinitionError
from harness.model.findings import VerdictWord
from harness.report import Trust, Verification, canonical, verify
from harness.report.layout import (
    DSSE,
    EVENTS,
    EXCHANGES,
    FINDINGS,
    MANIFEST,
    PAGE,
    PUBLIC_KEY,
    SIGSTORE,
    VERDICT,
)
from harness.report.signing import render_signature_files
from tests.unit import test_report_sample as samples
from tests.unit.test_report_fixtures import (
    files_of,
    judged_by_sample,
    private_key,
    put,
    sign_again,
    signer,
    write_key,
    write_report,
)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
    judged_by_sample(monkeypatch)


@pytest.fixture(scope="module")
def good() -> dict[str, bytes]:
    """Every file of a signed report about a candidate that is not ready."""
    return files_of(samples.sample(failing=True), signer())


@pytest.fixture
def report(tmp_path: Path, good: dict[str, bytes]) -> Path:
    return put(tmp_path / "report", good)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return write_key(tmp_path / "public.pem", public=True)


def named(found: Verification) -> set[str]:
    return {problem.file for problem in found.problems}


def said(found: Verification) -> str:
    return "\n".join(str(problem) for problem in found.problems)


def test_a_good_report_is_verified_and_its_verdict_recomputed(
    report: Path, key: Path, good: dict[str, bytes]
) -> None:
    found = verify(report, key)
    assert found.problems == ()
    assert found.ok
    assert found.verdict is not None
    assert found.verdict.verdict is VerdictWord.NOT_READY
    assert found.trust is Trust.GIVEN
    assert not found.self_signed
    assert (found.files, found.findings) == (len(good), len(samples.sample(failing=True).findings))
    assert (found.change, found.scenario) == ("rate-model-v2", "lending-demo")


def test_a_report_written_to_disk_is_verified(tmp_path: Path, key: Path) -> None:
    for index, sample in enumerate(
        (samples.sample(), samples.sample(empty=True), samples.sample(together=True))
    ):
        found = verify(write_report(tmp_path / f"r{index}", sample, signer()), key)
        assert found.problems == ()
        assert found.verdict == sample.verdict


def test_one_byte_changed_in_any_file_is_found_and_the_file_named(
    report: Path, key: Path, good: dict[str, bytes]
) -> None:
    for file, data in good.items():
        for place in {0, len(data) // 3, len(data) // 2, len(data) - 1}:
            changed = bytearray(data)
            changed[place] ^= 1
            (report / file).write_bytes(changed)
            found = verify(report, key)
            assert not found.ok, f"{file} at {place}"
            assert file in named(found), f"{file} at {place}: {said(found)}"
            assert found.verdict is None
        (report / file).write_bytes(data)
    assert verify(report, key).ok


@pytest.mark.parametrize("file", [DSSE, SIGSTORE, PUBLIC_KEY])
def test_every_single_byte_of_the_signature_files_counts(
    report: Path, key: Path, good: dict[str, bytes], file: str
) -> None:
    data = good[file]
    for place in range(0, len(data), 1 if len(data) < 500 else 37):
        changed = bytearray(data)
        changed[place] = (changed[place] + 1) % 256
        (report / file).write_bytes(changed)
        found = verify(report, key)
        assert not found.ok
        assert file in named(found), f"{file} at {place}: {said(found)}"


def test_without_any_key_at_hand_a_changed_key_file_is_told_from_a_changed_envelope(
    report: Path, good: dict[str, bytes]
) -> None:
    (report / PUBLIC_KEY).write_bytes(render_signature_files(b"", b"", signer("other").public)[PUBLIC_KEY])
    assert PUBLIC_KEY in named(verify(report, trust_key_inside=True))
    (report / PUBLIC_KEY).write_bytes(good[PUBLIC_KEY])
    (report / DSSE).write_bytes(good[DSSE].replace(b'"payload": "e', b'"payload": "f'))
    assert DSSE in named(verify(report, trust_key_inside=True))
    assert PUBLIC_KEY not in named(verify(report, trust_key_inside=True))


class TestTrust:
    def test_another_key_than_the_given_one_is_refused(self, report: Path, tmp_path: Path) -> None:
        found = verify(report, write_key(tmp_path / "other.pem", "other", public=True))
        assert not found.ok
        assert found.verdict is None
        assert "not by the given key" in said(found)
        assert named(found) == {PUBLIC_KEY}

    def test_trusting_the_key_inside_does_not_soften_a_given_key(self, report: Path, tmp_path: Path) -> None:
        other = write_key(tmp_path / "other.pem", "other", public=True)
        assert not verify(report, other, trust_key_inside=True).ok

    def test_without_a_key_a_strangers_report_is_not_accepted(self, report: Path) -> None:
        found = verify(report)
        assert not found.ok
        assert "Give the signer's key with --key" in said(found)

    def test_without_a_key_the_users_own_report_is(self, report: Path, tmp_path: Path) -> None:
        (tmp_path / "state" / "keys").mkdir(parents=True)
        write_key(tmp_path / "state" / "keys" / "readiness-ed25519.pem")
        found = verify(report)
        assert found.ok, said(found)
        assert found.trust is Trust.OWN

    def test_the_key_inside_is_believed_only_when_asked(self, report: Path) -> None:
        found = verify(report, trust_key_inside=True)
        assert found.ok, said(found)
        assert found.trust is Trust.INSIDE

    def test_a_key_that_cannot_be_used_is_the_users_mistake(self, report: Path, tmp_path: Path) -> None:
        with pytest.raises(DefinitionError, match="private key"):
            verify(report, write_key(tmp_path / "private.pem"))
        with pytest.raises(DefinitionError, match="cannot be read"):
            verify(report, tmp_path / "nowhere.pem")


class TestFolder:
    def test_a_missing_file_is_named(self, report: Path, key: Path, good: dict[str, bytes]) -> None:
        for file in good:
            (report / file).rename(report / "../aside")
            found = verify(report, key)
            assert not found.ok
            assert file in named(found), f"{file}: {said(found)}"
            (report / "../aside").rename(report / file)

    def test_an_added_file_or_folder_is_named(self, report: Path, key: Path) -> None:
        (report / "history" / "more.parquet").write_bytes(b"x")
        (report / "empty").mkdir()
        found = verify(report, key)
        assert named(found) == {"history/more.parquet", "empty"}

    def test_links_and_devices_are_refused_and_not_followed(
        self, report: Path, key: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        shutil.copytree(report / "history", outside)
        shutil.rmtree(report / "history")
        (report / "history").symlink_to(outside)
        (report / "junit.xml").rename(tmp_path / "junit.xml")
        (report / "junit.xml").symlink_to(tmp_path / "junit.xml")
        (report / "verdict.json").unlink()
        os.mkfifo(report / "verdict.json")
        found = verify(report, key)
        assert not found.ok
        assert {"history", "junit.xml", "verdict.json"} <= named(found)

    def test_a_pipe_in_place_of_a_signature_file_does_not_hang(self, report: Path, key: Path) -> None:
        for file in (DSSE, MANIFEST):
            (report / file).unlink()
            os.mkfifo(report / file)
        assert {DSSE, MANIFEST} <= named(verify(report, key))

    def test_no_folder_at_all_is_the_users_mistake(self, tmp_path: Path, key: Path) -> None:
        with pytest.raises(DefinitionError, match="no such folder"):
            verify(tmp_path / "nothing", key)

    def test_an_empty_folder_lacks_everything(self, tmp_path: Path, key: Path) -> None:
        (tmp_path / "nothing").mkdir()
        assert {DSSE, MANIFEST, PUBLIC_KEY} <= named(verify(tmp_path / "nothing", key))

    def test_a_huge_file_is_refused_unread(self, report: Path, key: Path) -> None:
        with (report / MANIFEST).open("r+b") as file:
            file.truncate(10 << 40)  # sparse
        with (report / EXCHANGES).open("r+b") as file:
            file.truncate(10 << 40)
        found = verify(report, key)
        assert MANIFEST in named(found)
        assert "more than" in said(found)


class TestSignedAgain:
    """Whoever holds the key can sign anything; the verdict still has to follow from the history."""

    def check(self, report: Path, key: Path, content: dict[str, bytes]) -> Verification:
        shutil.rmtree(report)
        return verify(put(report, content), key)

    def test_the_helper_itself_makes_a_good_report(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        found = self.check(report, key, sign_again(good, signer()))
        assert found.ok, said(found)

    def test_a_better_finding_and_verdict_are_found_out(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        findings = json.loads(good[FINDINGS])
        worst = next(f for f in findings if f["outcome"] == "fail")
        worst["outcome"], worst["value"] = "pass", 0.999
        forged = good | {FINDINGS: canonical.dump(findings)}
        forged[VERDICT] = canonical.dump(
            json.loads(good[VERDICT]) | {"verdict": "READY", "sentence": "All is well."}
        )
        found = self.check(report, key, sign_again(forged, signer()))
        assert not found.ok
        assert named(found) == {FINDINGS, VERDICT}
        assert worst["id"] in said(found)
        assert "outcome pass (computed fail)" in said(found)
        assert "value 0.999 (computed 0." in said(found)
        assert "READY, 'All is well.'; computed again it is NOT_READY" in said(found)

    def test_a_finding_left_out_or_invented_is_named(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        findings = json.loads(good[FINDINGS])
        invented = findings[0] | {"id": "invented/finding"}
        forged = good | {FINDINGS: canonical.dump([*findings[1:], invented])}
        found = self.check(report, key, sign_again(forged, signer()))
        assert f"lacks {findings[0]['id']}" in said(found)
        assert "holds invented/finding" in said(found)

    def test_a_forged_page_is_found_although_signed(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        forged = good | {PAGE: good[PAGE].replace(b"NOT READY", b"READY")}
        found = self.check(report, key, sign_again(forged, signer()))
        assert named(found) == {PAGE}

    def test_a_forged_junit_file_is_found_although_signed(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        forged = good | {"junit.xml": good["junit.xml"].replace(b'failures="1"', b'failures="0"')}
        assert named(self.check(report, key, sign_again(forged, signer()))) == {"junit.xml"}

    def test_a_policy_that_differs_from_the_case_is_found(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        policy = json.loads(good["policy.json"]) | {"minimum_samples": 10}
        found = self.check(report, key, sign_again(good | {"policy.json": canonical.dump(policy)}, signer()))
        assert named(found) == {"policy.json"}

    def test_a_statement_that_claims_more_is_found(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        from harness.report.signing import SignedEnvelope, signature_files

        payload = SignedEnvelope.read(good[DSSE]).payload.replace(b'"FAILED"', b'"PASSED"')
        found = self.check(report, key, good | signature_files(payload, signer()))
        assert named(found) == {DSSE}

    def test_a_report_of_another_engine_is_not_recomputed_and_says_so(self, report: Path, key: Path) -> None:
        shutil.rmtree(report)
        found = verify(put(report, files_of(samples.sample(), signer(), "9.9.9")), key)
        assert not found.ok
        assert named(found) == {MANIFEST}
        assert "pytest-readiness==9.9.9" in said(found)

    @pytest.mark.parametrize(
        ("old", "new", "what"),
        [
            (b'"case.json"', b'"../case.json"', "no path inside the report"),
            (b'"verdict.json"', b'"verdict/../../x"', "no path inside the report"),
            (b'"case.json"', b'"/etc/passwd"', "no path inside the report"),
            (b'"verdict.json"', b'"w\\\\b"', "characters"),
            (b'"junit.xml"', b'"case.json"', "twice"),
            (b'"seed": 20260301', b'"seed": NaN', "NaN is no JSON number"),
            (b'"seed": 20260301', b'"seed": "x"', "run.seed"),
            (b'"format": 1', b'"format": 2', "format"),
            (b'{\n  "files"', b'{\n\n  "files"', "canonical"),
            (b'{\n  "files"', b"[" * 100_000, "nested deeper"),
            (b'{\n  "files"', b"\xff", "not JSON"),
        ],
    )
    def test_a_broken_manifest_is_a_message(
        self, report: Path, key: Path, good: dict[str, bytes], old: bytes, new: bytes, what: str
    ) -> None:
        assert old in good[MANIFEST]
        content = sign_again(good, signer(), lambda data: data.replace(old, new, 1))
        found = self.check(report, key, content)
        assert not found.ok
        assert MANIFEST in named(found)
        assert what in said(found)

    def test_a_broken_history_is_a_message(self, report: Path, key: Path, good: dict[str, bytes]) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"other": [1]}), sink)
        broken = {
            EXCHANGES: [
                b"",
                b"PAR1",
                good[EXCHANGES][: len(good[EXCHANGES]) // 2],
                sink.getvalue().to_pybytes(),
            ],
            EVENTS: [
                b"{}\n",
                b"nonsense\n",
                b'{"at_ns": 1, "kind": "dance"}\n',
                good[EVENTS] + b"\n",
                good[EVENTS].replace(b'"arm":', b'"arm": ', 1),
            ],
        }
        for file, versions in broken.items():
            for data in versions:
                found = self.check(report, key, sign_again(good | {file: data}, signer()))
                assert not found.ok
                assert file in named(found), f"{data[:40]!r}: {said(found)}"

    def test_a_table_that_promises_too_much_is_refused(
        self, report: Path, key: Path, good: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("harness.report.history_files.ROWS_LIMIT", 100)
        found = self.check(report, key, sign_again(good, signer()))
        assert "refused" in said(found)

    def test_a_check_that_raises_is_a_message(
        self, report: Path, key: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import harness.checks

        def broken(*_: object) -> None:
            raise ZeroDivisionError("no rows")

        monkeypatch.setattr(harness.checks, "judge", broken)
        found = verify(report, key)
        assert not found.ok
        assert "ZeroDivisionError: no rows" in said(found)

    @pytest.mark.parametrize(
        "envelope",
        [
            b"",
            b"[]",
            b"null",
            b'{"payload": 1, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "", "keyid": ""}]}',
            b'{"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []}',
            b'{"payload": "e30=", "payloadType": "text/plain", "signatures": [{"sig": "AA=="}]}',
            b'{"payload": "e30=", "payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []}',
        ],
    )
    def test_a_broken_envelope_is_a_message(self, report: Path, key: Path, envelope: bytes) -> None:
        (report / DSSE).write_bytes(envelope)
        assert DSSE in named(verify(report, key))

    def test_a_signed_statement_about_something_else_is_a_message(
        self, report: Path, key: Path, good: dict[str, bytes]
    ) -> None:
        from harness.report.signing import signature_files

        for payload in (
            b"[]",
            b"{}",
            b"nonsense",
            canonical.dump({"_type": "https://in-toto.io/Statement/v1", "subject": []}),
        ):
            found = self.check(report, key, good | signature_files(payload, signer()))
            assert DSSE in named(found)


def test_verify_needs_no_engine_no_load_generator_and_no_network(tmp_path: Path, key: Path) -> None:
    """In a process of its own in which these modules cannot be imported and no socket can be made."""
    report = write_report(tmp_path / "report", samples.sample(), signer())
    script = tmp_path / "offline.py"
    script.write_text(
        "import sys, socket\n"
        "from pathlib import Path\n"
        "GONE = {'docker', 'locust', 'gevent', 'testcontainers', 'toxiproxy', 'sdv', 'pandas', 'requests'}\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in GONE:\n"
        "            raise ImportError(f'{name} is not installed')\n"
        "sys.meta_path.insert(0, Gone())\n"
        "def no_network(*a, **k):\n"
        "    raise OSError('no network')\n"
        "socket.socket.connect = no_network\n"
        "import harness.checks\n"
        "from tests.unit import test_report_sample as samples\n"
        "harness.checks.judge, harness.checks.decide = samples.judge, samples.decide\n"
        "from harness.report import verify, read_bundle, print_report\n"
        "from rich.console import Console\n"
        "found = verify(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print_report(read_bundle(Path(sys.argv[1])), Console())\n"
        "assert not GONE & {name.partition('.')[0] for name in sys.modules}\n"
        "print('VERIFIED' if found.ok else found.problems)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(report), str(key)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 0, done.stderr
    assert "VERIFIED" in done.stdout


def test_the_fixture_key_is_an_ed25519_key() -> None:
    assert (
        private_key().public_key().public_bytes_raw() != private_key("other").public_key().public_bytes_raw()
    )
