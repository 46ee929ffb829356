"""``metaloop ablate``: the planned ablation of a program's directives, and of a run's commits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from analysis.effects.designs import order_of
from arena.after.ablation import BLOCKS, require_factors, switches
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost, StudySetup
from arena.study.study import Study
from inner_loop.researchers.description import describe
from meta.cli import driver, resolve
from meta.cli.commands import verb
from meta.cli.flags import BudgetFlag, ModelFlags, PlayingFlags, RunBudgetFlag, StartFlags
from meta.cli.model_options import parse_models
from meta.cli.new_study import load_task, new_folder, playing_settings
from meta.cli.options import argument, flag, rare
from meta.cli.output import Output
from meta.kinds.contract import Draft, named_kind
from meta.kinds.cost import seconds_of_turns
from meta.kinds.plans import AblationPlan, Plan, ReplayPlan
from meta.kinds.replay import commit_lines, imported_commits, kept_commits
from programs.common.errors import Imported, UsageError
from programs.program import Program
from trainer.task import Task

SEEDS, LINEAGES = 4, 4


@dataclass(frozen=True)
class AblateFlags:
    """The flags of this command alone."""

    study: Annotated[
        str | None,
        flag(
            "Folder of the new study, or an existing study: its ledger and report get the result  "
            "[default: studies/TASK-DATE-N].",
            "-s",
            "--study",
            metavar="DIR",
        ),
    ]
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")]
    run_budget: RunBudgetFlag
    budget: BudgetFlag
    only: Annotated[tuple[str, ...], flag("Switch only this directive; repeatable.", metavar="ID")]
    seeds: Annotated[int, flag("Fresh seeds per script, for a RUN.", "-n", min=2, max=64, default=SEEDS)]
    lineages: Annotated[
        int | None,
        rare("With a model or an agent: nights, each with a train.py of its own  [default: 4].", min=1, max=64),
    ]


@verb(
    ("metaloop ablate my/program.md -t tinylm --budget 2h", "the effect of each directive"),
    ("metaloop ablate my/program.md -m gpt-4o-mini --max-usd 20", "which sentence helps this model"),
    ("metaloop ablate r3f2 -s studies/NAME --dry-run", "of each kept change of a run; the plan"),
)
def ablate(
    out: Output,
    what: Annotated[str, argument(metavar="PROGRAM|RUN")],
    flags: AblateFlags,
    playing: PlayingFlags,
    models: ModelFlags,
    start: StartFlags,
) -> None:
    """Measure the effect of each directive (sentence, list item or setting) of a PROGRAM, or of
    each kept change of a RUN.

    PROGRAM: runs variants of it, each with half of its directives switched off (a two-level
    factorial design: Hadamard, with mirrored blocks). Every variant has the same budget and
    the same run seeds. Directives that the scripted researcher ignores are left out.

    With a model (-m) or an agent (-r), the variants take turns on one train.py instead: each
    turn is one experiment that follows one variant. Every bullet, numbered step and paragraph
    is switched on and off; the score of a turn is log(1 + gain / SD between seeds).

    RUN: trains the final script on fresh seeds, and that script without each kept change. A
    change that needs the one left out is left out with it. RUN may be of an imported log whose
    kept rows are commits of a repository: --study names the import, --task the repository's
    task, and the result is a new study.

    If --study names any other existing study, the result is added to its ledger and report.
    """
    existing = resolve.existing_study(flags.study) if flags.study else None
    folder = existing.resolve() if existing else None
    researcher, config = parse_models(models)
    if folder is not None and (researcher != "scripted" or config.models):
        raise UsageError(f"{resolve.shown(folder)} has its own researcher", hint="leave out -m and -r")
    if folder is not None and is_import(folder):
        task = imported_task(flags.task)
        draft: Draft[Plan] = draft_import(folder, what, task, flags.seeds, playing)
        folder = new_folder(None, task)
    elif folder is not None:
        study = driver.opened(resolve.looked_at(folder, out))
        refuse_other_settings(flags, study)
        driver.require_same_sandbox(study, playing.no_sandbox)
        draft = draft_in_study(study, what, flags)
    else:
        task = load_task(flags.task)
        program = resolve.one_program(what)
        plan, budget = ablation_plan(program, flags), flags.run_budget or task.run_budget
        if researcher != "scripted":
            plan, budget = plan_turns(plan, flags, task, playing.fixed_steps, researcher)
        setup = StudySetup(
            "ablation", task, budget, plan=plan.table(), programs=[program], researcher=researcher,
            model_config=describe(researcher).settle(config, not playing.no_sandbox),
            **playing_settings(playing, [task]),
        )  # fmt: skip
        folder = new_folder(flags.study, task)
        draft = Draft(named_kind("ablation"), setup.config(), plan)
    driver.start(out, draft, folder, start)


def ablation_plan(program: Program, flags: AblateFlags) -> AblationPlan:
    return AblationPlan(name=program.name, text=program.document, only=[*flags.only], budget=flags.budget)


def plan_turns(
    plan: AblationPlan, flags: AblateFlags, task: Task, fixed_steps: bool, researcher: str
) -> tuple[AblationPlan, float]:
    """The plan of an ablation in which the variants take turns, and the device-seconds of one lineage: as many pairs of
    a block and its mirror as the budget pays for, at least one."""
    factors = switches(plan.program, task, researcher, plan.only, is_prose=True).factors
    require_factors(factors, task)
    order, lineages = order_of(len(factors)), flags.lineages or LINEAGES
    pairs = BLOCKS // 2

    def seconds(pairs: int) -> float:
        return RunCost(task, seconds_of_turns(task, fixed_steps, researcher, 2 * pairs * order)).seconds(lineages)

    if flags.budget is not None:
        pairs = int((flags.budget - seconds(0)) / (seconds(1) - seconds(0)) + 1e-9)
    if pairs < 1:
        raise UsageError(
            f"{len(factors)} directives in {lineages} lineages need at least {2 * order * lineages} turns",
            hint=f"--budget {math.ceil(seconds(1))}s, --set lineages=1, or fewer directives with --only",
        )
    budget = flags.run_budget or seconds_of_turns(task, fixed_steps, researcher, 2 * pairs * order)
    return plan.model_copy(update={"budget": None, "lineages": lineages, "blocks": 2 * pairs}), budget


def draft_in_study(study: Study, what: str, flags: AblateFlags) -> Draft[Plan]:
    """Of a run of the study, by a prefix of its id, else of a program: of the study, or at a path."""
    is_path, state = Path(what).expanduser().exists(), study.state
    runs = [run_id for run_id, run in state.runs.items() if run.experiments and run_id.startswith(what)]
    if runs and not is_path:
        run_id = resolve.by_prefix(what, runs, "run")
        commits, kept = kept_commits(study, run_id, None)
        plan = ReplayPlan(run_id=run_id, commits=len(commits), seeds=flags.seeds)
        return Draft(named_kind("replay"), study.config, plan, remarks=commit_lines(commits, kept))
    programs = [program_id for program_id in state.programs if program_id.startswith(what)]
    if programs and not is_path:
        program = study.program(resolve.by_prefix(what, programs, "program"))
    else:
        program = resolve.one_program(what)
    return Draft(named_kind("ablation"), study.config, ablation_plan(program, flags))


def draft_import(folder: Path, what: str, task: Task, seeds: int, playing: PlayingFlags) -> Draft[Plan]:
    """Of a run of an imported log, whose kept rows are commits of the task's repository: a study of its own."""
    known = [row["run_id"] for row in resolve.ask(folder, "FROM imports WHERE run_id IS NOT NULL")]
    run_id = resolve.by_prefix(what, known, "imported run")
    commits, kept = imported_commits(folder, run_id, task)
    plan = ReplayPlan(run_id=run_id, commits=len(commits), seeds=seeds, source=str(folder))
    setup = StudySetup("replay", task, task.run_budget, plan=plan.table(), **playing_settings(playing, [task]))
    return Draft(named_kind("replay"), setup.config(), plan, remarks=commit_lines(commits, kept))


def is_import(folder: Path) -> bool:
    try:
        StudyConfig.read(folder / resolve.MARK)
    except Imported:
        return True
    return False


def imported_task(text: str | None) -> Task:
    if text is None:
        hint = "--task REPO; metaloop task init --from REPO writes its task.toml"
        raise UsageError("name the task on which the imported changes are trained", hint=hint)
    return load_task(text)


def refuse_other_settings(flags: AblateFlags, study: Study) -> None:
    """Raise UsageError for settings that an existing study has already."""
    given: dict[str, Any] = {"--task": flags.task, "--run-budget": flags.run_budget}
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{resolve.shown(study.folder)} has its own {option[2:]}", hint=f"leave out {option}")
