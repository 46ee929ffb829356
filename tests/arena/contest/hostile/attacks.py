"""The corpus: one TOML file a family, each attack a case with a name, and what it would mean that it got through."""

from __future__ import annotations

import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 20.0  # that a server has for an answer, ten times what it takes on a busy machine


class Through(AssertionError):
    """An attack did what it was after."""


@dataclass(frozen=True)
class Case:
    """``told``: what the file says of the case; a bare text is ``{"text": …}``."""

    family: str
    name: str
    through: str
    told: dict[str, Any]
    refused: bool = False

    @property
    def raw(self) -> bytes:
        """The bytes to send: ``text``, ``json`` or ``body`` as it is, ``hex``, or ``parts``, each so many times."""
        if "hex" in self.told:
            return bytes.fromhex(self.told["hex"])
        if "parts" in self.told:
            return "".join(text * times for text, times in self.told["parts"]).encode()
        return next((str(self.told[key]).encode() for key in ("text", "json", "body") if key in self.told), b"")

    def held(self, fact: object, seen: object = "") -> None:
        """Raises Through where ``fact`` does not hold."""
        if not fact:
            raise Through(f"{self.name}: {self.through}: {str(seen)[:300]!r}")


def corpus(name: str) -> tuple[dict[str, Any], list[Case]]:
    """A family's file and its cases."""
    whole = tomllib.loads((CORPUS / f"{name}.toml").read_text(encoding="utf-8"))
    cases = [
        Case(name, case, whole["through"], told if isinstance(told, dict) else {"text": told}, refused)
        for table, refused in (("cases", bool(whole.get("refused"))), ("taken", False))
        for case, told in whole.get(table, {}).items()
    ]
    return whole, cases


def attacks(name: str) -> pytest.MarkDecorator:
    """Runs a test once for each case of a family, as its parameter ``case``."""
    return pytest.mark.parametrize("case", [pytest.param(c, marks=mark(name), id=c.name) for c in corpus(name)[1]])


def mark(family: str) -> pytest.MarkDecorator:
    """Makes a test count as one attack of a family (`bench/hostile.py`)."""
    return pytest.mark.attack(family)


def said(port: int, raw: bytes, seconds: float = SECONDS) -> bytes:
    """All that a server answers to these bytes, until it closes; what it says after a request is over is not waited for
    longer than a moment."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        out = bytearray()
        try:
            connection.sendall(raw)
            while more := connection.recv(1 << 16):
                out += more
                connection.settimeout(0.15)
        except (TimeoutError, ConnectionError):
            pass
    return bytes(out)
