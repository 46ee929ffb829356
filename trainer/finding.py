"""What `metaloop task check` has to say about a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class CheckFinding:
    """One clause: what was tried, what came out, and the cure where it is not ok."""

    level: Level
    clause: str
    message: str
    hint: str = ""
