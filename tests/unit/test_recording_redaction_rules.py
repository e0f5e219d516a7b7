"""Rules files and keys that are wrong, and imports that hold secrets: what is said, word for word."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from harness.errors import DefinitionError, EngineError
from harness.recording.redaction import (
    RedactionReport,
    default_rules,
    key_fingerprint,
    load_or_make_key,
    load_rules,
)
from tests.golden_files import golden
from tests.unit.readmes import blocks
from tests.unit.redaction_batches import redacted

README = "harness/recording/redaction/README.md"

BAD = """\
redaction: Shop
default: yes
rules:
  - header: x-customer
    query: customer
  - action: keep
  - cookie: theme
    action: leave
  - json: "$.a[?"
  - text: "(unclosed"
  - text: ".*"
  - path: users/{id}
  - path: /users/all
  - path: /users/{id}
    action: remove
  - header: x-a
    action: fixed
  - header: x-b
    value: z
  - finding: abc
  - finding: 0123456789ab
  - json: $.b
    kind: email
  - headr: x-c
"""


class TestRulesFiles:
    def test_everything_wrong_in_one_is_said_at_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("shop.redaction.yaml").write_text(BAD)
        with pytest.raises(DefinitionError) as caught:
            load_rules(Path("shop.redaction.yaml"))
        golden("redaction/bad-rules.txt", f"{caught.value}\n")

    def test_the_example_of_the_readme_is_one(self, tmp_path: Path) -> None:
        (example,) = [block.text for block in blocks(README, "yaml")]
        path = tmp_path / "shop.redaction.yaml"
        path.write_text(example)
        assert len(load_rules(path).rules) >= 8

    def test_without_one_the_built_in_rules_hold(self) -> None:
        assert default_rules().defaults
        assert default_rules().rules == ()


class TestFindings:
    def report(self) -> RedactionReport:
        return redacted(
            {"headers": "x-foo: 9dX2kQ7vLm4ZpR8sT1wY"},
            {"path": "/reset/8cW2kQ7vLm4ZpR8sT1wY?ref=7bV2kQ7vLm4ZpR8sT1wY"},
            {"answer_body": b'{"a": {"b-c": ["6aU2kQ7vLm4ZpR8sT1wY"]}}'},
            {"body": b"key AKIAIOSFODNN7EXAMPLE"},
        )[1]

    def test_each_is_said_with_exchange_place_detector_and_what_to_write(self) -> None:
        golden("redaction/secrets-found.txt", f"{DefinitionError(self.report().problems('shop.har'))}\n")

    def test_more_than_a_screen_is_summed_up(self) -> None:
        rows = [{"headers": f"x-foo: 9dX2kQ7vLm4ZpR8sT1{number:02d}Y"} for number in range(30)]
        problems = redacted(*rows)[1].problems("shop.har")
        assert len(problems) == 21
        assert problems[-1].what == "10 more values look like secrets"


class TestKeys:
    @pytest.fixture(autouse=True)
    def state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("READINESS_STATE_DIR", str(tmp_path / "state"))
        monkeypatch.chdir(tmp_path)

    def test_one_is_made_once_for_its_user_alone(self, tmp_path: Path) -> None:
        key = load_or_make_key(None)
        assert len(key) == 32
        assert load_or_make_key(None) == key
        (made,) = (tmp_path / "state" / "keys").iterdir()
        assert made.stat().st_mode & 0o777 == 0o600
        assert load_or_make_key(made) == key

    def test_it_is_named_by_a_fingerprint_that_does_not_tell_it(self) -> None:
        key = bytes(range(32))
        assert key_fingerprint(key) == key_fingerprint(bytes(range(32))) != key_fingerprint(bytes(32))
        assert key.hex()[:8] not in key_fingerprint(key)

    @pytest.mark.parametrize("content", [b"", b"hello\n", b"0" * 63 + b"\n", b"x" * 5000])
    def test_a_file_that_holds_none_is_refused(self, content: bytes) -> None:
        path = Path("redaction.key")
        path.touch(mode=0o600)
        path.write_bytes(content)
        with pytest.raises(DefinitionError) as caught:
            load_or_make_key(path)
        golden(f"redaction/key-{len(content)}.txt", f"{caught.value}\n")

    def test_what_cannot_be_read_or_what_others_can_read_is_refused(self) -> None:
        said = []
        Path("folder").mkdir()
        Path("open.key").write_bytes(bytes(32))
        Path("open.key").chmod(0o644)
        for name in ("nowhere.key", "folder", "open.key"):
            with pytest.raises(DefinitionError) as caught:
                load_or_make_key(Path(name))
            said.append(str(caught.value))
        golden("redaction/keys-unusable.txt", "\n".join(said) + "\n")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_none_can_be_made_where_nothing_can_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir(mode=0o500)
        with pytest.raises(EngineError):
            load_or_make_key(None)

    def test_nor_where_a_file_is_in_the_way(self, tmp_path: Path) -> None:
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        (tmp_path / "state").write_text("")
        with pytest.raises(EngineError) as caught:
            load_or_make_key(None)
        assert "READINESS_STATE_DIR" in caught.value.fix
