"""``metaloop task check`` and ``metaloop task measure``: test a task's contract, and measure its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from arena.work.sandbox import require
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import PlayingFlags
from meta.cli.options import argument, flag, only
from meta.cli.output import Output
from meta.cli.progress import ticker
from meta.cli.views import View, show
from programs.common.errors import MetaloopError
from trainer import experiment
from trainer.cards.check import check as find_faults
from trainer.cards.measure import measure as measure_card
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Launcher
from trainer.sandbox import flag as sandbox_flag
from trainer.streams import Streams
from trainer.task import Task

FINDINGS = View("", hide=["hint", "measured"])


@verb(
    ("metaloop task check my-task/", "tests each clause of the contract"),
    ("metaloop task check strokes --json", "the same for a script; exits with 2 on an error"),
)
def check(
    out: Output,
    task: Annotated[str, argument(metavar="NAME|DIR")],
    knobs: Annotated[
        bool | None,
        flag(
            "For a task with a command: try other values of each knob, to see whether the metric changes  "
            "[default: if it takes under 20 s, for two minutes].",
            "--knobs/--no-knobs",
        ),
    ],
    playing: Annotated[PlayingFlags, only("no_sandbox")],
) -> int:
    """Test each clause of a task's contract (docs/tasks.md). Tests data, budget, steps,
    scoring and edits. If the task has a command (see task init --from), runs its baseline
    three times, then bad and other values of its knobs (settings). Exits with 2 on an error."""
    try:
        loaded = Task.load(task)
    except MetaloopError:
        show(out, [asdict(finding) for finding in find_faults(task)], FINDINGS)  # this one
        return 2
    with ticker(out, repeated=True) as progress, launcher_of(loaded, playing.no_sandbox) as launcher:
        findings = find_faults(task, launcher=launcher, knobs=knobs, progress=progress)
    show(out, [asdict(finding) for finding in findings], FINDINGS)
    if any(finding.level == "error" for finding in findings):
        return 2
    if Path(task).expanduser().is_dir():
        option = f"-t {resolve.typed(loaded.folder)}{sandbox_flag(not playing.no_sandbox)}"
        entry = loaded.folder / "program.md"
        program = resolve.typed(entry) if entry.is_file() else "my/program.md"
        new = [] if entry.is_file() else [f"metaloop program new {program}"]
        out.next(*new, f"metaloop improve {program} {option} --budget 1h --dry-run")
    return 0


@verb(
    ("metaloop task measure strokes", "noise, cost, headroom and each edit's effect"),
    ("metaloop task measure my-task/ --write", "also saves my-task/card.json"),
)
def measure(
    out: Output,
    task: Annotated[str, argument(metavar="NAME|DIR")],
    seeds: Annotated[int, flag("Experiments with the baseline, the unchanged script.", "-n", min=2, default=8)],
    write: Annotated[bool, flag("Save card.json in the task's folder.")],
    playing: Annotated[PlayingFlags, only("no_sandbox")],
) -> None:
    """Measure a task by experiments. Prints the task's card: the noise between seeds, the cost
    of an experiment, the effect of each declared edit, and the headroom (the gain of the
    best edits together)."""
    loaded = Task.load(task)
    with ticker(out) as progress, launcher_of(loaded, playing.no_sandbox) as launcher:
        card = measure_card(loaded, launcher=launcher, progress=progress, seeds=seeds)
    out.text("\n".join(card.lines()), item=card.to_json())
    if write:
        out.note(f"wrote {card.write(loaded.folder)}")


def launcher_of(task: Task, unsafe: bool) -> closing[Launcher]:
    """The launcher of experiments, for a ``with``. Raises EnvironmentProblem where the sandbox does not work."""
    require(task, not unsafe)
    return closing(experiment.launcher_of(task, not unsafe))


@contextmanager
def trainer_at(task: Task, unsafe: bool) -> Iterator[Trainer]:
    """A trainer of ``task`` outside any study, with data of its own that is thrown away."""
    with tempfile.TemporaryDirectory() as folder, launcher_of(task, unsafe) as launcher:
        yield Trainer(task, DataStore(task, Streams.from_seed(1), Path(folder) / "data"), launcher=launcher)


def trains(task: Task, unsafe: bool) -> bool:
    """Whether the untouched script of a drawn task can be trained and scored at all."""
    with trainer_at(task, unsafe) as trainer:
        return trainer.run(Spec(task.baseline(), 1)).status == "ok"
