"""The plain format of recordings, `NAME.ndjson`: its first line, and the lines after it, as people write them.

Takes what a line says, gives an `Exchange`. Nothing here does I/O; `harness/recording/plain.py` reads and writes the files.
"""

from __future__ import annotations

import base64
import binascii
from typing import Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from harness.model.base import Definition, Name
from harness.model.recording import (
    Exchange,
    Headers,
    Method,
    RecordedAnswer,
    check_answer_headers,
    check_headers,
    check_path,
    json_bytes,
    with_content_type,
)

FORMAT = 2
"""Version of the format that is written; its first line names it. Format 1 knew no answers and no hosts."""


class RecordingHeader(Definition):
    """First line of a plain recording. All but the first four may be left out when written by hand."""

    format: Literal[1, 2]
    recording: Name
    source: str = Field(description="Where the traffic was recorded, or how it was made.")
    attribution: str = Field(description="Whose it is, and under which licence.")
    exchanges: int | None = Field(
        default=None, ge=0, description="Count; fewer lines mean a file that was cut off."
    )
    length_ns: int | None = Field(
        default=None, ge=0, description="Length, when it ends after its last exchange."
    )
    clock: Literal["epoch", "own"] = Field(
        default="own", description="What `start_ns` counts from: the Unix epoch, or the source's own start."
    )
    start_ns: int = Field(default=0, description="When it starts, on that clock.")


class _Body(Definition):
    """A body as written: at most one of `json`, `body` (text) and `body_base64`."""

    json_body: JsonValue = Field(default=None, alias="json")
    body: str | None = None
    body_base64: str | None = None

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [name for name in ("json_body", "body", "body_base64") if name in self.model_fields_set]
        if len(given) > 1:
            raise ValueError("more than one body; give one of json, body, body_base64")
        try:
            self.body_bytes()
        except binascii.Error as error:
            raise ValueError(f"body_base64 is no base64: {str(error).lower()}") from error
        except UnicodeEncodeError as error:
            raise ValueError(f"the body holds half a character, {error.object[error.start]!r}") from error
        return self

    def body_bytes(self) -> bytes:
        """What is sent. Raises ValueError (binascii.Error, UnicodeEncodeError) for what no bytes stand for."""
        if "json_body" in self.model_fields_set:
            return json_bytes(self.json_body)
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64, validate=True)
        return (self.body or "").encode("utf-8")


class AnswerLine(_Body):
    """What came back when the exchange was recorded; what is left out is not known, a body included."""

    status: int = Field(default=-1, ge=-1, le=999, strict=True, description="0: no answer came.")
    error: str = Field(default="", description="Why no answer came.")
    first_byte_ns: int = Field(default=-1, ge=-1, strict=True)
    answered_ns: int = Field(default=-1, ge=-1, strict=True)
    size_bytes: int = Field(default=-1, ge=-1, strict=True, description="Head and body on the wire.")
    headers: tuple[tuple[str, str], ...] | dict[str, str] = ()

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: Headers | dict[str, str]) -> Headers:
        return check_answer_headers(headers.items() if isinstance(headers, dict) else headers)

    def answer(self) -> RecordedAnswer:
        """The answer."""
        known = any(getattr(self, name) is not None for name in ("body", "body_base64"))
        return RecordedAnswer(
            self.status,
            self.first_byte_ns,
            self.answered_ns,
            tuple(self.headers.items()) if isinstance(self.headers, dict) else self.headers,
            self.body_bytes() if known or "json_body" in self.model_fields_set else None,
            self.error,
            self.size_bytes,
        )


class ExchangeLine(_Body):
    """One exchange of a plain recording, as written. A `body` of null is one that is not known; it is sent as none."""

    at_ns: int = Field(ge=0, strict=True)
    client: str = ""
    key: str = ""
    method: Method = "GET"
    path: str
    route: str | None = Field(default=None, description="The path without its query by default.")
    headers: tuple[tuple[str, str], ...] | dict[str, str] = ()
    scheme: Literal["", "http", "https"] = ""
    host: str = Field(default="", pattern=r"^[!-~]*$", description="HOST or HOST:PORT, where it was sent.")
    http: Literal["", "1.0", "1.1", "2", "3"] = Field(default="", description="Version of HTTP.")
    connection: str = Field(default="", description="Exchanges of one name share kept-alive connections.")
    size_bytes: int = Field(default=-1, ge=-1, strict=True, description="Head and body on the wire.")
    answer: AnswerLine | None = None

    @field_validator("path")
    @classmethod
    def _is_path(cls, path: str) -> str:
        return check_path(path, double_slash=True)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: Headers | dict[str, str]) -> Headers:
        return check_headers(headers.items() if isinstance(headers, dict) else headers)

    @property
    def body_known(self) -> bool:
        """Whether the line says what the request's body was."""
        return "body" not in self.model_fields_set or self.body is not None

    def exchange(self) -> Exchange:
        """The exchange, numbered 0 until `Recording.of` numbers it."""
        headers = self.headers if isinstance(self.headers, tuple) else tuple(self.headers.items())
        return Exchange(
            seq=0,
            at_ns=self.at_ns,
            client=self.client,
            key=self.key,
            method=self.method,
            path=self.path,
            route=self.route if self.route is not None else self.path.partition("?")[0],
            headers=with_content_type(headers, json_body="json_body" in self.model_fields_set),
            body=self.body_bytes(),
            scheme=self.scheme,
            host=self.host,
            http=self.http,
            connection=self.connection,
            answer=self.answer.answer() if self.answer is not None else RecordedAnswer(),
            size_bytes=self.size_bytes,
        )
