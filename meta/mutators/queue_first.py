"""Puts the Ideas list first among a program's proposers."""

from __future__ import annotations

from programs.program import Program
from programs.settings import set_charter

QUEUE_SHARE = 0.95


def queue_first(text: str) -> str:
    """The queue gets 95%; the other proposers keep their proportions of the rest."""
    shares = Program.parse(text).charter.proposers
    if shares.get("queue", 0.0) >= QUEUE_SHARE * sum(shares.values()):
        return text
    others = {name: share for name, share in shares.items() if name != "queue"} or {"local": 1.0}
    scale = (1 - QUEUE_SHARE) / sum(others.values())
    new = {"queue": QUEUE_SHARE} | {name: float(f"{share * scale:.3g}") for name, share in others.items()}
    return set_charter(text, "proposers", new)
