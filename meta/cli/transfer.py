"""``metaloop transfer``: run the same programs on several tasks, and compare their gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from arena.task_study import tasks_of
from meta.cli import launch, resolve, transfer_table
from meta.cli import webhook as webhooks
from meta.cli.flags import ModelFlags, PlayingFlags, RunBudgetFlag, StartFlags, StudyFlags, WebhookFlag
from meta.cli.launch import LaunchSettings
from meta.cli.options import argument, flag, only, verb
from meta.cli.output import Output
from meta.cli.researcher_choice import ResearcherChoice
from meta.planned_work import PlannedWork
from programs.errors import Corrupt, NotComparable, UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from programs.program import Program
    from trainer.task import Task

RUNS = 8
COMMAND = "transfer"


@verb(
    ("metaloop transfer my/program.md local --task strokes,tinylm", "strokes is the training task"),
    ("metaloop transfer a.md b.md -t strokes,my/task --dry-run", "the plan and its cost"),
    ("metaloop transfer studies/NAME", "the tables of a finished study"),
)
def transfer(
    out: Output,
    programs: Annotated[tuple[str, ...], argument(metavar="[PROGRAM|STUDY]...", nargs=-1)],
    which: Annotated[StudyFlags, only("study", "resume")],
    task: Annotated[
        str | None, flag("The tasks; the first is the training task, the others are held out.", "-t", metavar="TASK,…")
    ],
    run_budget: RunBudgetFlag,
    seeds: Annotated[int | None, flag(f"Runs per program and task  [default: {RUNS}].", "-n", min=1)],
    bare: Annotated[bool, flag("Also run each program without its idea list.", "--bare/--no-bare", default=True)],
    playing: PlayingFlags,
    models: ModelFlags,
    webhook: WebhookFlag,
    start: StartFlags,
) -> None:
    """Test whether a program that wins on its training task also wins on held-out tasks. Each
    PROGRAM runs on every task, also without its idea list. Stock (the plain keep-if-better
    loop) runs twice on every task (an A/A test). -b is the budget on the first task; on the
    other tasks it is scaled to about the same number of experiments. Prints the gains on
    each task and their ratios to stock's gain.

    With a STUDY that has runs on several tasks, prints its tables and runs nothing."""
    from arena.transfer import play_transfer

    looked_at = finished(programs, task, which, start, out)
    if looked_at is not None:
        transfer_table.present(out, looked_at)
        return
    wanted = launch.load_tasks(task)
    settings = LaunchSettings.of(
        replace(which, run_budget=run_budget), playing, start, ResearcherChoice.of(models, yes=start.yes)
    )
    folder = settings.existing(out)
    study = go_on(folder, settings, wanted, programs) if folder else None
    own, runs, bare = asked_of(study, programs, seeds, bare)
    if study is not None:
        wanted = [on.task for on in tasks_of(study)]
    refuse_one(wanted)
    if study is None:
        settings.researcher_choice.refuse_inert(out, own, wanted)
    plan = plan_of(wanted, own, runs, bare, settings, study)
    if settings.dry_run:
        launch.dry_run(out, plan)
        return
    for each in wanted:
        settings.ready(out, each, study)
    if study is None:
        study = settings.create(out, COMMAND, wanted, own, {"seeds": runs, "bare": bare})
    launch.announce(out, plan, study.folder)
    going, begun = plan.copy(), study
    going["run_budget_s"] = plan["device_seconds"] / plan["runs"]  # for the progress: the mean over tasks
    at_end = launch.flags_at_end(webhook)
    launch.drive(
        out, begun.folder, COMMAND, going, lambda shown: play_transfer(begun, own, runs, bare, shown), at_end=at_end
    )
    transfer_table.present(out, begun.folder)
    webhooks.send_rows(out, webhook, COMMAND, begun.folder, webhooks.ALL_STANDINGS)


def finished(
    programs: Sequence[str], task: str | None, which: StudyFlags, start: StartFlags, out: Output
) -> Path | None:
    """The study to show without running: named in place of a program, or by -s without a program and a task."""
    named = which.study
    if task is None and which.resume is None and not start.dry_run:
        if not programs and named:
            return resolve.study_folder(named, out)
        if len(programs) == 1 and named is None and is_study(programs[0]):
            return resolve.study_folder(programs[0], out)
    return None


def is_study(text: str) -> bool:
    return any((path / resolve.MARK).is_file() for path in (Path(text).expanduser(), resolve.STUDIES / text))


def refuse_one(tasks: Sequence[Task]) -> None:
    """Raise UsageError unless there are two tasks or more, of different names."""
    from meta.reserve import refuse_twice

    if len(tasks) < 2:
        hint = "metaloop transfer my/program.md --task strokes,tinylm; one task alone: metaloop match"
        raise UsageError("transfer needs two or more tasks", hint=hint)
    refuse_twice(tasks)


def go_on(folder: Path, settings: LaunchSettings, wanted: Sequence[Task], programs: Sequence[str]) -> Study:
    """Open a study of this command to resume it. Raises NotComparable where the flags contradict its settings."""
    from arena.study import Study

    study = Study.open(folder)
    if study.config.command != COMMAND:
        raise NotComparable(
            f"{resolve.shown(folder)} was created by metaloop {study.config.command}",
            hint=f"metaloop {COMMAND} {resolve.typed(folder)} shows its results on several tasks",
        )
    settings.check(study)
    known = [study.config.task_id, *(other.task_id for other in study.config.further)]
    if wanted and [task.task_id for task in wanted] != known:
        raise resolve.settings_differ(f"{resolve.shown(folder)} was created with other tasks", "--task")
    requested = {program.program_id for program in resolve.programs(programs)}
    if requested - {program.program_id for program in recorded(study)}:
        raise resolve.settings_differ(f"{resolve.shown(folder)} was created with other programs", "the programs")
    return study


def recorded(study: Study) -> list[Program]:
    from programs.program import Program

    return [Program.parse(text, name) for name, text in study.config.programs]


def asked_of(
    study: Study | None, programs: Sequence[str], seeds: int | None, bare: bool
) -> tuple[list[Program], int, bool]:
    """(programs, runs per program and task, whether also without ideas): of the study, else from the flags."""
    if study is not None:
        plan = study.config.plan
        runs, also = plan.get("seeds"), plan.get("bare")
        if type(runs) is not int or runs < 1 or type(also) is not bool:
            path = study.folder / resolve.MARK
            raise Corrupt(f"{path}: [plan] seeds or bare is invalid", hint="restore study.toml from a copy")
        return recorded(study), seeds or runs, also
    if not programs:
        raise UsageError("name at least one program", hint="metaloop transfer my/program.md --task strokes,tinylm")
    own = resolve.programs(programs)
    if len({program.program_id for program in own}) < len(own):
        raise UsageError("a program is named twice", hint="name each once; stock is added twice (A/A)")
    return own, seeds or RUNS, bare


def plan_of(
    tasks: Sequence[Task], own: Sequence[Program], runs: int, bare: bool, settings: LaunchSettings, study: Study | None
) -> PlannedWork:
    """The cost per task and in all, and the power."""
    from arena.transfer import entered_on

    seconds = study.config.run_budget if study else settings.run_budget or tasks[0].run_budget
    workers, devices = settings.at_once(study, tasks)
    sandboxed = study.config.sandbox if study else settings.sandbox
    researcher = study.config.researcher if study else settings.researcher_choice.researcher
    parts, skipped = [], []
    for task in tasks:
        who = entered_on(task, researcher, own, bare)
        budget = seconds / tasks[0].cost_seconds * task.cost_seconds
        part = launch.describe_runs(task, len(who.entries) * runs, budget, workers)
        parts.append(launch.with_sandbox(part, task, sandboxed, devices))
        skipped += [f"{a.name} behaves like {b.name} on {task.name}" for a, b in who.alike]
    whole = parts[0] | {"task": ", ".join(task.name for task in tasks), "home": tasks[0].name}
    whole["runs"] = sum(part["runs"] for part in parts)
    whole["experiments"] = sum(part["experiments"] for part in parts)
    whole["device_seconds"] = sum(part["device_seconds"] for part in parts)
    whole["wall_seconds"] = round(sum(part["wall_seconds"] for part in parts), 1)
    if len({part["runs"] for part in parts}) == 1:
        whole["run_budgets_s"] = {part["task"]: part["run_budget_s"] for part in parts}
    whole["programs"] = ", ".join(
        [*(program.name for program in own), "stock (twice)", *(["each also without its ideas, if it has any"] * bare)]
    )
    whole["runs_by_task"] = ", ".join(f"{part['task']} {part['runs']}" for part in parts)
    whole["seconds_by_task"] = ", ".join(f"{part['task']} {part['device_seconds']:.0f}" for part in parts)
    if skipped:
        whole["not_run_twice"] = "; ".join(skipped)
    whole |= settings.researcher_choice.bill(tasks[0], whole["experiments"], study)
    return whole | {"tells": f"each task: {launch.power_sentence(runs)}"}
