"""Shared by the commands that run studies: the study's folder, the plan before the start, and the drain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from analysis.wording import duration, many
from arena import sandbox
from arena.setup import VERIFY_SEEDS, beside, require_free
from meta.cli import capacity, resolve
from meta.cli.capacity import cores as cores
from meta.cli.capacity import workers_of as workers_of
from meta.cli.consent import consent
from meta.cli.flags import PlayingFlags, StartFlags, StudyFlags
from meta.cli.options import typed
from meta.cli.output import Column, Output, brief
from meta.cli.progress import Progress
from meta.cli.researcher_choice import LIMITS, ResearcherChoice
from meta.kinds.cost import Cost, Work, looks_of
from programs.errors import NotComparable, UsageError
from programs.text import word_list
from trainer.sandbox import FLAG, flag

if TYPE_CHECKING:
    from pydantic import JsonValue

    from arena.study import Study
    from programs.program import Program
    from trainer.task import Task

Result = TypeVar("Result")
DEFAULT_TASK = "strokes"
WHOLE = "its command takes no budget, so a program with `screen` gives every candidate a full experiment"
RUN_TIME = word_list("no-sandbox max-usd")
MODELS = word_list("""
    models researcher context_tokens reply_tokens call_timeout_s patience_s calls_at_once max_wall_s
