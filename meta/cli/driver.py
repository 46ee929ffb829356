"""The two ways into a study of any kind: `start` a new one, and `resume` one from its folder.

Both check, announce, play and show in the same order. What differs between kinds is in `meta.kinds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.wording import duration, many
from arena.study.run_archive import compact
from arena.study.settings import StudyConfig
from arena.study.stop import Drained
from arena.study.study import Study
from arena.work import sandbox
from inner_loop.researchers.description import describe
from inner_loop.run_context import ModelConfig
from meta.cli import resolve
from meta.cli.consent import consent
from meta.cli.flags import EndFlags, StartFlags
from meta.cli.model_options import ask_consent
from meta.cli.new_study import wall, workers_on
from meta.cli.output import Column, Output, brief
from meta.cli.progress import Progress
from meta.cli.study_result import apply_study, refuse_early
from meta.kinds.contract import KINDS, Draft, StudyKind, kind_of, named_kind
from meta.kinds.cost import Cost
from meta.kinds.plans import Plan
from meta.kinds.study_tasks import StudyTasks
from meta.ui.live import LiveStudy
from meta.ui.status import remaining
from programs.common.errors import NotComparable
from trainer.commands.check import require_checked
from trainer.sandbox import FLAG, flag
from trainer.task import Task

WORKS = (
    Column("task", wrap=True),
    Column("use"),
    Column("runs", right=True),
    Column("experiments", "of a run: experiments", right=True),
    Column("run_budget_s", "budget", right=True, show=duration),
    Column("device_seconds", "device time", right=True, show=duration),
)
NOTHING_AFTER = EndFlags()
Work = tuple[StudyKind[Plan], Plan]


def start(out: Output, draft: Draft[Plan], folder: Path, flags: StartFlags, ending: EndFlags = NOTHING_AFTER) -> None:
    """Create the drafted study in ``folder`` and play it to its end; with ``--dry-run`` print its plan and cost. Where
    the folder has a study already, the work is added to it."""
    kind, config, plan = draft.kind, draft.config, draft.plan
    tasks = StudyTasks.of(config)
    refuse_early(ending, kind, tasks.training[0])
    cost = kind.cost(config, plan).with_facts(**draft.facts)
    for remark in draft.remarks:
        out.note(remark)
    if flags.dry_run:
        show_cost(out, cost)
        require_able(config, kind, tasks.every)
        return
    is_new = not (folder / resolve.MARK).is_file()
    check_before_start(out, folder, config, kind, tasks.every, flags.yes, is_new=is_new)
    if is_new:
        out.note(f"study: {resolve.placed(folder)}")
        study = Study.create(folder, kind.settle(config))
    else:
        study = opened(folder)
        study.agree()
    drive(out, study, (kind, plan), cost, ending)


def resume(
    out: Output,
    folder: Path,
    *,
    limits: ModelConfig,
    workers: int | None,
    no_sandbox: bool,
    yes: bool,
    ending: EndFlags,
) -> None:
    """Play what is left of the study in ``folder``, whatever its kind, and show its result. ``limits``: those of models
    that are set replace the study's; ``workers``: too, unless None."""
    study = opened(folder)
    kind = kind_of(study.config)
    draft = kind, kind.read_plan(study.config)
    tasks = StudyTasks.of(study.config)
    refuse_early(ending, kind, tasks.training[0])
    work = unfinished_work(study, draft)
    if work is None:
        out.note(f"{resolve.shown(folder)} has already finished; this is its result")
        show_result(out, study, draft, ending)
        return
    study.agree()
    require_same_sandbox(study, no_sandbox)
    update: dict[str, object] = {"llm": study.config.llm.with_limits(limits)}
    if workers is not None:
        update["workers"] = workers_on(tasks.training, workers, study.config.devices)
    study.config = study.config.model_copy(update=update)
    check_before_start(out, folder, study.config, work[0], tasks.every, yes, is_new=False)
    study.config.dump(folder / resolve.MARK)
    drive(out, study, work, work[0].cost(study.config, work[1]), ending)


def opened(folder: Path) -> Study:
    study = Study.open(folder)
    study.look()
    return study


def unfinished_work(study: Study, own: Work) -> Work | None:
    """What is left to play: of the study itself, else what was added to it and has not ended; None where all has
    ended."""
    if not own[0].has_finished(study):
        return own
    added = ((kind, kind.added_to(study)) for kind in map(named_kind, KINDS.names))
    return next(((kind, plan) for kind, plan in added if plan is not None), None)


def require_same_sandbox(study: Study, no_sandbox: bool) -> None:
    """Raise NotComparable where a study is to be resumed with another sandbox than it was created with. One without a
    sandbox may come from someone else: resuming it so needs the flag again."""
    name, config = resolve.shown(study.folder), study.config
    if no_sandbox and config.sandbox and sandbox.runs_code(study.task):
        raise NotComparable(f"{name} was created with a sandbox", hint=f"leave out {FLAG} to resume it")
    if not (no_sandbox or sandbox.holds(study.task, config.sandbox)):
        hint = f"{FLAG} resumes it without one; a new study has one"
        raise NotComparable(f"{name} was created without a sandbox", hint=hint)


