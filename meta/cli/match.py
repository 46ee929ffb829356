"""``metaloop match``: compare several programs at equal budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, PositiveInt, ValidationError, field_validator

from analysis.ledger.json_values import read_as
from analysis.verdict.contrast import ArmRuns, EarlierRuns
from meta.cli import launch, planned_power, resolve
from meta.cli.commands import verb
from meta.cli.flags import ModelFlags, PlayingFlags, Programs, RaceRuleFlag, StartFlags, StudyFlags
from meta.cli.launch import LaunchSettings
from meta.cli.options import flag
from meta.cli.output import Output
from meta.cli.researcher_choice import ResearcherChoice
from meta.kinds.cost import Cost, Work
from programs.errors import Corrupt, NotComparable, UsageError

if TYPE_CHECKING:
    from pydantic import JsonValue

    from arena.arms import Entry, Match
    from arena.study import Study
    from trainer.task import Task

RUNS = 4
CONTROLS = ("stock", "one-line")
_ADDED = (
    "Also run stock (the plain keep-if-better loop) twice, to test that equal programs get equal results "
    "(A/A test), and a program of one sentence (one-line)."
)
ControlsFlag = Annotated[bool, flag(_ADDED, "--controls/--no-controls", default=True)]


@dataclass(frozen=True)
class MatchFlags:
    """The flags of this command alone."""

    seeds: Annotated[int | None, flag(f"Runs per program and task  [default: {RUNS}].", "-n", min=1)]
    controls: ControlsFlag
    race: Annotated[bool, flag("Give more runs to programs that may be the best; stop when the best is clear.")]
    race_rule: RaceRuleFlag
    add: Annotated[
        tuple[str, ...],
        flag("Also count the runs of the first two programs in an earlier STUDY.", metavar="STUDY", multiple=True),
    ]


@verb(
    ("metaloop match stock local-screen my/program.md", "with controls, 4 runs each"),
    ("metaloop match my/program.md -t strokes,tinylm", "does it win on both tasks?"),
    ("metaloop match my/program.md -n 1 --no-controls", "one run, to look at"),
)
def match(
    out: Output,
    programs: Programs,
    which: StudyFlags,
    flags: MatchFlags,
    playing: PlayingFlags,
    models: ModelFlags,
    start: StartFlags,
) -> None:
    """Compare programs on the same task, with the same run seeds and the same device
    time per run. PROGRAM is a path, or the name of a starter. Every program gets
    the same number of runs, except with --race. The result is the difference of the first
    two (of one program: from stock), with its interval and how many runs would show it.
    Programs under which the researcher does the same are one arm with all names.

    With several tasks (-t A,B) there is a match on each, and the result is each program's gain
    and its ratio to stock's. -b is the budget on the first task; on the others it is scaled to
    about the same number of experiments."""
    from arena.race import RACE_RULES
    from arena.standalone import RACE_RULE, alike, play_entries

    race, rule_name = flags.race or flags.race_rule is not None, flags.race_rule or RACE_RULE
    RACE_RULES.get(rule_name)  # refused before anything is spent
    settings = LaunchSettings.of(which, playing, start, ResearcherChoice.of(models, yes=start.yes))
    study = resume(folder, settings, "seeds") if (folder := settings.existing(out)) else None
    entries, runs = entries_of(study, programs, flags.seeds, flags.controls)
    tasks = tasks_of_match(study, settings, race or bool(flags.add))
    if study is None:
        settings.researcher_choice.refuse_inert(out, [entry.program for entry in entries], tasks)
    researcher = study.config.researcher if study else settings.researcher_choice.researcher
    arms = [alike(entries, task, researcher) for task in tasks]
    earlier = [*recorded(study).added] if study else added(out, flags.add, arms[0], settings, tasks[0])
    cost = cost_of(tasks, [len(entered) for entered in arms], runs, settings, study, earlier)
    if settings.dry_run:
        say_alike(out, tasks, entries, arms)
        settings.show_plan(out, cost, tasks, study)
        return
    settings.ready(out, tasks, study)
    say_alike(out, tasks, entries, arms)
    if study is None:
        at_a_time = settings.workers_or_cores(tasks) if race else None
        study = create(out, tasks, entries, runs, settings, at_a_time, rule_name, earlier)
    made = recorded(study)
    batch, rule = made.batch, made.race_rule or RACE_RULE
    if batch is not None:
        out.note("a race: the plan is the maximum; the race ends as soon as the best program is clear")
    launch.announce(out, cost, study.folder, "match")
    carry_out = partial(play_entries, study, entries, runs, batch=batch, rule=rule)
    played = launch.drive(out, study.folder, "match", cost, carry_out)
    present(out, study, played)
    if batch is not None:
        out.note(race_ended(study, played[0]))


def present(out: Output, study: Study, played: Sequence[Match]) -> None:
    """The standings, or on several tasks the gains on each, and the commands to go on with."""
    from meta.cli import views
    from meta.cli.standings import show_standings

    if len(played) > 1:
        with resolve.connect(study.folder, ["transfer"]) as con:
            how = views.view("transfer")
            views.show(out, how.rows(con), how, extra={"study": resolve.shown(study.folder)})
    else:
        show_standings(out, study.folder, played[0].match_id)
    name, (run_id, *more) = resolve.typed(study.folder), study.state.runs
    alone = [] if more else [f"metaloop show {resolve.short(run_id)} -s {name}"]
    out.next(*alone, f"metaloop report {name}", f"metaloop credit {name}", "metaloop ui")


def say_alike(out: Output, tasks: Sequence[Task], entries: Sequence[Entry], arms: Sequence[Sequence[Entry]]) -> None:
    """A remark for each arm with the names of several programs, and for each control among ``entries`` without one."""
    for task, entered in zip(tasks, arms, strict=True):
        for name in (arm.program.name for arm in entered if " = " in arm.program.name):
            where = f" on {task.name}" if len(tasks) > 1 else ""
            out.note(f"one arm{where}, because this researcher does the same: {name}")
        playing = {arm.program.program_id for arm in entered}
        for control in entries:
            if control.role == "control" and control.program.program_id not in playing:
                name, where = control.program.name, f" on {task.name}" if len(tasks) > 1 else ""
                out.note(f"no arm {name}{where}, because this researcher does the same as with another program")


def tasks_of_match(study: Study | None, settings: LaunchSettings, only_one: bool) -> list[Task]:
    """Of the resumed study, else of --task. Raises UsageError where one is named twice, or where there are several and
    ``only_one`` may be."""
    from arena.task_study import tasks_of
    from meta.reserve import refuse_twice

    tasks = [on.task for on in tasks_of(study)] if study else launch.load_tasks(settings.task or launch.DEFAULT_TASK)
    if study is None:
        refuse_twice(tasks)
    if len(tasks) > 1 and only_one:
        raise UsageError("--race and --add are for a match on one task", hint="name one task, or leave them out")
    return tasks


def added(
    out: Output, names: tuple[str, ...], entries: list[Entry], settings: LaunchSettings, task: Task
) -> list[EarlierRuns]:
    """The runs of ``--add``. Raises UsageError for a study that is named twice."""
    from arena.choice import hardware_of_jobs
    from programs.evolved_for import EvolvedFor

    if not names:
        return []
    folders = [resolve.study_folder(name, out).resolve() for name in names]
    if len(set(folders)) < len(folders):
        raise UsageError("--add names a study twice", hint="name each earlier study once")
    choice = settings.researcher_choice
    followed = EvolvedFor.of(choice.researcher, choice.config.models)
    wanted = {
        "task_id": task.task_id, "run_budget": settings.run_budget or task.run_budget,
        "hardware_class": hardware_of_jobs(task.device), "researcher": followed.researcher,
        "models": [*followed.models],
    }  # fmt: skip
    return [runs_in(folder, entries, wanted) for folder in folders]


def runs_in(folder: Path, entries: list[Entry], wanted: Mapping[str, object]) -> EarlierRuns:
    """The runs of the first two programs, or of one and stock, in an earlier study. Raises NotComparable without them,
    or where task, budget or hardware differ."""
    from analysis.tables import record, statement

    named = [entry.program.program_id for entry in entries if entry.role == "program"]
    pair = [*named, *(entry.program.program_id for entry in entries if entry.role == "control")][:2]
    if len(pair) < 2:
        raise UsageError("--add needs two programs", hint="name another one, or leave out --no-controls")
    rows = resolve.ask(folder, statement("in_both"))
    known = {row["program_id"]: record(row, ArmRuns) for row in rows if all(row[k] == v for k, v in wanted.items())}
    if missing := [one for one in pair if one not in known]:
        names = ", ".join({entry.program.program_id: entry.program.name for entry in entries}[one] for one in missing)
        raise NotComparable(
            f"the match that decides in {resolve.shown(folder)} has no runs of {names} with this task, run budget, "
            "hardware and researcher",
            hint="--add takes studies of the same texts on equal terms",
        )
    return EarlierRuns(folder.name, (known[pair[0]], known[pair[1]]))


def race_ended(study: Study, played: Match) -> str:
    """Which program leads a race at its end, and the chance that another is better."""
    from arena.standalone import leader

    arm, doubt = leader(study, played)
    return (
        f"{arm.program.name} leads; the chance that another program is better by more than a tenth of the spread "
        f"between programs is {doubt:.0%}. Its measured gain is biased upwards by the selection; measure it again "
        "with fresh runs"
    )


def entries_of(
    study: Study | None, programs: tuple[str, ...], seeds: int | None, controls: bool
) -> tuple[list[Entry], int]:
    """The entries and their number of runs: of the resumed study, else from the command line."""
    from arena.arms import Entry
    from programs.program import Program

    if study is not None:
        made, entered = recorded(study), [Program.parse(text, name) for name, text in study.config.programs]
        return [Entry(one, role) for one, role in zip(entered, made.roles, strict=True)], seeds or made.seeds
    own = resolve.programs(programs)
    if not own:
        raise UsageError("name at least one program", hint="metaloop match stock my/program.md")
    if len({program.program_id for program in own}) < len(own):
        raise UsageError("a program is named twice", hint="name each once; --controls adds an A/A pair")
    return with_controls(own, controls), seeds or RUNS


def with_controls(own: list[Any], controls: bool) -> list[Entry]:
    """The programs, then stock and one-line unless they are among them, and stock once more (A/A)."""
    from arena.arms import Entry
    from programs.shelf import starter

    entries = [Entry(program) for program in own]
    known = {program.program_id for program in own}
    if controls:
        extra = [starter(name) for name in CONTROLS]
        entries += [Entry(p, "control") for p in extra if p.program_id not in known]
        entries.append(Entry(starter("stock"), "a/a"))
    return entries


class MatchPlan(BaseModel, strict=True):
    """[plan] of study.toml: runs of each program, the role of each, of a race, how many runs start at a time, and the
    runs of earlier studies that count too."""

    seeds: PositiveInt
    roles: list[str]
    batch: PositiveInt | None = None
    race_rule: str | None = None
    added: list[EarlierRuns] = []

    @field_validator("added", mode="before")
    @classmethod
    def _from_toml(cls, added: object) -> list[EarlierRuns]:
        return read_as(list[EarlierRuns], added)


def recorded(study: Study) -> MatchPlan:
    """What the study was created with. Raises NotComparable where another command made it, or Corrupt."""
    plan, path = study.config.plan, study.folder / resolve.MARK
    if "roles" not in plan:
        made_by = f"{resolve.shown(study.folder)} was created by metaloop {study.config.command}"
        raise NotComparable(made_by, hint="name a new folder with --study")
    hint = "restore study.toml from a copy"
    try:
        made = MatchPlan.model_validate(plan)
    except ValidationError as error:
        first = error.errors()[0]
        raise Corrupt(f"{path}: [plan] {first['loc'][0]}: {first['msg']}", hint=hint) from None
    if len(made.roles) != len(study.config.programs):
        raise Corrupt(f"{path}: [plan] roles: not one for each of its programs", hint=hint)
    return made


def cost_of(
    tasks: Sequence[Task],
    arms: Sequence[int],
    runs: int,
    settings: LaunchSettings,
    study: Study | None,
    earlier: Sequence[EarlierRuns],
) -> Cost:
    """The cost of the match on each task, and its power. ``arms``: how many there are on each task."""
    from arena.setup import RunCost

    first = RunCost(tasks[0], study.config.run_budget if study else settings.run_budget or tasks[0].run_budget)
    works = [Work.of(first.on(task), count * runs) for task, count in zip(tasks, arms, strict=True)]
    cost = settings.researcher_choice.billed(settings.cost(study, tasks, works), tasks[0], study)
    same_rows = bool(cost.looks)
    if len(tasks) > 1:
        return cost.saying(power=f"on each task: {planned_power.power_sentence(runs, same_rows=same_rows)}")
    pairs = 1 if earlier else math.comb(arms[0], 2) or 1
    ours, theirs = (runs + sum(len(one.arms[side].gains) for one in earlier) for side in (0, 1))
    places = "".join(f", {len(one.arms[0].gains)} of them in {one.study}" for one in earlier)
    others = f" and {theirs} of the second" * (ours != theirs)
    of = f"of {'the first' if others else 'each of the two'}{others}{places}" if earlier else "per program"
    power = planned_power.power_sentence(
        ours,
        pairs,
        planned_power.known_sd(study.folder) if study else None,
        tasks[0].unit,
        of,
        theirs - ours,
        same_rows,
    )
    return cost.saying(power=power)


def create(
    out: Output,
    tasks: Sequence[Task],
    entries: list[Entry],
    runs: int,
    settings: LaunchSettings,
    batch: int | None,
    race_rule: str,
    earlier: Sequence[EarlierRuns],
) -> Study:
    """A new study of these entries; ``batch``: runs that a race starts at a time; ``earlier``: runs that count too."""
    from arena.standalone import RACE_RULE

    plan: dict[str, JsonValue] = {"seeds": runs, "roles": [entry.role for entry in entries]}
    plan |= {"batch": batch} if batch else {}
    plan |= {"added": [asdict(one) for one in earlier]} if earlier else {}
    plan |= {"race_rule": race_rule} if batch and race_rule != RACE_RULE else {}
    return settings.create(out, "match", tasks, [entry.program for entry in entries], plan)


def resume(folder: Path, settings: LaunchSettings, *more: str) -> Study:
    """Open an existing study. Raises NotComparable where options differ from its own, but for ``more``."""
    from arena.study import Study

    study = Study.open(folder)
    settings.check(study, *more)
    return study
