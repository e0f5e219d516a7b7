"""The signature: made with keys users have, accepted by tools nobody here wrote, rejected when anything is altered."""

from __future__ import annotations

import base64
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from harness.errors import DefinitionError, EngineError
from harness.model.findings import Outcome, VerdictWord
from harness.report import load_or_make_key
from harness.report.keys import load_public_key, own_public_key
from harness.report.layout import DSSE, MANIFEST, PUBLIC_KEY, SIGSTORE, FileDigest
from harness.report.signing import EXTENSION, PAYLOAD_TYPE, SignedEnvelope, pae
from tests.golden_files import golden
from tests.unit import test_report_sample as samples
from tests.unit.test_report_fixtures import files_of, private_key, put, signer, write_key

PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    return files_of(samples.sample(failing=True), signer())


@pytest.fixture
def report(tmp_path: Path, content: dict[str, bytes]) -> Path:
    return put(tmp_path / "report", content)


def payload_of(content: dict[str, bytes]) -> dict[str, object]:
    payload: dict[str, object] = json.loads(SignedEnvelope.read(content[DSSE]).payload)
    return payload


class TestEnvelope:
    def test_pae_is_the_one_of_the_specification(self) -> None:
        expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        assert pae("http://example.com/HelloWorld", b"hello world") == expected

    def test_lengths_are_counted_in_bytes(self) -> None:
        assert pae("ä", "ö€".encode()) == "DSSEv1 2 ä 5 ö€".encode()

    def test_base64_is_padded_and_standard(self, content: dict[str, bytes]) -> None:
        envelope = json.loads(content[DSSE])
        for text in (envelope["payload"], envelope["signatures"][0]["sig"]):
            assert base64.b64encode(base64.b64decode(text, validate=True)).decode() == text

    def test_the_same_report_is_signed_the_same_way_twice(self, content: dict[str, bytes]) -> None:
        assert files_of(samples.sample(failing=True), signer()) == content


class TestSecuresystemslib:
    def envelope(self, content: dict[str, bytes]) -> dict[str, object]:
        found: dict[str, object] = json.loads(content[DSSE])
        return found

    def key(self, content: dict[str, bytes]) -> SSlibKey:
        keyid = json.loads(content[DSSE])["signatures"][0]["keyid"]
        return SSlibKey.from_crypto(load_pem_public_key(content[PUBLIC_KEY]), keyid=keyid)

    def test_accepts_the_signature(self, content: dict[str, bytes]) -> None:
        Envelope.from_dict(self.envelope(content)).verify([self.key(content)], threshold=1)

    def test_rejects_an_altered_payload(self, content: dict[str, bytes]) -> None:
        envelope = self.envelope(content)
        payload = base64.b64decode(str(envelope["payload"])).replace(b"FAILED", b"PASSED")
        envelope["payload"] = base64.b64encode(payload).decode()
        with pytest.raises(VerificationError):
            Envelope.from_dict(envelope).verify([self.key(content)], threshold=1)

    def test_rejects_another_key(self, content: dict[str, bytes]) -> None:
        other = SSlibKey.from_crypto(private_key("other").public_key(), keyid=self.key(content).keyid)
        with pytest.raises(VerificationError):
            Envelope.from_dict(self.envelope(content)).verify([other], threshold=1)


def commands(name: str) -> list[str]:
    """The commands for strangers, as the report's own page prints them."""
    import html

    page = files_of(samples.sample(), signer())["report.html"].decode()
    blocks = [html.unescape(part.partition("</code>")[0]) for part in page.split("<pre><code>")[1:]]
    return [block for block in blocks if name in block]


