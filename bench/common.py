"""What the bench scripts share: run the installed command, read studies back, print figures."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.study import query

METALOOP = str(Path(sys.executable).with_name("metaloop"))


def metaloop(*arguments: str) -> float:
    """Run ``metaloop`` with its output on this terminal's stderr; returns its wall seconds. Exits where it fails."""
    began = time.perf_counter()
    done = subprocess.run([METALOOP, *arguments], stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"metaloop {' '.join(arguments)}: exit status {done.returncode}")
    return time.perf_counter() - began


def sql(study: Path, statement: str) -> list[dict[str, Any]]:
    return query(study, statement)


def ratio(values: Sequence[float], digits: int = 3) -> str:
    """Median, n and range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} (n {len(values)}, {low:.{digits}f} to {high:.{digits}f})"


def figure(name: str, value: object, goal: str = "") -> None:
    """One measured figure a line, grep-able."""
    print(f"{name}: {value}" + (f"   (goal {goal})" if goal else ""), flush=True)
