"""``metaloop task check`` and ``metaloop task measure``: test a task's contract, and measure its card."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from meta.cli.commands import verb
from meta.cli.flags import PlayingFlags
from meta.cli.options import argument, flag, only
from meta.cli.output import Output
from meta.cli.progress import ticker
from meta.cli.views import View, show

if TYPE_CHECKING:
    from trainer.experiment import Trainer
    from trainer.sandbox.launcher import Launcher
    from trainer.task import Task


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
    from trainer.cards.check import check as examine

    reference = _reference(task)
    with ticker(out, repeated=True) as progress, launcher_of(reference, playing.no_sandbox) as launcher:
        findings = examine(reference, launcher=launcher, knobs=knobs, progress=progress)
    show(out, [asdict(finding) for finding in findings], View("", hide=["hint", "edit", "gain", "measured"]))
    if any(finding.level == "error" for finding in findings):
        return 2
    if Path(reference).is_dir():
        out.next(*after_check(Path(reference), playing.no_sandbox))
    return 0


def after_check(folder: Path, no_sandbox: bool = False) -> list[str]:
    """How to go on with a task that passed: of a repository, with the program that it has."""
    from meta.cli import resolve
    from programs.errors import MetaloopError
    from trainer.commands.repository import read
    from trainer.sandbox import flag
    from trainer.task import Task

    name, loaded, own = resolve.typed(folder), Task.load(folder), list[str]()
    if loaded.run:
        with suppress(MetaloopError):  # too large a repository
            own = read(folder).for_agents
    program = resolve.typed(folder / (own[0] if own else "program.md")) if loaded.run else "my/program.md"
    made = [] if own else [f"metaloop program new {program}"]
    return [*made, f"metaloop improve {program} -t {name}{flag(not no_sandbox)} --budget 1h --dry-run"]


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
    from trainer.cards.measure import measure as carry_out
    from trainer.task import Task

    loaded = Task.load(_reference(task))
    with ticker(out) as progress, launcher_of(loaded, playing.no_sandbox) as launcher:
        card = carry_out(loaded, launcher=launcher, progress=progress, seeds=seeds)
    out.text("\n".join(card.lines()), item=card.to_json())
    if write:
        out.note(f"wrote {card.write(loaded.folder)}")


@contextmanager
def launcher_of(task: Task | str, unsafe: bool) -> Iterator[Launcher]:
    """The launcher of experiments. Raises EnvironmentProblem where the sandbox does not work.

    A task that cannot be loaded gets a plain launcher; the caller reports what is wrong with the task.
    """
    from arena.sandbox import require
    from programs.errors import MetaloopError
    from trainer.commands.launcher import CommandLauncher
    from trainer.experiment import launcher_of as made
    from trainer.task import Task

    loaded = None
    with suppress(MetaloopError):
        loaded = Task.load(task) if isinstance(task, str) else task
    if loaded:
        require(loaded, not unsafe)
    launcher = made(loaded, not unsafe) if loaded else CommandLauncher(not unsafe)
    try:
        yield launcher
    finally:
        launcher.close()


@contextmanager
def trainer_at(task: Task, unsafe: bool) -> Iterator[Trainer]:
    """A trainer of ``task`` outside any study, with data of its own that is thrown away."""
    from trainer.data import DataStore
    from trainer.laws.simulated import trainer_for
    from trainer.streams import Streams

    with tempfile.TemporaryDirectory() as folder, launcher_of(task, unsafe) as launcher:
        yield trainer_for(task, DataStore(task, Streams.from_seed(1), Path(folder) / "data"), launcher=launcher)


def _reference(text: str) -> str:
    return text if not text.startswith("~") else str(Path(text).expanduser())


def trains(task: Task, unsafe: bool) -> bool:
    """Whether the untouched script of a drawn task can be trained and scored at all."""
    from trainer.experiment import Spec

    with trainer_at(task, unsafe) as trainer:
        return trainer.run(Spec(task.baseline(), 1)).status == "ok"
