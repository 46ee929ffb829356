"""The result of one check of ``metaloop doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class CheckResult:
    """One check; ``found`` and ``cure`` are keys of ``doctor --json``. ``cure`` is empty without a problem."""

    check: str
    state: State
    found: str
    cure: str = ""
