"""Messages of volunteers and host: JSON, signed with Ed25519 (RFC 8032, by `cryptography`), numbered for each key.

What is signed is the text that is sent, so no two programs have to agree on one form of JSON: six lines, joined by
line feeds, without one at the end: ``metaloop-home 1``, project, key, number, kind, SHA-256 of the body in UTF-8.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from analysis.ledger.json_values import strictly
from programs.errors import UsageError
from programs.text import one_line

MOST_BODY = 1 << 20  # characters
Kind = Literal["hello", "work", "commit", "propose", "progress", "reply"]
Body = Mapping[str, JsonValue]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class SignedMessage(BaseModel):
    """``number`` rises with each new message of a key; the reply carries the same one. ``body``: a JSON object."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    v: Literal[1]
    project: Annotated[str, Field(pattern=r"^[a-z][0-9a-f]{12}$")]
    key: Hex32
    number: Annotated[int, Field(ge=1, lt=2**53)]  # what a double holds exactly
    kind: Kind
    body: Annotated[str, Field(max_length=MOST_BODY)]
    signature: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]

    def content(self) -> dict[str, JsonValue]:
        """The body. Raises UsageError if it is not a JSON object of finite numbers."""
        try:
            read = strictly(self.body)
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict):
            raise UsageError(f"the body of a {self.kind} message is not a JSON object")
        return read


class Signer:
    """A private key in a file of its owner alone."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.key = private.public_key().public_bytes_raw().hex()

    @classmethod
    def at(cls, path: Path) -> Signer:
        """The key at ``path``, which is made at the first call. Raises UsageError for a file that holds none."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(Ed25519PrivateKey.generate().private_bytes_raw().hex().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)  # the first of two processes wins
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(path.read_text("ascii").strip())))
        except ValueError:
            raise UsageError(f"{path} holds no private key", hint="restore it, or move it away for a new key") from None

    def sign(self, project: str, number: int, kind: Kind, body: Body) -> SignedMessage:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        signature = self._private.sign(_signed(project, self.key, number, kind, text)).hex()
        return SignedMessage(
            v=1, project=project, key=self.key, number=number, kind=kind, body=text, signature=signature
        )


def read_message(raw: bytes, project: str) -> SignedMessage:
    """The message of this project in ``raw``, its signature verified. Raises UsageError with the first fault."""
    try:
        message = SignedMessage.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = one_line(".".join(map(str, first["loc"])))[:60] or "message"
        raise UsageError(f"{field}: {first['msg']}", hint="docs/home.md specifies messages") from None
    if message.project != project:
        raise UsageError(f"the message is for project {message.project}, not for {project}")
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(message.key))
        public.verify(bytes.fromhex(message.signature), _of(message))
    except (InvalidSignature, ValueError):
        raise UsageError("the signature does not fit the message and its key") from None
    return message


def sealed(salt: bytes, files: Mapping[str, str]) -> str:
    """The commitment to a proposal, sent before it is shown: SHA-256, hex, over the salt, then path and text of each
    file in the order of the paths' code points, each part preceded by its length in bytes (8, big-endian)."""
    digest = hashlib.sha256()
    for part in (salt, *(text.encode() for path in sorted(files) for text in (path, files[path]))):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _of(message: SignedMessage) -> bytes:
    return _signed(message.project, message.key, message.number, message.kind, message.body)


def _signed(project: str, key: str, number: int, kind: str, body: str) -> bytes:
    digest = hashlib.sha256(body.encode("utf-8", "strict")).hexdigest()
    return "\n".join(("metaloop-home 1", project, key, str(number), kind, digest)).encode()
