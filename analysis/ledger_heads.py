"""The heads of segments: the sequence number and the hash of a segment's last valid record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

Head = tuple[int, str]


def head_of(record: Mapping[str, JsonValue]) -> Head:
    """The head of a segment that ends with this record."""
    assert isinstance(record["seq"], int)
    return record["seq"], str(record["hash"])


def heads_in(record: Mapping[str, JsonValue]) -> dict[str, Head]:
    """The heads that a record lists, by segment."""
    heads = record.get("heads")
    listed = heads if isinstance(heads, dict) else {}
    return {name: head_of(head) for name, head in listed.items() if isinstance(head, dict) and "seq" in head}


def as_json(heads: Mapping[str, Head]) -> dict[str, JsonValue]:
    return {name: {"seq": seq, "hash": sha256} for name, (seq, sha256) in heads.items()}
