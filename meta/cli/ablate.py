"""``metaloop ablate``: the effect of each directive of a program, or of each kept change of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from analysis.wording import estimate, many, plain_text
from meta.cli import launch, resolve, views
from meta.cli.commands import verb
from meta.cli.credit import doubts
from meta.cli.flags import BudgetFlag, PlayingFlags, StartFlags, StudyFlags
from meta.cli.launch import LaunchSettings
from meta.cli.match import resume
from meta.cli.options import argument, flag
from meta.cli.output import Output
from meta.kinds.cost import Cost, Work
from programs.errors import Imported, NotFound, UsageError
from programs.text import one_line

if TYPE_CHECKING:
    from analysis.effects.designs import FactorialDesign
    from arena.ablation import Switches
    from arena.replay import Commit
    from arena.setup import RunCost
    from arena.study import Study
    from programs.program import Program
    from trainer.task import Task

SEEDS = 4
ONE_SEED = "all runs share one run seed, so the effects are of that seed"
WHOLE = """
SELECT f.gain - u.gain AS gain FROM replays AS f JOIN replays AS u USING (ablation_id, seed)
WHERE f.run_id = $1 AND len(u.commits) = 0 AND list_sort(f.commits) = (
    SELECT list_sort(factors) FROM ablations WHERE run_id = $1 AND method = 'replay')
