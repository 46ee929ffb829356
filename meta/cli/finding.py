"""One thing that ``metaloop doctor`` has looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``cure`` is empty where nothing needs one."""

    check: str
    state: State
    found: str
    cure: str = ""
