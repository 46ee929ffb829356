"""``metaloop match``: compare several programs at equal budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import click

from analysis.verdict.decision import ArmRuns, EarlierRuns
from analysis.views.tables import record, statement
from arena.arms import Entry
from arena.race import RACE_RULES
from arena.standalone import RACE_RULE, alike
from arena.study.setup import StudySetup, beside
from arena.work.choice import hardware_of_jobs
from inner_loop.researchers.description import describe
from meta.cli import driver, resolve
from meta.cli.commands import verb
from meta.cli.flags import ModelFlags, NewStudyFlag, PlayingFlags, Programs, RaceRuleFlag, RunBudgetFlag, StartFlags
from meta.cli.model_options import parse_models
from meta.cli.new_study import DEFAULT_TASK, load_tasks, new_folder, playing_settings
from meta.cli.options import flag, rare
from meta.cli.output import Output
from meta.kinds.contract import Draft, named_kind
from meta.kinds.cost import seconds_of_turns
from meta.kinds.plans import MatchPlan, RaceRule
from meta.kinds.program_checks import refuse_inert, remark_programs
from meta.reserve import refuse_twice
from programs.common.errors import NotComparable, UsageError
from programs.evolved_for import EvolvedFor
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

RUNS, BLOCKS = 4, 4
CONTROLS = ("stock", "one-line")
CONTROLS_HELP = (
    "Also run stock (the plain keep-if-better loop) twice, to test that equal programs get equal results "
    "(A/A test), and a program of one sentence (one-line)."
)


@dataclass(frozen=True)
class MatchFlags:
    """The flags of this command alone."""

    study: NewStudyFlag
    task: Annotated[str | None, flag("The tasks  [default: strokes].", "-t", metavar="TASK,…")]
    run_budget: RunBudgetFlag
    runs: Annotated[int, flag("Runs per program and task.", "-n", min=1, default=RUNS)]
    controls: Annotated[bool, flag(CONTROLS_HELP, "--controls/--no-controls", default=True)]
    race: Annotated[bool, flag("Give more runs to programs that may be the best; stop when the best is clear.")]
    race_rule: RaceRuleFlag
    unit: Annotated[
        str | None,
        rare(
            "turn: the programs take turns on one train.py; -n: such nights on each task. Without controls.",
            type=click.Choice(("run", "turn")),
        ),
    ]
    blocks: Annotated[
        int | None, rare("Of unit=turn: turns of each program in a night  [default: 4].", min=1, max=1000)
    ]
    add: Annotated[
        tuple[str, ...],
        flag("Also count the runs of the first two programs in an earlier STUDY.", metavar="STUDY", multiple=True),
    ]


@verb(
    ("metaloop match stock local-screen my/program.md", "with controls, 4 runs each"),
    ("metaloop match my/program.md -t strokes,tinylm", "does it win on both tasks?"),
    ("metaloop match A.md B.md -m gpt-4o-mini --set unit=turn", "by turns on one train.py, the league"),
)
def match(
    out: Output, programs: Programs, flags: MatchFlags, playing: PlayingFlags, models: ModelFlags, start: StartFlags
) -> None:
    """Compare programs on the same task, with the same run seeds and the same device
    time per run. PROGRAM is a path, or the name of a starter. Every program gets
    the same number of runs, except with --race. The result is the difference of the first
    two (of one program: from stock), with its interval and how many runs would show it.
    Programs under which the researcher does the same are one arm with all names.

    With several tasks (-t A,B) there is a match on each, and the result is each program's gain
    and its ratio to stock's. -b is the budget on the first task; on the others it is scaled to
    about the same number of experiments."""
    rule = flags.race_rule or RACE_RULE
    RACE_RULES.get(rule)  # refused before anything is spent
    is_race = flags.race or flags.race_rule is not None
    tasks = load_tasks(flags.task or DEFAULT_TASK)
    refuse_twice(tasks)
    if len(tasks) > 1 and (is_race or flags.add):
        raise UsageError("--race and --add are for a match on one task", hint="name one task, or leave them out")
    if flags.unit == "turn":
        start_league(out, programs, flags, tasks, playing, models, start)
        return
    if flags.blocks:
        raise UsageError("blocks are of turns", hint="--set unit=turn")
    entries = with_controls(named_programs(programs), flags.controls)
    entered, (researcher, config) = [entry.program for entry in entries], parse_models(models)
    refuse_inert(entered, tasks, researcher)
    arms = [alike(entries, task, researcher) for task in tasks]
    settings = playing_settings(playing, tasks)
    budget = flags.run_budget or tasks[0].run_budget
    follower = EvolvedFor.of(researcher, config.models)
    plan = MatchPlan(
        runs=flags.runs,
        roles=[entry.role for entry in entries],
        race=RaceRule(batch=settings["workers"], rule=rule) if is_race else None,
        added=earlier_runs(out, flags.add, arms[0], tasks[0], budget, follower),
    )
    setup = StudySetup(
        "match", tasks[0], budget, plan=plan.table(), programs=entered, further=beside(tasks[0], budget, tasks[1:]),
        researcher=researcher, model_config=describe(researcher).settle(config, not playing.no_sandbox), **settings,
    )  # fmt: skip
    remarks = [*remark_programs(entered, follower), *remark_arms(tasks, entries, arms)]
    folder = new_folder(flags.study, tasks[0])
    driver.start(out, Draft(named_kind("match"), setup.config(), plan, remarks=remarks), folder, start)


def start_league(
    out: Output, names: Sequence[str], flags: MatchFlags, tasks: Sequence[Task], playing: PlayingFlags,
    models: ModelFlags, start: StartFlags,
) -> None:  # fmt: skip
    """Start a league: the programs take turns. Raises UsageError for fewer than two, or what is for runs alone."""
    if flags.race or flags.race_rule or flags.add:
        raise UsageError("--race and --add are for runs", hint="leave them out, or --set unit=run")
    programs = named_programs(names)
    if len(programs) < 2:
        raise UsageError("turns need at least two programs", hint="name another one")
    blocks, (researcher, config) = flags.blocks or BLOCKS, parse_models(models)
    plan = MatchPlan(
        runs=flags.runs, roles=["program"] * len(programs), turns=[p.program_id for p in programs], blocks=blocks
    )
    budget = flags.run_budget or seconds_of_turns(tasks[0], playing.fixed_steps, researcher, blocks * len(programs))
    setup = StudySetup(
        "match", tasks[0], budget, plan=plan.table(), programs=programs, further=beside(tasks[0], budget, tasks[1:]),
        researcher=researcher, model_config=describe(researcher).settle(config, not playing.no_sandbox),
        **playing_settings(playing, tasks),
    )  # fmt: skip
    remarks = remark_programs(programs, EvolvedFor.of(researcher, config.models))
    driver.start(
        out, Draft(named_kind("match"), setup.config(), plan, remarks=remarks), new_folder(flags.study, tasks[0]), start
    )


def named_programs(texts: Sequence[str]) -> list[Program]:
    """The programs of the command line. Raises UsageError without any, or for one that is named twice."""
    programs = resolve.programs(texts)
    if not programs:
        raise UsageError("name at least one program", hint="metaloop match stock my/program.md")
    if len({program.program_id for program in programs}) < len(programs):
        raise UsageError("a program is named twice", hint="name each once; --controls adds an A/A pair")
    return programs


def with_controls(programs: Sequence[Program], controls: bool) -> list[Entry]:
    """The programs, then stock and one-line unless they are among them, and stock once more (A/A)."""
    entries = [Entry(program) for program in programs]
    if controls:
        known = {program.program_id for program in programs}
        extra = [starter(name) for name in CONTROLS]
        entries += [Entry(program, "control") for program in extra if program.program_id not in known]
        entries.append(Entry(starter("stock"), "a/a"))
    return entries


def remark_arms(tasks: Sequence[Task], entries: Sequence[Entry], arms: Sequence[Sequence[Entry]]) -> list[str]:
    """A remark for each arm with the names of several programs, and for each control among ``entries`` without one.
    ``arms``: of each task."""
    remarks = []
    for task, entered in zip(tasks, arms, strict=True):
        where = f" on {task.name}" if len(tasks) > 1 else ""
        for arm in entered:
            if " = " in arm.program.name:
                remarks.append(f"one arm{where}, because this researcher does the same: {arm.program.name}")
        playing = {arm.program.program_id for arm in entered}
        for entry in entries:
            if entry.role == "control" and entry.program.program_id not in playing:
                name = entry.program.name
                remarks.append(f"no arm {name}{where}, because this researcher does the same as with another program")
    return remarks


def earlier_runs(
    out: Output, names: Sequence[str], arms: Sequence[Entry], task: Task, run_budget: float, follower: EvolvedFor
) -> list[EarlierRuns]:
    """The runs of ``--add``. Raises UsageError for a study that is named twice, or where there are not two programs."""
    if not names:
        return []
    folders = [resolve.study_folder(name, out).resolve() for name in names]
    if len(set(folders)) < len(folders):
        raise UsageError("--add names a study twice", hint="name each earlier study once")
    programs = [arm.program for arm in arms if arm.role == "program"]
    pair = [*programs, *(arm.program for arm in arms if arm.role == "control")][:2]
    if len(pair) < 2:
        raise UsageError("--add needs two programs", hint="name another one, or leave out --no-controls")
    terms = {
        "task_id": task.task_id, "run_budget": run_budget, "hardware_class": hardware_of_jobs(task.device),
        "researcher": follower.researcher, "models": [*follower.models],
    }  # fmt: skip
    return [runs_in(folder, pair, terms) for folder in folders]


def runs_in(folder: Path, pair: Sequence[Program], terms: Mapping[str, object]) -> EarlierRuns:
    """The runs of two programs in an earlier study. Raises NotComparable without them, or where its terms differ."""
    rows = resolve.ask(folder, statement("verdict/comparable_runs"))
    known = {
        row["program_id"]: record(row, ArmRuns)
        for row in rows
        if all(row[name] == value for name, value in terms.items())
    }
    if missing := [program.name for program in pair if program.program_id not in known]:
        raise NotComparable(
            f"the match that decides in {resolve.shown(folder)} has no runs of {', '.join(missing)} with this task, "
            "run budget, hardware and researcher",
            hint="--add takes studies of the same texts on equal terms",
        )
    first, second = (known[program.program_id] for program in pair)
    return EarlierRuns(folder.name, (first, second))
