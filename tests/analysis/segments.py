"""Segments of ledgers, written for tests and altered by them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger, read


def write(folder: Path, *events: dict[str, Any], name: str = "w") -> Path:
    """A segment of its opening record and these events; without events, of four with the numbers 0 to 3."""
    with Ledger(folder, name) as ledger:
        for event in events or [{"kind": "a", "number": number} for number in range(4)]:
            ledger.append(event, sync=False)
    return ledger.path


def kinds(folder: Path) -> list[str]:
    """Of the records of a ledger, without the openings of its segments."""
    return [str(record["kind"]) for record in read(folder) if record["kind"] != "segment"]


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def sealed(record: dict[str, Any]) -> bytes:
    """A line with the right hash, as anybody can make it who knows the form."""
    body = json.dumps({k: v for k, v in record.items() if k != "hash"}, separators=(",", ":")).encode()[:-1]
    return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Each file that the kernel is asked to write out from now on: (inode, size)."""
    found: list[tuple[int, int]] = []
    real = os.fsync

    def watched(file: int) -> None:
        real(file)
        found.append((os.fstat(file).st_ino, os.fstat(file).st_size))

    monkeypatch.setattr(os, "fsync", watched)
    return found
