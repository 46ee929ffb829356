"""Meters, and texts that are cut to a width."""

from __future__ import annotations

import re


def meter(done: float, total: float, width: int = 40) -> str:
    """``[=====      ]``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    return "[" + ("=" * round(share * width)).ljust(width) + "]"


def fit_name(name: str, width: int) -> str:
    """``name`` cut to ``width`` characters; its version, by which the programs of a study differ, stays."""
    if len(name) <= width:
        return name
    version = re.search(r"-v\d+$", name)
    end = version.group() if version and len(version.group()) < width - 2 else ""
    return f"{name[: width - 1 - len(end)]}…{end}"


def fit(text: str, width: int) -> str:
    """``text`` cut to ``width`` characters, the last three dots where it was longer."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]