class TestCommandsOnThePage:
    """What the page tells a stranger to type works as it stands there, and notices an alteration."""

    def run_shell(self, report: Path) -> subprocess.CompletedProcess[str]:
        (script,) = commands("openssl")
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=report, capture_output=True, text=True, timeout=60
        )

    def run_python(self, report: Path) -> subprocess.CompletedProcess[str]:
        (script,) = commands("import hashlib")
        return subprocess.run(
            [sys.executable, "-c", script], cwd=report, capture_output=True, text=True, timeout=60
        )

    def test_openssl_accepts_the_report(self, report: Path) -> None:
        done = self.run_shell(report)
        assert done.returncode == 0, done.stderr + done.stdout
        assert "Signature Verified Successfully" in done.stdout
        assert "manifest.json: OK" in done.stdout

    def test_openssl_rejects_an_altered_statement(self, report: Path) -> None:
        envelope = json.loads((report / DSSE).read_bytes())
        payload = base64.b64decode(envelope["payload"]).replace(b"NOT_READY", b"READY    ")
        envelope["payload"] = base64.b64encode(payload).decode()
        (report / DSSE).write_text(json.dumps(envelope))
        done = self.run_shell(report)
        assert done.returncode != 0
        assert "Verification Failure" in done.stdout + done.stderr

    def test_an_altered_history_is_noticed_with_standard_tools(self, report: Path) -> None:
        with (report / "history" / "events.jsonl").open("ab") as file:
            file.write(b"{}\n")
        assert "history/events.jsonl: FAILED" in self.run_shell(report).stdout
        assert "history/events.jsonl" in self.run_python(report).stderr

    def test_securesystemslib_accepts_the_report_and_rejects_an_altered_manifest(self, report: Path) -> None:
        done = self.run_python(report)
        assert done.returncode == 0, done.stderr
        (report / MANIFEST).write_bytes((report / MANIFEST).read_bytes().replace(b"20260301", b"20260302"))
        assert self.run_python(report).returncode != 0

    def test_the_key_id_is_what_openssl_makes_of_the_key(self, report: Path) -> None:
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-in", "public-key.pem", "-outform", "DER"],
            cwd=report,
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        keyid = json.loads((report / DSSE).read_bytes())["signatures"][0]["keyid"]
        assert FileDigest.of(der).sha256 == keyid


class TestStatement:
    def test_it_is_an_in_toto_test_result_about_the_manifest(self, content: dict[str, bytes]) -> None:
        text = SignedEnvelope.read(content[DSSE]).payload.decode()
        golden("report/statement.json", re.sub("[0-9a-f]{64}", "SHA-256", text))
        statement = payload_of(content)
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
        subject = statement["subject"]
        assert isinstance(subject, list)
        assert subject[0] == {"name": MANIFEST, "digest": {"sha256": FileDigest.of(content[MANIFEST]).sha256}}

    def test_images_of_the_change_are_subjects_by_id(self, content: dict[str, bytes]) -> None:
        subject = payload_of(content)["subject"]
        assert isinstance(subject, list)
        images = samples.make_case().images["candidate"]
        assert [item["digest"]["sha256"] for item in subject[1:]] == [
            images[service].partition("sha256:")[2] for service in ("model-server", "pricing-service")
        ]

    @pytest.mark.parametrize(
        ("sample", "result"),
        [
            (samples.sample(), "PASSED"),
            (samples.sample(failing=True), "FAILED"),
            (samples.sample(empty=True), "FAILED"),
        ],
    )
    def test_unknown_is_never_passed(self, sample: samples.Sample, result: str) -> None:
        predicate = payload_of(files_of(sample, signer()))["predicate"]
        assert isinstance(predicate, dict)
        assert predicate["result"] == result
        assert predicate[EXTENSION]["verdict"] == sample.verdict.verdict.value
        bad = {f.id for f in sample.findings if f.outcome is not Outcome.PASS}
        assert set(predicate["failedTests"]) == bad
        assert set(predicate["passedTests"]) == {f.id for f in sample.findings} - bad
        if sample.verdict.verdict is VerdictWord.UNKNOWN:
            assert predicate[EXTENSION]["reasons"]
            assert set(predicate[EXTENSION]["unknownTests"]) == bad


def test_the_sigstore_bundle_holds_the_same_envelope_and_one_signature(content: dict[str, bytes]) -> None:
    bundle = json.loads(content[SIGSTORE])
    envelope = json.loads(content[DSSE])
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert bundle["verificationMaterial"] == {"publicKey": {"hint": envelope["signatures"][0]["keyid"]}}
    assert bundle["dsseEnvelope"] == envelope
    assert envelope["payloadType"] == PAYLOAD_TYPE
    assert len(envelope["signatures"]) == 1


