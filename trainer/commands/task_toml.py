"""The task.toml of a repository: what two runs of its command measured, and its knobs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trainer.commands.ladders import Ladder
from trainer.commands.named_numbers import NamedNumber
from trainer.commands.questions import score_keys
from trainer.commands.repository import HUB, OwnRepository, links_of
from trainer.gpu import usable
from trainer.outcome import Outcome
from trainer.task_file import is_artifact
from trainer.values.metric_names import is_timed
from trainer.variants import task_name

HARD_FACTOR, HARD_EXTRA = 2.0, 10.0  # a command's start-up and evaluation are not part of a budget
WALL_FACTOR = 4.0  # hard limit of wall time over that of CPU time
LONGEST = 3600.0  # CPU-seconds of the first run
LEAST_MEMORY_MB, MEMORY_FACTOR = 4096, 2.0
NO_METRIC = r"(?!x)x(.)"  # no line matches
_OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


@dataclass(frozen=True)
class Wanted:
    """What the user gives by flags; None and empty: found by running."""

    command: str | None = None
    metric: str | None = None
    metric_file: str | None = None
    direction: str | None = None
    budget: float | None = None
    editable: Sequence[str] = ()
    seed: str | None = None
    exclude: Sequence[str] = ()
    readable: Sequence[str] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    score_command: str | None = None
    artifacts: Sequence[str] = ()
    score_files: Sequence[str] = ()
    noise: str | None = None
    traceback: str | None = None


class TriedRun(NamedTuple):
    """One run of the untouched files. ``text`` has the metric; ``rows``: how many values of rows it left, if any;
    ``written``: the files of the repository that it wrote into."""

    outcome: Outcome
    text: str
    rows: int
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class TaskText:
    """What task.toml says beside metric and knobs."""

    source: OwnRepository
    wanted: Wanted
    command: str
    editable: list[str]
    seed: str
    readable: list[str]

    def seconds(self, runs: Sequence[TriedRun], timed: bool = False) -> float:
        """What one experiment costs, as charged, where the metric is ``timed`` too; before a run, the most that it
        may."""
        each = (run.outcome.wall_seconds if timed else run.outcome.device_seconds_charged for run in runs)
        return max((float(f"{seconds:.3g}") for seconds in each), default=LONGEST)

    def device(self, runs: Sequence[TriedRun]) -> str:
        """GPU where one is here and the command used it, or said so; before a run, where one is here."""
        if not usable():
            return "cpu"
        used = [run for run in runs if run.outcome.utilization or re.search(r"\bcuda\b", run.text, re.IGNORECASE)]
        return "gpu" if used or not runs else "cpu"

    def toml(
        self,
        metric: NamedNumber,
        direction: str,
        runs: Sequence[TriedRun],
        knobs: Sequence[Ladder],
        invariants: Sequence[NamedNumber] = (),
    ) -> str:
        source, wanted = self.source, self.wanted
        peak = max((run.outcome.peak_memory_mb for run in runs), default=0.0)
        executable = [name for name, (_, runs_itself) in source.files.items() if runs_itself]
        noise = score_keys(wanted.noise)
        if "rows" in noise:
            noise["n_rows"] = runs[0].rows if runs else 1
        elif not runs:
            noise = {}
        # a program may be rewritten, and a result is written anew: the task stays the same
        others = {*self.editable, *source.program, wanted.metric_file, noise.get("rows")}
        others |= {name for name in source.files if is_artifact(name, wanted.artifacts)}
        links = links_of(source, wanted.readable)
        read = {"file": wanted.metric_file or "", "key" if metric.key else "pattern": metric.key or metric.pattern}
        read |= {"pattern": NO_METRIC} if not runs else {}
        timed = bool(runs) and is_timed(metric.name)
        seconds = self.seconds(runs, timed)
        sections: dict[str, dict[str, Any]] = {
            "task": {
                "name": task_name(source.folder),
                "metric": metric.name,
                "direction": direction,
                "timed": timed,
                "editable": self.editable,
                "read_only": [name for name in source.files if name not in others],
            },
            "budget": {
                "seconds": self.wanted.budget or seconds,
                "cost": seconds if runs else 0,
                "hard_factor": HARD_FACTOR,
                "hard_extra": HARD_EXTRA,
                "wall_factor": WALL_FACTOR,
                "memory_mb": max(LEAST_MEMORY_MB, round(peak * MEMORY_FACTOR)) if runs else machine_mb(),
                "device": "gpu" if self.device(runs) == "gpu" else "",
            },
            "score": {"kind": "printed", **read, **noise},
            "run": {
                "command": self.command,
                "seed_constant": self.seed if ":" in self.seed else "",
                "readable": [path for path in self.readable if path not in links.values()],
                "executable": executable,
                "score_command": wanted.score_command,
                "artifacts": wanted.artifacts,
                "score_files": wanted.score_files,
                "environment": _OFFLINE if any(path.startswith(HUB) for path in self.readable) else {},
                "links": links,
            },
        }
        lines = ["# Written by `metaloop task init --from`, from two runs of the command.", *_lines(sections)]
        lines += [line if timed else f"# {line}".rstrip() for line in _invariants(invariants)]
        return "\n".join([*lines, *(line for knob in knobs for line in _knob(knob))])


def machine_mb() -> int:
    """Three quarters of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 // 2**20


def _lines(sections: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sections of task.toml without empty values."""
    lines: list[str] = []
    for name, values in sections.items():
        known = {key: value for key, value in values.items() if value or key in ("read_only", "equals", "low", "high")}
        lines += [f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in known.items()), ""]
    return lines


def _invariants(numbers: Sequence[NamedNumber]) -> list[str]:
    """Constraints that no edit changes these numbers, by their names where these are short, plain and different."""
    names = [re.sub(r"\W+", "_", invariant.name, flags=re.ASCII)[:40] for invariant in numbers]
    sections = {}
    for number, (invariant, name) in enumerate(zip(numbers, names, strict=True), 1):
        name = name if name[0].isalpha() and names.count(name) == 1 else f"number_{number}"
        where = {"key" if invariant.key else "pattern": invariant.key or invariant.pattern}
        sections[f"constraints.{name}"] = {"kind": "printed", **where, "equals": invariant.last}
    return _lines(sections)


def _knob(knob: Ladder) -> list[str]:
    limits = {} if knob.kind == "choice" else {"low": knob.values[0], "high": knob.values[-1]}
    keys = {"kind": knob.kind, "values": knob.values, "at": knob.at, "role": knob.role, **limits, "file": knob.file}
    header, *lines = _lines({f"edits.{knob.name}": keys})
    return [f"{header}  # {knob.file}:{knob.line}", *lines]


def toml_value(value: object) -> str:
    """A value as TOML, from four items on with one item per line; JSON's escapes are valid in TOML, except for DEL."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{toml_value(name)} = {toml_value(entry)}" for name, entry in value.items()) + " }"
    if isinstance(value, list | tuple):
        items = [toml_value(item) for item in value]
        return f"[{', '.join(items)}]" if len(items) < 4 else "[\n" + "".join(f"    {item},\n" for item in items) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
