"""The key of pseudonyms: 32 random bytes in a file of their own, made once in the user's state directory.

Takes a path or none, gives the bytes. Whoever has the key can tell whether a value is behind a pseudonym; without it
nobody can. Recordings made with the same key have the same pseudonyms, so that they can be merged.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import tempfile
from pathlib import Path

from harness.errors import DefinitionError, EngineError
from harness.state import state_directory

KEY_BYTES = 32
KEY_NAME = "redaction.key"
MAKE_ONE = "make one with: (umask 077; openssl rand -hex 32 > redaction.key)"


def own_key_path() -> Path:
    """Where this user's own key lies."""
    return state_directory() / "keys" / KEY_NAME


def load_or_make_key(path: Path | None) -> bytes:
    """The key in the file; without a path the state directory's, made when it is not there.

    Raises DefinitionError for a file that holds no key, EngineError when none can be made.
    """
    if path is not None:
        return _load(path)
    own = own_key_path()
    if not own.exists():
        _make(own)
    return _load(own)


def key_fingerprint(key: bytes) -> str:
    """Names a key without telling it: 16 characters."""
    return hashlib.sha256(b"pytest-readiness redaction key\0" + key).hexdigest()[:16]


def _load(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DefinitionError.at(path, "the key is no file", MAKE_ONE)
        with path.open("rb") as file:
            data = file.read(4 * KEY_BYTES)
    except OSError as error:
        raise DefinitionError.at(
            path, f"the key cannot be read: {error.strerror or error}", MAKE_ONE
        ) from None
    if os.name == "posix" and status.st_mode & 0o077:
        raise DefinitionError.at(
            path,
            "this key can be read by other users of the machine",
            f"take it for yourself: chmod 600 {path}",
        )
    return _decoded(path, data)


def _decoded(path: Path, data: bytes) -> bytes:
    """As `_make` and openssl write it (64 hexadecimal digits), or as 32 bytes."""
    with contextlib.suppress(ValueError):
        key = bytes.fromhex(data.decode("ascii"))
        if len(key) == KEY_BYTES:
            return key
    if len(data) == KEY_BYTES:
        return data
    kind = (
        "the file is empty"
        if not data.strip()
        else f"it has {len(data)} bytes"
        if len(data) < 4 * KEY_BYTES
        else "it is too long"
    )
    raise DefinitionError.at(path, f"this is no key of 64 hexadecimal digits ({kind})", MAKE_ONE)


def _make(path: Path) -> None:
    """A new key, mode 0600. Somebody else's that was made meanwhile stays. Raises EngineError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mkstemp: mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_hex(KEY_BYTES).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(partial, path)  # unlike a rename it never replaces a key
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(partial).unlink()
    except OSError as error:
        raise EngineError(
            f"no key could be made at {path}: {error.strerror or error}",
            "give a key with --redaction-key, or set READINESS_STATE_DIR to a folder that can be written",
        ) from None
