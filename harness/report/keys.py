"""Keys of a report: an ed25519 key pair, from a file that the user names or made once in the user's state directory.

Takes paths, gives `SigningKey` and `PublicKey`; raises DefinitionError with what to do for every key that is missing,
unreadable, encrypted or of another kind. The private key never leaves its file and this process.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.errors import DefinitionError, EngineError
from harness.state import state_directory

KEY_NAME = "readiness-ed25519.pem"
MAKE_ONE = "make one with: openssl genpkey -algorithm ed25519 -out KEY.pem"
ASK_FOR_ONE = (
    "give the public key that the signer handed you, the one beginning with -----BEGIN PUBLIC KEY-----"
)
KEY_LIMIT_BYTES = 65_536


@dataclass(frozen=True)
class PublicKey:
    """An ed25519 public key. `keyid` is the SHA-256 of its DER form: `openssl pkey -pubin -outform DER | sha256sum`."""

    raw: Ed25519PublicKey

    @property
    def der(self) -> bytes:
        return self.raw.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def pem(self) -> bytes:
        return self.raw.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    @property
    def keyid(self) -> str:
        return hashlib.sha256(self.der).hexdigest()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """True when `signature` over `message` is this key's."""
        try:
            self.raw.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """Raises ValueError for anything but an ed25519 public key in PEM."""
        try:
            key = serialization.load_pem_public_key(pem)
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from None
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("not an ed25519 key")
        return cls(key)


@dataclass(frozen=True)
class SigningKey:
    """The key that signs a report. `self_signed`: made by the harness itself, so it vouches for no person.

    `notice` is a sentence for the user (empty: nothing to say).
    """

    private: Ed25519PrivateKey
    path: Path
    self_signed: bool
    notice: str = ""

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.private.public_key())


def own_key_path() -> Path:
    """Where this user's own key lies."""
    return state_directory() / "keys" / KEY_NAME


def load_or_make_key(path: Path | None) -> SigningKey:
    """The user's key at `path`; without a path the key of the state directory, made when it is not there.

    Raises DefinitionError for a key that cannot be used, EngineError when none can be made.
    """
    if path is not None:
        return SigningKey(_load_private(path), path, self_signed=False, notice=_open_to_others(path))
    own = own_key_path()
    made = not own.exists() and _make(own)
    private = _load_private(own)
    keyid = PublicKey(private.public_key()).keyid
    word = "made a key of its own for" if made else "uses"
    notice = (
        f"no --key given: this run {word} {own} (key id {keyid[:16]}…); its report is self-signed, "
        "which shows that nothing was altered since, not who vouches for it"
    )
    return SigningKey(private, own, self_signed=True, notice=notice)


def load_public_key(path: Path) -> PublicKey:
    """The public key that the user trusts. Raises DefinitionError."""
    data = _read(path, ASK_FOR_ONE)
    if b"PRIVATE KEY" in data:
        raise DefinitionError.at(
            path,
            "this is a private key, and a report is verified with the public one",
            f"write it out with: openssl pkey -in {path} -pubout -out PUBLIC.pem",
        )
    try:
        return PublicKey.from_pem(data)
    except ValueError:
        raise DefinitionError.at(
            path,
            f"this is no ed25519 public key in PEM ({_kind(data)})",
            ASK_FOR_ONE,
        ) from None


def own_public_key() -> PublicKey | None:
    """The public half of the state directory's key, or None when there is none that can be read."""
    try:
        return PublicKey(_load_private(own_key_path()).public_key())
    except DefinitionError:
        return None


def _load_private(path: Path) -> Ed25519PrivateKey:
    data = _read(path, MAKE_ONE)
    if b"ENCRYPTED" in data:
        raise DefinitionError.at(
            path,
            "this key is encrypted, and a run asks nobody for a passphrase",
            f"decrypt it into a file of its own: openssl pkey -in {path} -out PLAIN.pem",
        )
    load = (
        serialization.load_ssh_private_key
        if b"OPENSSH PRIVATE KEY" in data
        else serialization.load_pem_private_key
    )
    try:
        key: object = load(data, password=None)
    except TypeError:
        raise DefinitionError.at(
            path,
            "this key is encrypted, and a run asks nobody for a passphrase",
            f"decrypt it into a file of its own: ssh-keygen -p -N '' -f COPY_OF_{path.name}",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise DefinitionError.at(path, f"this is no private key in PEM ({_kind(data)})", MAKE_ONE) from None
    if not isinstance(key, Ed25519PrivateKey):
        name = type(key).__name__.removeprefix("_").replace("PrivateKey", "")
        raise DefinitionError.at(path, f"this is a private key, but {name} and not ed25519", MAKE_ONE)
    return key


def _read(path: Path, fix: str) -> bytes:
    """The file's bytes. Raises DefinitionError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DefinitionError.at(path, "the key is no file", "name the PEM file itself")
        with path.open("rb") as file:
            data = file.read(KEY_LIMIT_BYTES + 1)
    except OSError as error:
        what = error.strerror or str(error)
        raise DefinitionError.at(path, f"the key cannot be read: {what}", fix) from None
    if len(data) > KEY_LIMIT_BYTES:
        raise DefinitionError.at(path, "this file is far too large to be a key", fix)
    return data


def _kind(data: bytes) -> str:
    """What a file that is no such key looks like, in a few words."""
    if not data.strip():
        return "the file is empty"
    for line in data.splitlines():
        if line.startswith(b"-----BEGIN "):
            return f"it says {line.strip().decode('ascii', 'replace')[:60]!r}"
    return "no PEM header in it"


def _open_to_others(path: Path) -> str:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        return f"{path} can be read by other users of this machine: chmod 600 {path}"
    return ""


def _make(path: Path) -> bool:
    """A new key at `path`, mode 0600. False when somebody else made it first. Raises EngineError."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mkstemp: mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            os.link(partial, path)  # unlike a rename it never replaces the key of a run that was faster
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(partial).unlink()
    except FileExistsError:
        return False
    except OSError as error:
        raise EngineError(
            f"no key could be made at {path}: {error.strerror or error}",
            "give a key with --key, or set READINESS_STATE_DIR to a folder that can be written",
        ) from None
    return True


def strict_base64(text: object) -> bytes:
    """Bytes of padded standard base64. Raises ValueError for any other spelling of the same bytes."""
    if not isinstance(text, str):
        raise ValueError("no text")
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode("ascii") != text:
        raise ValueError("not the standard spelling of base64")
    return data
