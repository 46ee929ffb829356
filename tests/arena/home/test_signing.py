"""Signed messages: test vectors that another program can be held against, and every way to forge one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from arena.home.signing import Signer, read_message, sealed
from programs.errors import UsageError

PROJECT = "y0123456789ab"
FIXED = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
VECTOR = {
    "key": "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8",
    "body": '{"name":"Ann","threads":1}',
    "digest": "3907ec6ecaff3095fa5272847da40a1018affb8058a49f29573c12b158956c9e",
    "signature": "9f779b451a65d48a892cd6270d8023a4df2a03419b8068c4c7fd7733250f0b16"
    "525cc8dbd163d0d62fcfa17150b8190ddde2451d2bd7327b63147408ba1cee03",
}


def test_the_vector() -> None:
    """The secret is 00 01 … 1f."""
    message = FIXED.sign(PROJECT, 1, "hello", {"name": "Ann", "threads": 1})
    assert (message.key, message.body) == (VECTOR["key"], VECTOR["body"])
    lines = ["metaloop-home 1", PROJECT, VECTOR["key"], "1", "hello", VECTOR["digest"]]
    secret = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    assert message.signature == secret.sign("\n".join(lines).encode()).hex() == VECTOR["signature"]
    assert read_message(message.model_dump_json().encode(), PROJECT) == message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2), ("project", "y0123456789ac"), ("key", "00" * 32), ("key", "zz" * 32), ("number", 2), ("number", 0),
        ("number", 2**53), ("number", "1"), ("number", True), ("kind", "work"), ("kind", "rule"),
        ("body", '{"name":"Bob","threads":1}'), ("body", "x" * (2**20 + 1)), ("signature", "00" * 64),
        ("signature", "0"), ("more", 1),
    ],
)  # fmt: skip
def test_a_changed_field_is_refused(field: str, value: object) -> None:
    fields = FIXED.sign(PROJECT, 1, "hello", {"name": "Ann", "threads": 1}).model_dump()
    with pytest.raises(UsageError):
        read_message(json.dumps({**fields, field: value}).encode(), PROJECT)


@pytest.mark.parametrize("body", ["[]", "1", "{", '{"gain":NaN}', '{"gain":Infinity}', '{"a":' * 100_000])
def test_a_body_is_an_object_of_finite_numbers(body: str) -> None:
    message = FIXED.sign(PROJECT, 1, "work", {}).model_copy(update={"body": body})
    with pytest.raises(UsageError, match="not a JSON object"):
        message.content()


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "home.key"
    first = Signer.at(path)
    assert first.key == Signer.at(path).key
    assert path.stat().st_mode & 0o777 == 0o600 and [each.name for each in path.parent.iterdir()] == ["home.key"]
    path.write_text("not a key\n")
    with pytest.raises(UsageError, match="no private key"):
        Signer.at(path)


def test_a_commitment_binds_salt_paths_and_texts() -> None:
    salt, files = b"\0" * 16, {"train.py": "print(1)\n", "model.py": "x = 2\n"}
    known = sealed(salt, files)
    assert known == sealed(salt, dict(reversed(files.items())))
    others = [
        sealed(b"\1" * 16, files),
        sealed(salt, {**files, "train.py": "print(2)\n"}),
        sealed(salt, {"train.pyp": "rint(1)\n", "model.py": "x = 2\n"}),
        sealed(salt, {"train.py": "print(1)\n"}),
    ]
    assert len({known, *others}) == 5


def test_the_vectors_of_the_specification() -> None:
    text = (Path(__file__).parents[3] / "docs" / "home.md").read_text("utf-8").partition("### Test vectors")[2]
    message = text.partition("```json\n")[2].partition("\n```")[0]
    read = read_message(message.encode(), PROJECT)
    assert read.content() == {"name": "Zoë", "hardware": "cpu", "devices": 1} and read.kind == "hello"
    own = Signer(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
    assert own.sign(PROJECT, 1, "hello", read.content()) == read
    seal = sealed(bytes.fromhex("00ff"), {"train.py": "LR = 0.1\n", "a.py": "é\n"})
    assert f"\n{seal}\n" in text
