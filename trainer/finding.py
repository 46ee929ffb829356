"""The findings of `metaloop task check`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class CheckFinding:
    """The result of one clause of the check, with the cure if it is not ok."""

    level: Level
    clause: str
    message: str
    hint: str = ""
