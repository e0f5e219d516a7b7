"""Ways in which private values once got past redaction: names, spellings, encodings and places that were not looked at."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DefinitionError
from harness.recording.importing import ImportRequest, import_files
from harness.recording.intake import Intake, Tally
from harness.recording.readers.base import Rejects
from harness.recording.redaction import RedactionRules, Redactor
from harness.recording.redaction.known import spellings
from harness.recording.redaction.names import secret_name
from harness.recording.redaction.pseudonyms import Pseudonyms
from harness.recording.store_writer import RecordingWriter
from tests.unit.redaction_batches import KEY, batch, one, redacted

WORD = "hunter2"
MAIL = "anna.b@mail.org"
OF = Pseudonyms(KEY).of
PACKED = b'{"password": "hunter2"}'


def nested(depth: int) -> bytes:
    """A field of that name in so many multipart bodies, one in another."""
    made = b'--b0\r\nContent-Disposition: form-data; name="password"\r\n\r\nhunter2\r\n--b0--\r\n'
    for number in range(1, depth):
        head = b'--b%d\r\nContent-Disposition: form-data; name="x"\r\n\r\n' % number
        made = head + made + b"\r\n--b%d--\r\n" % number
    return made


HELD_BACK: dict[str, dict[str, Any]] = {
    "a URL in a JSON text": {"body": b'{"u": "https://shop.org/cb?token=hunter2"}'},
    "a URL behind a name": {"body": b"sent to url=https://shop.org/cb?token=hunter2 now"},
    "a URL in a query": {"path": "/a?next=https%3A%2F%2Fshop.org%2Fcb%3Ftoken%3Dhunter2"},
    "an event stream": {"answer_body": b"event: login\ndata: token=hunter2\n\n"},
    "link": {"answer_headers": 'link: <https://shop.org/a?token=hunter2>; rel="next"'},
    "refresh": {"answer_headers": "refresh: 0; url=https://shop.org/a?token=hunter2"},
    "a page's own header": {"headers": "hx-current-url: https://shop.org/a?token=hunter2"},
    "cookies in one line": {"answer_headers": "set-cookie: a=1; Path=/, sid=hunter2; Path=/"},
    "cookies in one line, dated": {
        "answer_headers": "set-cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT, sid=hunter2; Path=/"
    },
    "digest's uri": {"headers": 'authorization: Digest username="a", uri="/x?token=hunter2", nc=1'},
    "behind a parameter": {"headers": "authorization: Own id=1 hunter2"},
    "credentials without a scheme": {"answer_headers": "location: //anna:hunter2@shop.org/x"},
    "CDATA": {"body": b"<a><password><![CDATA[hunter2]]></password></a>"},
    "an input without quotes": {"answer_body": b"<input type=hidden name=csrf_token value=hunter2>"},
    "UTF-16": {"body": '{"password": "hunter2"}'.encode("utf-16")},
    "UTF-16, big end first": {"body": b"\xfe\xff" + '{"password": "hunter2"}'.encode("utf-16-be")},
    "UTF-16, cut off": {"body": '{"password": "hunter2", "a": 1'.encode("utf-16")[:-1]},
    "UTF-16, unmarked": {"body": '{"password": "hunter2"}'.encode("utf-16-le")},
    "multipart in multipart": {"body": nested(7)},
    "two codings": {
        "answer_headers": "content-encoding: gzip, deflate",
        "answer_body": zlib.compress(gzip.compress(PACKED, mtime=0)),
    },
    "a reset's token": {"body": b'{"password_reset_token": "hunter2"}'},
    "small letters alone": {"body": b"user=a&newpassword=hunter2&accesstoken=hunter2"},
    "pass": {"body": b"name=a&pass=hunter2"},
    "numbered": {"path": "/a?token[0]=hunter2&token2=hunter2"},
}

MAILS: dict[str, dict[str, Any]] = {
    "percent-encoded": {"body": b'{"u": "https://shop.org/cb?mail=anna.b%40mail.org"}'},
    "percent-encoded twice": {"path": "/u/anna.b%2540mail.org"},
    "in a URL in a query": {"path": "/a?next=https%3A%2F%2Fshop.org%2F%3Fmail%3Danna.b%2540mail.org"},
    "HTML": {"answer_body": b'<a href="mailto:anna.b&#64;mail.org">Anna</a>'},
    "HTML, hexadecimal": {"answer_body": b'<a href="mailto:anna.b&#x40;mail.org">Anna</a>'},
    "broken JSON": {"answer_body": b'{"mail": "anna.b\\u0040mail.org", "x'},
    "JSON that is no script": {"answer_body": b')]}\'\n{"mail": "anna.b\\u0040mail.org"}'},
    "JSON behind a mark": {"answer_body": b'\xef\xbb\xbf{"mail": "anna.b\\u0040mail.org"}'},
    "fragment": {"answer_headers": f"location: https://shop.org/x#/users/{MAIL}"},
    "a cookie's path": {"answer_headers": f"set-cookie: a=1; Path=/u/{MAIL}"},
    "a cookie's name": {"headers": f"cookie: u_{MAIL}=1"},
}


def seen(row: dict[str, Any]) -> str:
    """All that stands in it, a compressed body opened."""
    texts = []
    for value in row.values():
        if isinstance(value, bytes):
            plain = gzip.decompress(zlib.decompress(value)) if value[:1] == b"\x78" else value
            texts.append(plain.replace(b"\0", b"").decode("latin-1"))
        else:
            texts.append(str(value))
    return "\n".join(texts)


@pytest.mark.parametrize("place", HELD_BACK)
def test_a_secret_does_not_get_past(place: str) -> None:
    row = HELD_BACK[place]
    assert WORD in seen(row)
    assert WORD not in seen(one(**row))


@pytest.mark.parametrize("place", MAILS)
def test_an_address_does_not_get_past_whatever_its_spelling(place: str) -> None:
    found = seen(one(**MAILS[place]))
    assert "anna.b" not in found
    if place != "a cookie's name":  # there it is a part of a longer one
        local, _, domain = OF(MAIL).partition("@")
        assert local in found
        assert domain in found


def test_a_text_that_only_begins_like_utf_16_is_searched_as_what_it_is() -> None:
    assert WORD not in seen(one(body=b'\xff\xfe{"password": "hunter2"}'))


def test_a_plus_sign_that_was_not_encoded_is_a_phone_numbers() -> None:
    phone = "+491701234567"
    assert one(path=f"/a?phone={phone}")["path"] == f"/a?phone={OF(phone)}"
    assert one(body=f"phone={phone}&a=1".encode())["body"] == f"phone={OF(phone)}&a=1".encode()


@pytest.mark.parametrize("header", ["fly-client-ip", "x-vercel-forwarded-for", "cloudfront-viewer-address"])
def test_addresses_in_headers_of_networks_are_replaced(header: str) -> None:
    assert "93.184.216.34" not in one(headers=f"{header}: 93.184.216.34:4711")["headers"]


@pytest.mark.parametrize(
    "name",
    [
        "password_reset_token",
        "passwordResetCode",
        "newpassword",
        "authtoken",
        "clientsecret",
        "user_pass",
        "cvv2",
        "token[0]",
        "auth_token_v2",
        "verification_code",
        "secrets",
        "passwort",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert secret_name(name)


@pytest.mark.parametrize(
    "name", ["password_reset", "password_min_length", "max_tokens", "auth0", "bypass", "v2"]
)
def test_names_of_no_secrets(name: str) -> None:
    assert not secret_name(name)


@pytest.mark.parametrize(
    "spelled",
    ["ab\\u002Bc/d=1xyz99", "ab+c/d\\u003d1xyz99", "ab%252Bc%252Fd%253D1xyz99", "ab%2bc%2fd%3d1xyz99"],
)
def test_a_known_secret_is_found_as_writers_spell_it(spelled: str) -> None:
    written = dict(spellings("ab+c/d=1xyz99", "XX+X/X=9xxx99"))
    assert spelled.encode() in written


def test_what_was_a_members_name_is_looked_at_again_as_a_value() -> None:
    token = "Kx7Qm2Zp9Lw4Rt6Vb1Nd"
    _, report = redacted(
        {"body": json.dumps({token: 1}).encode()}, {"body": json.dumps({"note": token}).encode()}
    )
    assert [item.record for item in report.found] == [2]


def test_nothing_is_written_of_a_batch_that_holds_an_unlisted_secret(tmp_path: Path) -> None:
    redactor = Redactor(RedactionRules(), KEY)
    with RecordingWriter(tmp_path / "a.recording") as writer:
        intake, tally = Intake(writer, redactor), Tally(0)
        intake.take(batch({"path": "/a?ref=AKIAIOSFODNN7EXAMPLA"}), tally, Rejects(tmp_path, skip=False))
    assert redactor.refuses
    assert tally.exchanges == 0


def test_a_capture_without_answers_is_read_before_it_is_written(tmp_path: Path) -> None:
    key = tmp_path / "redaction.key"
    key.write_text("11" * 32)
    key.chmod(0o600)
    records = [_record(0, '{"note":"my word is zebra42crossing."}')]
    records += [_record(number, '{"a":1}') for number in range(1, 20_000)]
    records.append(_record(20_000, '{"password":"zebra42crossing"}'))
    source = tmp_path / "a.gor"
    source.write_text("\n🐵🙈🙉\n".join([*records, ""]))
    stored = import_files(ImportRequest(files=(source,), out=tmp_path / "a.recording", key=key))
    assert not any(b"zebra42" in (exchange.body or b"") for exchange in stored.slice(0, 1))


def test_a_trace_without_a_header_line_is_not_quoted(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_text(f"2026-01-01T00:00:00Z,{MAIL},x\n2026-01-01T00:00:01Z,{MAIL},x\n")
    with pytest.raises(DefinitionError, match="holds values, not the names of columns") as refused:
        import_files(
            ImportRequest(files=(source,), out=tmp_path / "a.recording", format="csv", redacted=True)
        )
    assert MAIL not in str(refused.value)


def _record(number: int, body: str) -> str:
    head = f"1 {number:024x} {1_700_000_000_000_000_000 + number} 0"
    return f"{head}\nPOST /x HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n{body}"
