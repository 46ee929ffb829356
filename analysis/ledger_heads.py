"""The heads of segments: the sequence number and the hash of a segment's last valid record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from programs.errors import Corrupt

if TYPE_CHECKING:
    from pydantic import JsonValue

Head = tuple[int, str]


def head_of(record: JsonValue) -> Head:
    """The head of a segment that ends with this record. Raises Corrupt for one without sequence number or hash."""
    if isinstance(record, dict):
        seq, sha256 = record.get("seq"), record.get("hash")
        if type(seq) is int and seq >= 0 and isinstance(sha256, str):
            return seq, sha256
    raise Corrupt(f"not the head of a segment: {record}", hint="restore the ledger from a copy")


def heads_in(record: Mapping[str, JsonValue]) -> dict[str, Head]:
    """The heads that a record lists, by segment. Raises Corrupt."""
    heads = record.get("heads", {})
    if not isinstance(heads, dict):
        raise Corrupt(f"not the heads of segments: {heads}", hint="restore the ledger from a copy")
    return {name: head_of(head) for name, head in heads.items()}


def as_json(heads: Mapping[str, Head]) -> dict[str, JsonValue]:
    return {name: {"seq": seq, "hash": sha256} for name, (seq, sha256) in heads.items()}