"""


@dataclass(frozen=True)
class AblateFlags:
    """The flags of this command alone."""

    what: Annotated[str | None, argument(metavar="[PROGRAM|RUN]", required=False)]
    budget: BudgetFlag
    only: Annotated[tuple[str, ...], flag("Switch only this directive; repeatable.", metavar="ID")]
    seeds: Annotated[int | None, flag(f"Fresh seeds per script, for a RUN  [default: {SEEDS}].", "-n", min=2, max=64)]


@verb(
    ("metaloop ablate my/program.md -t tinylm --budget 2h", "the effect of each directive"),
    ("metaloop ablate r3f2 -s studies/NAME", "the effect of each kept change of one run"),
    ("metaloop ablate r3f2 -s studies/import-NAME -t my/repo --dry-run", "of an imported run; the plan and its cost"),
)
def ablate(out: Output, which: StudyFlags, flags: AblateFlags, playing: PlayingFlags, start: StartFlags) -> None:
    """Measure the effect of each directive (sentence, list item or setting) of a PROGRAM, or of
    each kept change of a RUN.

    PROGRAM: runs variants of it, each with half of its directives switched off (a two-level
    factorial design: Hadamard, with mirrored blocks). Every variant has the same budget and
    the same run seeds. Directives that the scripted researcher ignores are left out.

    RUN: trains the final script on fresh seeds, and that script without each kept change. A
    change that needs the one left out is left out with it. RUN may be of an imported log whose
    kept rows are commits of a repository: --study names the import, --task the repository's
    task, and the result is a new study.

    If --study names any other existing study, the result is added to its ledger and report.
    """
    settings = LaunchSettings.of(which, playing, start)
    folder = settings.existing(out)
    try:
        study = resume(folder, settings, "", "only", "seeds", "budget") if folder else None
    except Imported:
        _replay(out, _of_import(cast(Path, folder), flags, settings), flags, replace(settings, study=None))
        return
    if study is not None:
        study.look()
    run_id = _run_id(study, flags)
    if study is not None and run_id is not None:
        _replay(out, _of_study(study, run_id), flags, settings)
    else:
        _factorial(out, study, flags, settings)


def _run_id(study: Study | None, flags: AblateFlags) -> str | None:
    """The requested run, or the run of the last ablation of a resumed study."""
    if study is None:
        return None
    imported = study.config.plan.get("run_id")
    if flags.what is None:
        last = next(reversed(study.state.ablations.values()), None)
        return last.run_id if last else imported
    path, prefix = Path(flags.what).expanduser(), flags.what
    known = [run_id for run_id, run in study.state.runs.items() if run.experiments or run_id == imported]
    begun = any(run_id.startswith(prefix) for run_id in known)
    return resolve.by_prefix(prefix, known, "run") if begun and not path.exists() else None


# -- a program's directives ----------------------------------------------------------------------------------------


def _factorial(out: Output, study: Study | None, flags: AblateFlags, settings: LaunchSettings) -> None:
    from arena.ablation import ablate, design_of, design_seed, switches
    from arena.setup import RunCost
    from arena.task_study import TaskStudy
    from meta.champion import write_page_again

    task = study.task if study else launch.load_task(settings.task)
    researcher = study.config.researcher if study else "scripted"
    program, only, budget = _program(study, flags)
    switched = switches(program, task, researcher, only)
    cost = TaskStudy(study).cost if study else RunCost(task, settings.run_budget or task.run_budget)
    if budget is None and flags.what is None and study is not None:
        budget = _begun(study, cost)
    design = design_of(switched.factors, cost, budget, 0)
    whole = _cost(switched, design, cost.seconds(design.runs), cost, study, settings)
    if settings.dry_run:
        settings.show_plan(out, whole, [task], study, "factors", "left_out")
        return
    settings.ready(out, [task], study)
    if study is None:
        study = settings.create(out, "ablate", [task], [program], {"only": list(flags.only), "budget": flags.budget})
    design = design_of(switched.factors, cost, budget, design_seed(study, program, switched.factors))
    launch.announce(out, whole, study.folder, "ablate")
    match = launch.drive(out, study.folder, "ablate", whole, partial(ablate, study, program, design))
    champion = study.state.champion
    if champion is not None and champion.body["program_id"] == program.program_id and write_page_again(study):
        out.note("champion.evidence.md is updated")
    present(out, study.folder, match.match_id)


def _program(study: Study | None, flags: AblateFlags) -> tuple[Program, tuple[str, ...], float | None]:
    """(program, directives to switch, budget): from the flags, else as the study was created."""
    if flags.what is not None:
        if study is not None and not Path(flags.what).expanduser().exists():
            known = [p for p in study.state.programs if p.startswith(flags.what)]
            if known:
                return study.program(resolve.by_prefix(flags.what, known, "program")), flags.only, flags.budget
        return resolve.one_program(flags.what), flags.only, flags.budget
    last = next(reversed(study.state.ablations.values()), None) if study else None
    if study is not None and last is not None:
        return study.program(last.program_id or ""), flags.only or last.factors, flags.budget
    if study is not None and study.config.command == "ablate" and study.config.programs:
        from programs.program import Program

        (name, text), plan = study.config.programs[0], study.config.plan
        return Program.parse(text, name), flags.only or tuple(plan.get("only", ())), flags.budget or plan.get("budget")
    raise UsageError("name a program, or a run of a study", hint="metaloop ablate my/program.md")


def _begun(study: Study, cost: RunCost) -> float | None:
    """The budget of the ablation that is resumed."""
    last = next(reversed(study.state.ablations.values()), None)
    return float(cost.seconds(cast(int, last.plan["runs"]))) if last else None


def _cost(
    switched: Switches,
    design: FactorialDesign,
    seconds: float,
    cost: RunCost,
    study: Study | None,
    settings: LaunchSettings,
) -> Cost:
    """The design, its cost and its power, by t tests as in its table."""
    from analysis.statistics import t_quantile
    from analysis.verdict.power import RunSample, detectable

    half = t_quantile(0.975, design.df) * design.se
    one_sample = RunSample(design.se * math.sqrt(design.df + 1), design.df + 1)  # of the same SE and df
    least = detectable(one_sample, RunSample(0.0, 2)) or 0.0
    power = f"95% intervals of about ± {half:.2f} SD between runs; detects an effect of {least:.2f} SD with 80% power"
    power += f"; {ONE_SEED}" * (design.blocks < 3)
    power += "; an odd number of blocks confounds each effect with some two-way interactions" * (not design.clear)
    made = settings.cost(study, [cost.task], [Work.of(cost, design.runs, seconds)])
    what = (
        f"{many(len(design.factors), 'directive')} on and off in {many(design.blocks, 'block')} of {design.order} runs"
    )
    if switched.left_out:
        what += f"; {len(switched.left_out)} left out" + ("" if settings.dry_run else " (--dry-run says why)")
    return made.saying(power=power, design=what).knowing(
        directives=len(design.factors), blocks=design.blocks, runs_per_block=design.order, programs=design.programs,
        factors=[{"directive_id": d.directive_id, "kind": d.kind, "text": d.text} for d in switched.factors],
        left_out=[{"directive_id": d.directive_id, "text": d.text, "why": why} for d, why in switched.left_out],
    )  # fmt: skip


# -- a run's commits -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReplayedRun:
    """``study``: None before a new one is made for an imported run; ``source``: the study with the import."""

    study: Study | None
    task: Task
    run_id: str
    commits: list[Commit]
    kept: int
    source: str = ""


def _of_study(study: Study, run_id: str) -> ReplayedRun:
    from arena.replay import commits_of, commits_of_import
    from arena.verify_study import run_of

    study.agree()
    if run_id == study.config.plan.get("run_id"):
        commits, kept = commits_of_import(Path(study.config.plan["source"]), run_id, study.task)
        return ReplayedRun(study, study.task, run_id, commits, kept)
    run = run_of(study, run_id)
    of_night = bool(study.config.plan.get("night"))
    if run.stream == "confirmation" and not of_night:  # attribution must not use the data that the claim is tested on
        hint = "name a run of a race: metaloop sql STUDY \"FROM runs WHERE stream = 'selection'\""
        raise UsageError(f"run {run_id} belongs to the confirmation, which attribution must not use", hint=hint)
    commits = commits_of(study, run_id, run.final_source_id)
    return ReplayedRun(study, study.task, run_id, commits, len(commits))


def _of_import(folder: Path, flags: AblateFlags, settings: LaunchSettings) -> ReplayedRun:
    from arena.replay import commits_of_import

    known = [row["run_id"] for row in resolve.ask(folder, "FROM imports WHERE run_id IS NOT NULL")]
    run_id = resolve.by_prefix(flags.what or "", known, "imported run")
    if settings.task is None:
        hint = "--task REPO; metaloop task init --from REPO writes its task.toml"
        raise UsageError("name the task on which the imported changes are trained", hint=hint)
    task = launch.load_task(settings.task)
    return ReplayedRun(None, task, run_id, *commits_of_import(folder, run_id, task), source=str(folder))


def _replay(out: Output, run: ReplayedRun, flags: AblateFlags, settings: LaunchSettings) -> None:
    from arena.replay import built_of, needed, replay_run, trainings
    from arena.setup import RunCost

    study, task, commits = run.study, run.task, needed(run.commits)
    ablations = study.state.ablations.values() if study and flags.what is None else ()
    seeds = flags.seeds or next((last.seeds for last in reversed(ablations)), None) or SEEDS
    count = len(trainings(len(commits), seeds))
    work = Work.of(RunCost(task, task.cost_seconds), count, count * task.cost_seconds)
    cost = settings.cost(study, [task], [work], seeds).knowing(run_id=run.run_id, commits=len(commits), seeds=seeds)
    if len(commits) < run.kept:
        missing = "without a commit, whose commit does not change or fit the script, or which a later one replaces"
        out.note(f"left out: {run.kept - len(commits)} of {many(run.kept, 'kept row')}, {missing}")
    labels = {commit.experiment_id: commit.label for commit in commits}
    for gone, commit in enumerate(commits):
        if needing := built_of(commits, [i for i in range(len(commits)) if i != gone])[1]:
            out.note(f"left out together: {commit.label}; {'; '.join(labels[each] for each in needing)}")
    if settings.dry_run:
        settings.show_plan(out, cost, [task], study, researches=False)
        return
    settings.ready(out, [task], study, researches=False)
    study = study or settings.create(out, "ablate", [task], [], {"source": run.source, "run_id": run.run_id})
    launch.announce(out, cost, study.folder, "ablate")
    replay = partial(replay_run, study, run.run_id, commits, seeds)
    launch.drive(out, study.folder, "ablate", cost, replay)
    present(out, study.folder, run.run_id)


def present(out: Output, folder: Path, identity: str) -> None:
    """Show the rows of `credit` of an ablation; ``identity``: the match of a design, or a run."""
    how = views.view("credit")
    with resolve.connect(folder, ["credit", "standings"]) as con:
        rows = [row for row in how.rows(con, [None]) if identity in (row["match_id"], row["run_id"])]
        whole = [row["gain"] for row in resolve.fetch(con, WHOLE, [identity])]
        doubts(out, con)
        seeds = resolve.fetch(con, "SELECT count(DISTINCT run_seed) AS n FROM runs WHERE match_id = ?", [identity])
    if not rows:
        raise NotFound(f"nothing was estimated for {identity}", hint="metaloop credit STUDY --all")
    views.show(out, rows, how, extra={"study": resolve.shown(folder)})
    if rows[0]["method"] == "leave-one-out":
        for line in closing(rows, whole):
            out.note(line)
    elif seeds[0]["n"] == 1:
        out.note(ONE_SEED)
    study = resolve.typed(folder)
    out.next(f"metaloop show {resolve.short(rows[0]['credit_id'])} -s {study}", f"metaloop credit {study}")


def closing(rows: Sequence[Mapping[str, Any]], whole: Sequence[float]) -> list[str]:
    """What the final script gains on each seed, in one sentence; how many changes help, which do harm, and what to
    do with the others."""
    from analysis.statistics import mean_interval

    gain = mean_interval(whole)
    all_of_them = estimate(gain.mean, gain.low, gain.high, rows[0]["unit"])
    above = [row for row in rows if (row["low"] or 0.0) > 0.0]
    together = sum(row["q"] is not None and row["q"] < 0.05 for row in above)
    harmful = [one_line(row["label"]) for row in rows if (row["high"] or 0.0) < 0.0]
    lines = [
        f"the final script over the untouched one, on these {many(gain.n, 'seed')}: {plain_text(all_of_them)}",
        f"distinguishable from noise, each for itself (95% interval above 0): {len(above)} of its "
        f"{many(len(rows), 'change')}; {together} when all are counted together (q below 0.05)",
    ]
    if harmful:
        lines.append(f"harmful, each for itself (95% interval below 0): {', '.join(harmful)}")
    if len(above) + len(harmful) < len(rows):
        lines.append("the others: keep what costs nothing, take them out one by one, or train with a larger -n")
    return lines
