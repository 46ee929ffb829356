"""Shared by the commands that run studies: the study's folder, the plan before the start, and the drain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from analysis.wording import many
from arena import sandbox
from meta.cli import capacity, plan_words, resolve
from meta.cli.capacity import cores as cores
from meta.cli.capacity import workers_of as workers_of
from meta.cli.flags import PlayingFlags, StartFlags, StudyFlags
from meta.cli.options import duration, typed
from meta.cli.output import Output, key_values
from meta.cli.progress import Progress
from meta.cli.researcher_choice import ResearcherChoice
from meta.planned_work import PlannedWork
from programs.errors import NotComparable, UsageError
from programs.text import word_list

if TYPE_CHECKING:
    from pydantic import JsonValue

    from arena.study import Study
    from programs.program import Program
    from trainer.task import Task

Result = TypeVar("Result")
DEFAULT_TASK = "strokes"
SETUP_SECONDS = 6.0  # start of the workers and the data of a new study, wall seconds
SHARE_AT_WORK = 0.8  # of the workers' time; the rest is launching and recording (meta/plan.py: OVERHEAD)
COMMAND_SECONDS = 0.1  # start and end of a command's sandbox, wall seconds, not charged
WHOLE = "its command takes no budget, so a program with `screen` gives every candidate a full experiment"
RUN_TIME = word_list("no-sandbox max-usd max-tokens")
SET_AT_RUN_TIME = word_list("max_wall prices call_timeout patience calls_at_once")  # keys of --set
LAW_SECONDS = 0.003  # a simulated experiment with its records, wall seconds


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
        """The folder of the study to resume, or None for a new one."""
        if self.resume is not None:
            return resolve.study_folder(self.resume, out).resolve()
        for folder in (Path(self.study).expanduser(), resolve.STUDIES / self.study) if self.study else ():
            if (folder / resolve.MARK).is_file():
                return resolve.looked_at(folder.resolve(), out)
        return None

    def fresh(self, task: Task, out: Output) -> Path:
        """The folder of a new study; absolute, because workers and experiments have other working folders."""
        if not self.study:
            return resolve.fresh_folder(task.name, out).resolve()
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
            raise resolve.settings_differ(f"{resolve.shown(study.folder)} was created with a sandbox", sandbox.FLAG)
        for option, values in typed().items():
            made = study.config.typed.get(option)
            if option == "--set":
                values = [
                    one for one in values if one not in (made or ()) and one.partition("=")[0] not in SET_AT_RUN_TIME
                ]
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
        """A new study that stores its programs and the command's settings, so that --resume needs neither again.

        Raises UsageError where a run's budget is too small for one experiment on one of the tasks.
        """
        from arena.setup import StudySetup, beside
        from arena.study import Study

        first, *others = tasks
        budget = self.run_budget or first.run_budget
        further = beside(first, budget, others)
        for task, seconds in zip(tasks, (budget, *(each.run_budget for each in further)), strict=True):
            refuse_small(task, seconds, self.fixed_steps)
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
            further=further,
            model_config=self.researcher_choice.settled,
            typed=typed(),
        )
        return Study.create(self.fresh(first, out), setup)

    @property
    def sandbox(self) -> bool:
        return not self.no_sandbox

    def ready(self, out: Output, task: Task, study: Study | None, researches: bool = True) -> None:
        """Called before a study is created or started: raises unless experiments of ``task`` can and may run here, and
        the last check of a task with a command found no error. ``researches``: False if no researcher works.

        A study that was created without a sandbox may come from someone else: resuming it so needs the flag again.
        """
        if study is not None and not sandbox.holds(task, study.config.sandbox or self.no_sandbox):
            raise NotComparable(
                f"{resolve.shown(study.folder)} was created without a sandbox",
                hint=f"{sandbox.FLAG} resumes it without one; a new study has one",
            )
        sandbox.require(task, self.sandbox)
        if researches:
            self.researcher_choice.ready(study)
            self.researcher_choice.first_call(out, task, study)
        if study is None and task.run is not None:  # a study that is resumed has trained on it
            require_checked(out, task, self.sandbox)

    @property
    def devices(self) -> int:
        return self.devices_per_run or 1

    def workers_or_cores(self, tasks: Sequence[Task]) -> int:
        """Workers of a new study, one where a metric is a time. UsageError for more than that, or than fit here."""
        if timed := next((task.name for task in tasks if task.timed), ""):
            if (self.workers or 1) * self.devices > 1:
                why = f"{timed}: its metric is a time, so only one experiment runs at a time"
                raise UsageError(why, hint="leave out -j and --devices-per-run")
            return 1
        return workers_of(self.workers, self.devices)

    def at_once(self, study: Study | None, tasks: Sequence[Task]) -> tuple[int, int]:
        """(runs at a time, devices of each) of the study to resume, or of the new one."""
        return (study.config.workers, study.config.devices) if study else (self.workers_or_cores(tasks), self.devices)


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


def describe_runs(task: Task, runs: int, run_budget: float, workers: int, verify_seeds: int = 2) -> PlannedWork:
    """The plan of ``runs`` equal runs on one task, with the keys of ``meta.plan.Plan.describe``."""
    from arena.setup import RunCost

    cost = RunCost(task, run_budget, verify_seeds)
    seconds = cost.seconds(runs, None if verify_seeds else 0)
    return {
        "task": task.name,
        "runs": runs,
        "experiments_per_run": cost.experiments,
        "experiments": runs * cost.experiments,
        "run_budget_s": round(run_budget, 6),
        "device_seconds": round(seconds, 1),
        "workers": workers,
        "wall_seconds": round(seconds / min(workers, max(runs, 1)) / SHARE_AT_WORK + SETUP_SECONDS, 1),
        "price": "no cost: this machine, no model is called",
    }


def with_sandbox(plan: PlannedWork, task: Task, sandboxed: bool, devices: int = 1) -> PlannedWork:
    """The plan with its sandbox, its devices per run and the task's remarks; the wall time of a command or of a
    simulated task is corrected."""
    planned: PlannedWork = {**plan, "devices_per_run": devices, "sandbox": sandbox.said(task, sandboxed)}
    if task.run is not None:
        planned["wall_seconds"] = round(
            plan["wall_seconds"] + COMMAND_SECONDS * plan["experiments"] / plan["workers"], 1
        )
        if not task.scales:
            planned["of_the_task"] = WHOLE
    if not sandbox.runs_code(task):
        planned |= {"workers": 1, "wall_seconds": round(1.0 + LAW_SECONDS * plan["experiments"], 1)}
    return planned


def power_sentence(runs: int, pairs: int = 1, sd: float | None = None, unit: str = "", of: str = "per program") -> str:
    """The smallest difference between two arms of ``runs`` runs that Welch's test, one-sided 2.5% divided by ``pairs``,
    detects with 80% power: in SDs between the runs of one program, and in ``unit`` where ``sd`` is known. ``of``:
    whose runs these are.
    """
    from analysis.verdict.power import LEVEL, RunSample, detectable, in_sds

    sds = in_sds(runs, level=LEVEL / pairs)
    if sds is None:
        return "one run per program has no interval, so no difference can be detected"
    known = detectable(RunSample(sd, runs), RunSample(sd, runs), level=LEVEL / pairs) if sd else None
    size = f"{sds:.1f} SD" + (f" ({known:.2g} {unit}".rstrip() + ")" if known is not None else "")
    corrected = f", corrected for {pairs} pairs" if pairs > 1 else ""
    least = f"the test detects a difference of {size} between two programs with 80% power{corrected}"
    return f"with {many(runs, 'run')} {of}, {least} (SD: standard deviation between runs of one program)"


def power_over_tasks(tasks: int) -> str:
    """The smallest mean lead over ``tasks`` tasks that a t test, one-sided at 2.5%, detects with 80% power."""
    from analysis.verdict.power import RunSample, detectable

    least = detectable(RunSample(1.0, tasks), RunSample(0.0, 2))
    if least is None:
        return "one task has no interval, so no difference can be detected"
    return (
        f"confirmation over {tasks} new tasks: the test detects a mean lead of {least:.1f} SD with 80% power (SD: "
        "standard deviation of the lead between tasks)"
    )


def known_sd(study: Study | None) -> float | None:
    """The SD between runs of a study so far; None before there are enough runs."""
    from analysis.study import read_study
    from analysis.verdict.study_power import measured_sd

    if study is None or not study.state.runs:
        return None
    with read_study(study.folder, views=()) as con:
        return measured_sd(con)


def so_far(folder: Path, plan: PlannedWork) -> tuple[int, str, str]:
    """The runs of a study that have ended, how far it is, and how long the rest takes at their pace, in words."""
    from meta.live import LiveStudy
    from meta.live_rows import remaining

    study = LiveStudy.read(folder)
    ended, total = len(study.begun) - study.count("running"), plan_words.total_runs(plan)
    far = f"{ended} of {many(total, 'run')} ended, {duration(study.charged)} of device time charged to the runs"
    work = remaining(study)  # as `metaloop status` has it
    idle = max(1 - ended / total, 0.0) * plan["wall_seconds"] if total else plan["wall_seconds"]
    seconds = idle if work is None or work.seconds_left is None else work.seconds_left
    return ended, far, f"about {duration(seconds)}"


def announce(out: Output, plan: PlannedWork, folder: Path) -> None:
    """Print the plan and its cost on stderr, before anything starts; of a study that is resumed only what is left."""
    (ended, far, rest), runs = so_far(folder, plan), plan_words.total_runs(plan)
    if 0 < ended < runs:
        left = (runs - ended) / runs
        out.note(
            f"{far}; left: at most {many(runs - ended, 'run')}, about {duration(left * plan['device_seconds'])} of "
            f"device time, {rest} by the clock"
        )
    else:
        announce_whole(out, plan)
    if plan.get("models"):
        limits = plan_words.limits(plan)
        out.note(f"models: {plan['models']}, researcher {plan['researcher']}{f'; {limits}' if limits else ''}")
    if remark := capacity.crowd(plan):
        out.note(remark)
    if plan["sandbox"] in (sandbox.OPEN, sandbox.NEEDLESS):
        out.note(plan["sandbox"])


def announce_whole(out: Output, plan: PlannedWork) -> None:
    out.note(
        f"plan: {plan_words.all_runs(plan)}{', each' if plan_words.held_out_runs(plan) else ''} "
        f"{plan_words.where(plan)}, about "
        f"{many(plan_words.all_experiments(plan), 'experiment')}; {duration(plan['device_seconds'])} of device time to "
        f"be used, {duration(plan_words.charged(plan))} of it charged to the runs, about "
        f"{plan_words.wall(plan)}; {plan['price']}"
    )
    for key, sentence in (
        ("tells", "{tells}"),
        ("turns", "{turns}"),
        ("ideas", "ideas: {ideas}"),
        ("compared_with", "compared with {compared_with}"),
        ("of_the_task", "{task}: {of_the_task}"),
        ("from_study", "{from_study}"),
        ("knowledge", "one of the starting programs has ideas learnt on {knowledge}"),
        (
            "compared_with_learnt",
            "the search starts without what was learnt on other tasks; a program with ideas learnt on "
            "{compared_with_learnt} shows in the confirmation what that would give",
        ),
        ("variant", "at the end, champion and stock also run on a held-out task: {variant}"),
    ):
        if plan.get(key):
            out.note(sentence.format_map(plan))


def dry_run(out: Output, plan: PlannedWork) -> None:
    """``--dry-run``: the plan is the data; at a terminal it is shown in words, without its lists."""
    if out.mode == "person":
        out.show(key_values(plan_words.words(plan)))
        return
    left = {"plan"} if out.mode == "plain" else set()
    out.thing({key: value for key, value in plan.items() if key not in left})


def flags_at_end(webhook: str | None, apply: bool = False) -> str:
    """What a resumed command has to be told again. The address is a secret, so no log is to show it."""
    text = f"{' --apply' * apply}{' --webhook URL' * bool(webhook)}"
    return text + "  # URL: the address that you gave; it is not stored" * bool(webhook)


def drive(
    out: Output,
    folder: Path,
    command: str,
    plan: PlannedWork,
    work: Callable[[Progress], Result],
    last: bool = True,
    at_end: str = "",
) -> Result:
    """Run ``work`` with progress shown; a drained or killed command prints how to resume, with the flags ``at_end``.
    ``last``: the study ends with it, and is tidied up."""
    from arena.drain import Drained
    from arena.run_archive import compact

    runs = plan_words.total_runs(plan)
    goal: PlannedWork = {"runs": runs, "device_seconds": plan_words.charged(plan)}
    unsafe = sandbox.flag(plan.get("sandbox") != sandbox.OPEN)
    again = f"metaloop {command} --resume {resolve.typed(folder)}{unsafe}{at_end}"
    with Progress(out, folder, command, goal) as progress:
        try:
            result = work(progress)
        except Drained as error:
            error.hint, error.message = again, f"{error.message}; {so_far(folder, plan)[1]}"
            raise
        except KeyboardInterrupt:
            out.note(f"killed; finished work is kept; to resume: {again}")
            raise
    if not last:
        return result
    out.meanwhile("tidying up and preparing the result")
    if runs > 1:  # the repository of a single run is what one looks at next
        compact(folder)
    return result
