"""Which of two records of one thing counts, as after a kill, and what the verifications of a run come to.

The fold (`run_state`) follows these rules; ``views/*.sql`` has the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def measured_anew(before: str, status: str) -> bool:
    """Whether a second verification of a seed counts in place of the first, by their status."""
    return before == "fault" and status != "fault"


def has_finished(state: str | None) -> bool:
    """Whether a run that ended so has ended for good: a further end does not count."""
    return state == "finished"


def ranking_stream(streams: Iterable[str], own: str) -> str:
    """The stream whose verifications rank a run: its own one, or the first that there is."""
    order = (own, "selection", "confirmation", "reserve", "search")
    return min(streams, key=lambda stream: order.index(stream) if stream in order else len(order), default=own)


def counted_gain(status: str, gain: float | None) -> float | None:
    """The gain of one seed; None for an infrastructure fault."""
    if status == "ok":
        return gain
    return None if status == "fault" else 0.0


def mean_over_seeds(gains: Mapping[int, float | None]) -> float | None:
    """In the order of the view, so that the bits are the same."""
    there = [gain for _, gain in sorted(gains.items()) if gain is not None]
    return sum(there) / len(there) if there else None