class TestOwnKey:
    @pytest.fixture(autouse=True)
    def _state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))

    def test_is_made_once_for_this_user_alone_and_said(self, tmp_path: Path) -> None:
        first = load_or_make_key(None)
        path = tmp_path / "state" / "keys" / "readiness-ed25519.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert first.self_signed
        assert "self-signed" in first.notice
        assert str(path) in first.notice
        second = load_or_make_key(None)
        assert second.public.keyid == first.public.keyid
        assert "made a key" in first.notice
        assert "made a key" not in second.notice
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]
        own = own_public_key()
        assert own is not None
        assert own.keyid == first.public.keyid

    def test_two_runs_at_once_agree_on_one_key(self) -> None:
        script = "from harness.report import load_or_make_key; print(load_or_make_key(None).public.keyid)"
        runs = [
            subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        assert len({run.communicate(timeout=60)[0] for run in runs}) == 1

    def test_a_place_that_cannot_be_written_is_a_message(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "file"))
        with pytest.raises(EngineError, match="set READINESS_STATE_DIR"):
            load_or_make_key(None)


def test_a_given_key_is_not_self_signed(tmp_path: Path) -> None:
    key = load_or_make_key(write_key(tmp_path / "key.pem"))
    assert not key.self_signed
    assert key.notice == ""


def test_a_key_that_others_can_read_is_used_with_a_warning(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key.pem")
    path.chmod(0o644)
    assert "chmod 600" in load_or_make_key(path).notice


def test_keys_made_with_openssl_and_with_ssh_keygen_work(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "openssl.pem", tmp_path / "ssh"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", ours], check=True, timeout=60)
    theirs.write_bytes(private_key().private_bytes(PEM, serialization.PrivateFormat.OpenSSH, PLAIN))
    theirs.chmod(0o600)
    assert load_or_make_key(ours).public.verifies(load_or_make_key(ours).private.sign(b"x"), b"x")
    assert load_or_make_key(theirs).public.keyid == signer().public.keyid


def bad_private_keys(folder: Path) -> dict[str, Path]:
    """One file of each kind that cannot sign."""
    elliptic = ec.generate_private_key(ec.SECP256R1())
    encrypted = serialization.BestAvailableEncryption(b"secret")
    contents = {
        "rsa": rsa.generate_private_key(65537, 2048).private_bytes(PEM, PKCS8, PLAIN),
        "elliptic": elliptic.private_bytes(PEM, PKCS8, PLAIN),
        "encrypted": private_key().private_bytes(PEM, PKCS8, encrypted),
        "public": private_key()
        .public_key()
        .public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        "empty": b"",
        "nonsense": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "text": b"hello\n",
        "huge": b"x" * 100_000,
    }
    paths = {}
    for name, data in contents.items():
        paths[name] = folder / f"{name}.pem"
        paths[name].write_bytes(data)
    (folder / "folder.pem").mkdir()
    return {**paths, "folder": folder / "folder.pem", "missing": folder / "missing.pem"}


def test_every_key_that_cannot_be_used_gets_one_message(tmp_path: Path) -> None:
    lines = []
    for name, path in bad_private_keys(tmp_path).items():
        with pytest.raises(DefinitionError) as caught:
            load_or_make_key(path)
        lines.append(f"# sign with {name}\n{caught.value}\n")
        if name != "public":
            with pytest.raises(DefinitionError) as caught:
                load_public_key(path)
            lines.append(f"# verify with {name}\n{caught.value}\n")
    golden("report/keys.txt", "\n".join(lines).replace(str(tmp_path), "FOLDER"))


def test_a_key_without_permission_gets_a_message(tmp_path: Path) -> None:
    path = write_key(tmp_path / "key.pem")
    path.chmod(0)
    who = os.geteuid()
    try:
        if who == 0:
            os.seteuid(65534)  # root may read every file
        with pytest.raises(DefinitionError, match="the key cannot be read: Permission denied"):
            load_or_make_key(path)
    finally:
        os.seteuid(who)