""")  # details that are said before the start
WORKS = (
    Column("task", wrap=True),
    Column("use"),
    Column("runs", right=True),
    Column("experiments", "of a run: experiments", right=True),
    Column("run_budget_s", "budget", right=True, show=duration),
    Column("device_seconds", "device time", right=True, show=duration),
)


@dataclass(frozen=True)
class LaunchSettings(StudyFlags, PlayingFlags, StartFlags):
    """The flags of a command that starts or resumes a study; None where left out."""

    researcher_choice: ResearcherChoice = field(default_factory=ResearcherChoice)

    @classmethod
    def of(
        cls,
        which: StudyFlags,
        playing: PlayingFlags,
        start: StartFlags,
        researcher_choice: ResearcherChoice | None = None,
    ) -> LaunchSettings:
        choice = researcher_choice or ResearcherChoice(yes=start.yes)
        own = choice.of_own_study(not playing.no_sandbox)
        return cls(**vars(which), **vars(playing), **vars(start), researcher_choice=own)

    def existing(self, out: Output) -> Path | None:
        """The folder of the study to resume, or None for a new one. Raises UsageError where that has other files."""
        if self.resume is not None:
            return resolve.study_folder(self.resume, out).resolve()
        for folder in (Path(self.study).expanduser(), resolve.STUDIES / self.study) if self.study else ():
            if (folder / resolve.MARK).is_file():
                return resolve.looked_at(folder.resolve(), out)
        if self.study:
            require_free(Path(self.study).expanduser().resolve())
        return None

    def fresh(self, task: Task, out: Output) -> Path:
        """The folder of a new study; absolute, because workers and experiments have other working folders."""
        if not self.study:
            folder = resolve.unused_folder(task.name)
            out.note(f"study: {folder}")
            return folder.resolve()
        folder = Path(self.study).expanduser().resolve()
        beside = (
            "" if "/" in self.study else f" (in the current folder; -s {resolve.STUDIES / self.study}: with the others)"
        )
        out.note(f"study: {resolve.placed(folder)}{beside}")
        return folder

    def check(self, study: Study, *more: str) -> None:
        """Raise NotComparable where an option differs from those that the study to resume was created with; those of
        RUN_TIME and ``more`` may differ. The option ``""`` is the command with its arguments, which may be left out."""
        but = (*RUN_TIME, *more)
        study.agree()
        if self.no_sandbox and study.config.sandbox and sandbox.runs_code(study.task):
            raise resolve.settings_differ(f"{resolve.shown(study.folder)} was created with a sandbox", FLAG)
        for option, values in typed().items():
            made = study.config.typed.get(option)
            if option == "--set":
                values = [one for one in values if one not in (made or ()) and one.partition("=")[0] not in LIMITS]
                option, made = f"--set {values[0].partition('=')[0]}" if values else option, []
            if (option or values[1:]) and option[2:] not in but and values != made:
                what = option or " ".join(values[1:])
                raise resolve.settings_differ(
                    f"{resolve.shown(study.folder)} is resumed with its own settings; {what} would change nothing", what
                )

    def create(
        self,
        out: Output,
        command: str,
        tasks: Sequence[Task],
        programs: Sequence[Program],
        plan: Mapping[str, JsonValue],
    ) -> Study:
        """A new study that stores its programs and the command's settings, so that --resume needs neither again."""
        from arena.setup import StudySetup
        from arena.study import Study

        first, *others = tasks
        budget = self.run_budget or first.run_budget
        setup = StudySetup(
            command,
            first,
            budget,
            workers=self.workers_or_cores(tasks),
            devices=self.devices,
            seed=self.seed,
            fixed_steps=self.fixed_steps,
            researcher=self.researcher_choice.researcher,
            plan=plan,
            programs=programs,
            sandbox=self.sandbox,
            further=beside(first, budget, others),
            model_config=self.researcher_choice.settled,
            typed=typed(),
        )
        return Study.create(self.fresh(first, out), setup)

    @property
    def sandbox(self) -> bool:
        return not self.no_sandbox

    def ready(self, out: Output, tasks: Sequence[Task], study: Study | None, researches: bool = True) -> None:
        """Called before a study is created or started: raises unless experiments of the ``tasks`` can and may run here,
        and the last check of each with a command found no error. ``researches``: False if no researcher works."""
        self.require_sandbox(tasks, study)
        if study is not None:
            consent(study.folder, study.config, self.yes, sandboxed=study.config.sandbox)
        if researches:
            self.researcher_choice.ready(study)
            self.researcher_choice.first_call(out, tasks[0], study)
        for task in tasks if study is None else ():  # a study that is resumed has trained on them
            if task.run is not None:
                require_checked(out, task, self.sandbox)

    def require_sandbox(self, tasks: Sequence[Task], study: Study | None) -> None:
        """Raise unless the sandbox that the study or the user wants can start here.

        A study that was created without a sandbox may come from someone else: resuming it so needs the flag again.
        """
        for task in tasks:
            if study is not None and not sandbox.holds(task, study.config.sandbox or self.no_sandbox):
                raise NotComparable(
                    f"{resolve.shown(study.folder)} was created without a sandbox",
                    hint=f"{FLAG} resumes it without one; a new study has one",
                )
            sandbox.require(task, self.sandbox)

    def show_plan(
        self,
        out: Output,
        cost: Cost,
        tasks: Sequence[Task],
        study: Study | None,
        *lists: str,
        researches: bool = True,
    ) -> None:
        """``--dry-run``: print the plan, then refuse what the command would refuse here, except for what it asks or
        tries first. ``lists``: details that are tables."""
        dry_run(out, cost, *lists)
        self.require_sandbox(tasks, study)
        if researches:
            self.researcher_choice.require_able(study)

    @property
    def devices(self) -> int:
        return self.devices_per_run or 1

    def workers_or_cores(self, tasks: Sequence[Task]) -> int:
        """Workers of a new study, one where a metric is a time. UsageError for more than that, or than fit here."""
        if timed := next((task.name for task in tasks if task.timed), ""):
            if (self.workers or 1) * self.devices > 1:
                why = f"{timed}: its metric is a time, so only one experiment runs at a time"
                raise UsageError(why, hint="leave out -j and devices_per_run")
            return 1
        return workers_of(self.workers, self.devices)

    def at_once(self, study: Study | None, tasks: Sequence[Task]) -> tuple[int, int]:
        """(runs at a time, devices of each) of the study to resume, or of the new one."""
        return (study.config.workers, study.config.devices) if study else (self.workers_or_cores(tasks), self.devices)

    def cost(
        self, study: Study | None, tasks: Sequence[Task], works: Sequence[Work], seeds: int = VERIFY_SEEDS, **more: Any
    ) -> Cost:
        """Of the study to resume, or of the new one; the first ``works`` are those on ``tasks``. ``seeds``: with which
        each final script is trained. Raises UsageError where a run's budget is too small for one experiment on a task.
        """
        for task, work in zip(tasks if study is None else (), works, strict=False):
            refuse_small(task, work.run_budget_s, self.fixed_steps)
        workers, devices = self.at_once(study, tasks)
        made = Cost.of(tasks[0], works, workers, devices, study.config.sandbox if study else self.sandbox, **more)
        made = replace(made, looks=looks_of(tasks, works, seeds, made.harvest))
        unscaled = tasks[0].run is not None and not tasks[0].scales
        return made.saying(screens=f"{tasks[0].name}: {WHOLE}" * unscaled)


def require_checked(out: Output, task: Task, sandboxed: bool) -> None:
    """Raise TaskError where a task with a command fails `metaloop task check`; the cheap part of it runs if need be."""
    from trainer.commands.check import require_checked as require

    require(task, sandboxed, out.note)


def refuse_small(task: Task, run_budget: float, fixed_steps: bool) -> None:
    """Raise UsageError where a run's budget is too small for the baseline's experiment."""
    cost = task.steps * task.seconds_per_step if fixed_steps else task.cost_seconds
    if run_budget < cost * (1 - 1e-9):
        raise UsageError(
            f"a run budget of {run_budget:g} s is too small for an experiment of {task.name}, which takes {cost:.3g} s",
            hint=f"--run-budget {cost * 2:.2g}s or more; the task's default is {task.run_budget:.3g}s",
        )


def load_task(text: str | None) -> Task:
    """The task of ``--task`` (a name, a folder or a member of a family: ``tabular:7``), or the default task."""
    from trainer.variants import tasks_of

    task, *others = tasks_of(text or DEFAULT_TASK)
    if others:
        raise UsageError(f"{text}: one task is needed, these are {1 + len(others)}", hint=f"--task {task.folder}")
    return task