def check_before_start(
    out: Output,
    folder: Path,
    config: StudyConfig,
    kind: StudyKind[Plan],
    tasks: Sequence[Task],
    yes: bool,
    is_new: bool,
) -> None:
    """Raise unless experiments on the tasks can and may run here and the researcher answers. The user has to agree, at
    a terminal or with ``yes``, to what may cost money, and to code that only a study from elsewhere names."""
    require_able(config, kind, tasks)
    if not is_new:
        consent(folder, config, yes, sandboxed=config.sandbox)
    if kind.has_researcher:
        ask_consent(config.researcher, config.llm, sandboxed=config.sandbox, yes=yes)
        describe(config.researcher).try_once(tasks[0], config.llm, config.sandbox, out.note)
    if is_new:  # a study that is resumed has trained on its tasks
        for task in tasks:
            if task.run is not None:
                require_checked(task, config.sandbox, out.note)


def require_able(config: StudyConfig, kind: StudyKind[Plan], tasks: Sequence[Task]) -> None:
    """Raise what a command would raise that is not a dry run, except for what it asks or tries first."""
    for task in tasks:
        sandbox.require(task, config.sandbox)
    if kind.has_researcher:
        describe(config.researcher).preflight(config.llm, config.sandbox)


def drive(out: Output, study: Study, work: Work, cost: Cost, ending: EndFlags) -> None:
    """Announce, play, show. A study that was stopped or killed prints how to resume it."""
    kind, plan = work
    announce(out, cost, study.folder, kind)
    unsafe = flag(cost.details["sandbox"] != sandbox.OPEN)
    command = f"metaloop resume {resolve.typed(study.folder)}{unsafe}{ending.words}"
    with Progress(out, study.folder, kind.name) as progress:
        try:
            kind.play(study, plan, progress)
        except Drained as error:
            done = so_far(study.folder, kind, cost)
            error.hint = command
            error.message += f"; {done.line}" if done.begun else ""  # trainings without a run say how far they are
            raise
        except KeyboardInterrupt:
            out.note(f"killed; finished work is kept; to resume: {command}")
            raise
    out.meanwhile("tidying up and preparing the result")
    if cost.runs > 1:  # the repository of a single run is what one looks at next
        compact(study.folder)
    show_result(out, study, work, ending)


def show_result(out: Output, study: Study, work: Work, ending: EndFlags) -> None:
    """Show what came of a study, apply it if that was asked for, and list the commands that go on from it."""
    kind, plan = work
    following = kind.result(out, study, plan, applies=ending.apply)
    first = apply_study(out, study, plan, ending.data_noise is not None) if ending.apply else []
    if first or following:
        out.next(*first, *following)


@dataclass(frozen=True)
class SoFar:
    """How far the work of a study is: runs that began and ended; device-seconds and wall seconds that are left; a line
    about what has ended."""

    begun: int
    ended: int
    device_seconds: float
    wall_seconds: float
    line: str


def so_far(folder: Path, kind: StudyKind[Plan], cost: Cost) -> SoFar:
    """Of work that is added to a study, only the runs of its matches that have not ended."""
    study = LiveStudy.read(folder)
    begun = kind.runs_of(study)
    under_way = [run.charged for run in begun if run.state == "running"]
    ended, charged = len(begun) - len(under_way), sum(run.charged for run in begun)
    left = max(1 - ended / max(cost.runs, 1), 0.0)
    device = max(left * cost.device_seconds - sum(under_way), 0.0)
    wall = device / cost.device_seconds * cost.wall_seconds if cost.device_seconds else 0.0
    planned = None if kind.goes_into_existing else remaining(study)  # as `metaloop status` has it
    if planned is not None and planned.seconds_left is not None:
        wall = planned.seconds_left
    line = f"{ended} of {many(cost.runs, 'run')} ended, {duration(charged)} of device time charged to the runs"
    return SoFar(len(begun), ended, device, wall, line)


def announce(out: Output, cost: Cost, folder: Path, kind: StudyKind[Plan]) -> None:
    """Print the cost on stderr before anything starts; of what is resumed only what is left."""
    done = so_far(folder, kind, cost)
    if done.begun and done.ended < cost.runs:
        left = f"{many(cost.runs - done.ended, 'run')}, about {duration(done.device_seconds)} of device time"
        out.note(f"{done.line}; left: at most {left}, about {duration(done.wall_seconds)} by the clock")
    else:
        out.note(
            f"plan: {many(cost.runs, 'run')}, about {many(cost.experiments, 'experiment')}; "
            f"{duration(cost.device_seconds)} of device time to be used, {duration(cost.charged)} of it charged to the "
            f"runs, about {wall(cost)}"
        )
        for name, text in cost.facts.items():
            out.note(f"{name.replace('_', ' ')}: {text}")
        for looks in cost.record().get("looks", ()):
            out.note(", ".join(f"{name} {brief(value)}" for name, value in looks.items()))
    if "models" in cost.details:
        out.note(f"models: {cost.details['models']}")
    if cost.details["sandbox"] in (sandbox.OPEN, sandbox.NEEDLESS):
        out.note(cost.details["sandbox"])


def show_cost(out: Output, cost: Cost) -> None:
    """What ``--dry-run`` prints: the work on each task, tables of the kind, then all facts."""
    record = cost.record()
    if out.mode == "json":
        out.json(record)
        return
    out.rows(record.pop("works"), WORKS)
    looks = record.pop("looks", ())
    tables = [name for name, value in record.items() if isinstance(value, list) and value]
    for name in tables:
        rows = record.pop(name)
        out.text(f"\n{name.replace('_', ' ')}:")
        out.rows(rows, [Column(key, wrap=True) for key in rows[0]])
    out.text("")
    durations = {key: duration(record[key]) for key in ("device_seconds", "charged_seconds")}
    record.pop("plan", None)
    out.thing(record, shown={**durations, "wall_seconds": wall(cost)})
    for facts in looks:
        out.text("")
        out.thing(facts)
