"""Levels of trust in a number, weakest first, and the remarks about weak ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from trainer.outcome import Trust

ORDER = get_args(Trust)
WHY = {
    "unverified": "the code ran without a sandbox",
    "self-reported": "the script printed these numbers itself",
}


def weakest(trusts: Iterable[str | None]) -> str | None:
    """The weakest of these trust levels, None without any; an unknown level is the weakest of all."""
    there = [trust for trust in trusts if trust]
    return min(there, key=lambda trust: ORDER.index(trust) if trust in ORDER else -1, default=None)


def counts(status: str, trust: str | None) -> bool:
    """Whether the trust of a measurement counts: it was scored, or ran without a sandbox."""
    return status == "ok" or trust == "unverified"


def marked(trust: str | None) -> str:
    """``unverified: …`` for a trust that pages must show next to a number; else empty."""
    return f"{trust}: {WHY[trust]}" if trust in WHY else ""


def gain_name(trust: str | None) -> str:
    """What the gain of a final script that was trained again is called: verified only where it was scored outside."""
    return "retrained gain" if trust in WHY else "verified gain"
