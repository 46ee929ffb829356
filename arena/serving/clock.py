"""The time of a server, and how it is shown."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)


def shown(moment: datetime | None) -> str:
    """A time for people: to the second, with the suffix UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