def load_tasks(text: str | None) -> list[Task]:
    """The tasks of a comma-separated list, members of families included; empty where it was left out."""
    from trainer.variants import tasks_of

    return [task for name in resolve.listed(text) for task in tasks_of(name)]


@dataclass(frozen=True)
class SoFar:
    """How far the work of a command is. ``device_seconds``: what is left; ``said``: how far, in words."""

    begun: int
    ended: int
    device_seconds: float
    wall_seconds: float
    said: str


def so_far(folder: Path, command: str, cost: Cost) -> SoFar:
    """Of an ablation only the runs of one that has not ended: the study may have others."""
    from meta.ui.live import LiveStudy
    from meta.ui.status import remaining

    study = LiveStudy.read(folder)
    begun = study.begun
    if command == "ablate":
        matches = [one for one in study.matches.values() if one.purpose == "ablation"]
        arms = {arm.arm_id for one in matches if one.match_id not in study.ended_matches for arm in one.arms}
        begun = [run for run in begun if run.started and run.started.arm_id in arms]
    under_way = [run.charged for run in begun if run.state == "running"]
    ended, charged = len(begun) - len(under_way), sum(run.charged for run in begun)
    left = max(1 - ended / max(cost.runs, 1), 0.0)
    device = max(left * cost.device_seconds - sum(under_way), 0.0)
    wall = device / cost.device_seconds * cost.wall_seconds if cost.device_seconds else 0.0
    work = remaining(study) if command != "ablate" else None  # as `metaloop status` has it
    if work is not None and work.seconds_left is not None:
        wall = work.seconds_left
    said = f"{ended} of {many(cost.runs, 'run')} ended, {duration(charged)} of device time charged to the runs"
    return SoFar(len(begun), ended, device, wall, said)


def announce(out: Output, cost: Cost, folder: Path, command: str) -> None:
    """Print the cost on stderr, before anything starts; of what is resumed only what is left."""
    at = so_far(folder, command, cost)
    if at.begun and at.ended < cost.runs:
        left = f"{many(cost.runs - at.ended, 'run')}, about {duration(at.device_seconds)} of device time"
        out.note(f"{at.said}; left: at most {left}, about {duration(at.wall_seconds)} by the clock")
    else:
        out.note(
            f"plan: {many(cost.runs, 'run')}, about {many(cost.experiments, 'experiment')}; "
            f"{duration(cost.device_seconds)} of device time to be used, {duration(cost.charged)} of it charged to the "
            f"runs, about {capacity.wall(cost)}; {cost.facts['price']}"
        )
        for name, text in cost.facts.items():
            if name != "price":
                out.note(f"{name.replace('_', ' ')}: {text}")
        if cost.looks:
            out.note(f"looks: {cost.of_looks}")
    if "models" in cost.details:
        known = [name for name in cost.details if name in MODELS]
        out.note(", ".join(f"{name} {brief(cost.details[name])}" for name in known))
    if remark := capacity.crowd(cost):
        out.note(remark)
    if cost.details["sandbox"] in (sandbox.OPEN, sandbox.NEEDLESS):
        out.note(cost.details["sandbox"])


def dry_run(out: Output, cost: Cost, *lists: str) -> None:
    """The cost is the data."""
    whole = cost.record()
    if out.mode == "json":
        out.json(whole)
        return
    out.rows(whole.pop("works"), WORKS)
    for name in ("stages", *lists):
        if rows := whole.pop(name, None):
            out.text(f"\n{name.replace('_', ' ')}:")
            out.rows(rows, [Column(key, wrap=True) for key in rows[0]])
    out.text("")
    shown = {key: duration(whole[key]) for key in ("device_seconds", "charged_seconds")}
    said = {key: cost.of_looks if key == "looks" else value for key, value in whole.items() if key != "plan"}
    out.thing(said, shown={**shown, "wall_seconds": capacity.wall(cost)})


def drive(
    out: Output,
    folder: Path,
    command: str,
    cost: Cost,
    work: Callable[[Progress], Result],
    at_end: str = "",
) -> Result:
    """Run ``work`` with progress shown; a drained or killed command prints how to resume. ``at_end``: further words of
    such a command. A study that has ended is tidied up."""
    from arena.drain import Drained
    from arena.run_archive import compact

    goal = {"runs": cost.runs, "device_seconds": cost.charged}
    unsafe = flag(cost.details["sandbox"] != sandbox.OPEN)
    again = f"metaloop {command} --resume {resolve.typed(folder)}{unsafe}{at_end}"
    with Progress(out, folder, command, goal) as progress:
        try:
            result = work(progress)
        except Drained as error:
            known = so_far(folder, command, cost)
            error.hint = again
            error.message += f"; {known.said}" if known.begun else ""  # trainings without a run say how far they are
            raise
        except KeyboardInterrupt:
            out.note(f"killed; finished work is kept; to resume: {again}")
            raise
    out.meanwhile("tidying up and preparing the result")
    if cost.runs > 1:  # the repository of a single run is what one looks at next
        compact(folder)
    return result
