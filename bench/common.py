"""What the bench scripts share: run the installed command, read studies back, go on with a file, print figures."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import JsonValue

from analysis.effects.contributions import NightTurnRow
from analysis.ledger import read
from analysis.statistics import mean_interval
from analysis.study import query
from inner_loop.events import Emit, Event, NightTurnEvent

Line = TypeVar("Line")
Job = TypeVar("Job")
METALOOP = str(Path(sys.executable).with_name("metaloop"))
#: Where our tests try a command: studies of the least size, whose figures say nothing; these flags of `evolve`.
TRIED = tuple(os.environ.get("BENCH_TRIED", "").split())


def metaloop(*arguments: str) -> float:
    """Run ``metaloop`` with its output on this terminal's stderr; returns its wall seconds. Exits where it fails."""
    began = time.perf_counter()
    done = subprocess.run([METALOOP, *tried(arguments)], stdout=sys.stderr, check=False)
    if done.returncode:
        sys.exit(f"metaloop {' '.join(arguments)}: exit status {done.returncode}")
    return time.perf_counter() - began


def tried(arguments: Sequence[str]) -> list[str]:
    """The command; of the least size where our tests try it."""
    if not TRIED or arguments[0] != "evolve" or "--budget" in arguments:
        return list(arguments)
    return [arguments[0], *TRIED, *(word for word in arguments[1:] if word != "--quick")]  # what is named twice, last


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A folder with the repository as it was at an earlier commit."""
    git = ["git", "-C", str(Path(__file__).resolve().parents[1]), "worktree"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "code"
        subprocess.run([*git, "add", "-q", "--detach", str(folder), commit], check=True)
        if not (folder / "programs" / "common" / "distribution.py").is_file():  # it asks for its version
            (folder / "metaloop-0.1.0.dist-info").mkdir()
            metadata = "Metadata-Version: 2.1\nName: metaloop\nVersion: 0.1.0\n"
            (folder / "metaloop-0.1.0.dist-info" / "METADATA").write_text(metadata)
        try:
            yield folder
        finally:
            subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def mean_of(values: Sequence[float], digits: int = 3) -> str:
    """``mean [low, high] of n``, with a 95% interval where there is one."""
    mean = mean_interval(values)
    ends = "" if mean.low is None or mean.high is None else f" [{mean.low:.{digits}f}, {mean.high:.{digits}f}]"
    return f"{mean.or_zero:.{digits}f}{ends} of {mean.n}"


def sql(study: Path, statement: str) -> list[dict[str, Any]]:
    return query(study, statement)


def kept(file: Path, kind: Callable[..., Line]) -> list[Line]:
    """The lines of a file, each a dataclass as JSON; the last one may have been cut short."""
    lines = file.read_text("utf-8").split("\n")[:-1] if file.is_file() else []
    return [kind(**json.loads(line)) for line in lines]


def go_on(file: Path, make: Callable[[Job], Any], jobs: Iterable[Job], workers: int) -> None:
    """Append what ``make`` makes of each job, in their order, so that it can be stopped at any time."""
    whole = file.read_bytes() if file.is_file() else b""
    with file.open("ab") as out, ExitStack() as closing:
        out.truncate(whole.rfind(b"\n") + 1)
        each: Callable[..., Iterable[Any]] = map
        if workers > 1:
            each = closing.enter_context(ProcessPoolExecutor(workers, mp_context=get_context("spawn"))).map
        for made in each(make, jobs):
            out.write(json.dumps(asdict(made)).encode() + b"\n")
            out.flush()


def ratio(values: Sequence[float], digits: int = 3) -> str:
    """Median, n and range."""
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} (n {len(values)}, {low:.{digits}f} to {high:.{digits}f})"


def over_tasks(
    tables: Sequence[np.ndarray], once: Callable[[Sequence[np.ndarray]], float], seed: int, times: int
) -> str:
    """``once`` of the tasks' tables [runs, uses] and its 95% interval over resampled tasks and runs of each."""
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(times):
        picked = [tables[at] for at in rng.integers(len(tables), size=len(tables))]
        drawn.append(once([runs[rng.integers(len(runs), size=len(runs))] for runs in picked]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{once(tables):.2f} [{low:.2f}, {high:.2f}]"


def figure(name: str, value: object, goal: str = "") -> None:
    """One measured figure a line, grep-able."""
    print(f"{name}: {value}" + (f"   (goal {goal})" if goal else ""), flush=True)


def cpu_seconds() -> float:
    """CPU-seconds of this process and of those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def night_turns(events: Iterable[Event]) -> list[NightTurnRow]:
    """The rows of the view of that name, from the events of a night."""
    return [
        NightTurnRow(e.run_id, e.number, e.block, e.program_id, e.count, e.kept, e.gain, e.device_seconds_charged)
        for e in events
        if isinstance(e, NightTurnEvent)
    ]


def appended(records: list[dict[str, Any]]) -> Emit:
    """An ``emit`` that keeps the records of a run."""
    return lambda event: records.append(event.to_record())


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Two-sided 95% interval of a share, given ``count`` of ``n`` (Clopper and Pearson 1934); (0, 1) for n = 0."""
    from scipy.special import betaincinv

    low = float(betaincinv(count, n - count + 1, 0.025)) if count else 0.0
    high = float(betaincinv(count + 1, n - count, 0.975)) if count < n else 1.0
    return low, high


def share_figure(name: str, seen: Sequence[bool], goal: str = "") -> None:
    """A share with its 95% interval."""
    low, high = share_interval(sum(seen), len(seen))
    shown = f"{sum(seen)} of {len(seen)} = {sum(seen) / len(seen):.4f} [{low:.4f}, {high:.4f}]"
    figure(name, shown, goal)


def champion_of(folder: Path) -> dict[str, JsonValue] | None:
    """The champion event of a finished study; None before it."""
    return next((event for event in read(folder / "ledger") if event["kind"] == "champion"), None)
