"""``metaloop evolve --meta``: the instructions that a model follows when it writes programs are evolved themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from meta.cli import launch, mutation, resolve
from meta.cli.evolve_tasks import named_tasks
from meta.cli.launch import LaunchSettings
from meta.cli.output import Output
from meta.cli.researcher_choice import ResearcherChoice
from meta.instructions.plan import InstructionPlan, describe, is_in, read, sized
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from inner_loop.run_context import ModelConfig
    from meta.cli.evolve_flags import EvolveFlags
    from meta.planned_work import PlannedWork
    from programs.program import Program
    from trainer.task import Task

Tasks = tuple[list["Task"], list["Task"]]  # of the pool, and of the confirmation: none if it is on those of the pool


def is_meant(flags: EvolveFlags, folder: Path | None) -> bool:
    """Whether --meta is given, or the study to resume was created with it."""
    from arena.settings import StudyConfig

    return flags.mutation.meta if folder is None else is_in(StudyConfig.read(folder / resolve.MARK).plan)


def run(out: Output, command: str, own: Sequence[Program], flags: EvolveFlags, folder: Path | None) -> None:
    refuse_others(command, own, flags)
    settings, follows = settings_of(flags), mutation.load(flags.mutation.meta_program)
    study = resumed(folder, settings, follows, flags) if folder else None
    model_config = study.config.staff if study else settings.researcher_choice.settled
    if not model_config.models:
        raise UsageError(
            "--meta needs a model that writes programs by following instructions", hint="name one: -m NAME"
        )
    tasks = tasks_of(study) if study else named(flags)
    pool, confirm = tasks
    plan = read(study.config.plan, study.folder) if study else plan_of(flags, pool[0])
    given = 2 if (study.config.meta_program if study else follows) else 1
    if given < 2 and not plan.generations:
        raise UsageError("without generations there is one instruction", hint="name another with --meta-program FILE")
    described = planned(plan, tasks, given, settings, model_config, study)
    if settings.dry_run:
        launch.dry_run(out, described)
        return
    if study is None or study.state.best_instruction is None:
        for task in (*pool, *confirm):
            settings.ready(out, task, study)
    if study is None and flags.family:
        from meta.cli.task_work import trains

        out.note("trying the untouched script of each new task once")
        tasks = named(flags, partial(trains, unsafe=settings.unsafe_no_sandbox))
    study = study or create(out, settings, plan, tasks, model_config, follows)
    if study.state.best_instruction is None:
        launch.announce(out, described, study.folder)
        play(out, study, plan, described)
    else:
        out.note(f"{resolve.shown(study.folder)} has already finished; this is its result")
    present(out, study.folder)


def refuse_others(command: str, own: Sequence[Program], flags: EvolveFlags) -> None:
    """Raise UsageError for what has no meaning here."""
    dial, given = flags.dial, flags.mutation
    if command != "evolve":
        raise UsageError("--meta evolves instructions, no program", hint="metaloop evolve --meta")
    for is_given, name in (
        (bool(own), "PROGRAM"), (dial.budget is not None, "--budget"), (dial.confirm_again, "--confirm-again"),
        (dial.race_rule is not None, "--race-rule"), (dial.same_spend, "--same-spend"), (dial.best_of_n, "--best-of-n"),
        (dial.long, "--long"), (dial.harvest is not None, "--harvest"), (dial.headroom is not None, "--headroom"),
        (bool(flags.prior), "--prior"), (flags.from_scratch, "--from-scratch"), (bool(flags.knowledge), "--knowledge"),
        (bool(flags.without), "--without"),
        (flags.ending.apply, "--apply"), (bool(flags.ending.webhook), "--webhook"), (given.reflect, "--reflect"),
        (bool(given.embeddings), "--embeddings"),
        (given.traces not in (None, "auto", "none"), f"--traces {given.traces}"),
        (flags.models.researcher not in (None, "scripted"), f"-r {flags.models.researcher}"),
    ):  # fmt: skip
        if is_given:
            raise UsageError(f"{name} cannot be combined with --meta", hint="leave it out")


def settings_of(flags: EvolveFlags) -> LaunchSettings:
    """As of ``evolve``; the children are always run by the scripted researcher, and writers see no traces."""
    models = replace(flags.models, researcher="scripted")
    choice = ResearcherChoice.of(models, flags.agent, traces="none", yes=flags.start.yes)
    which = replace(flags.which, task=flags.task, run_budget=flags.dial.run_budget)
    return LaunchSettings.of(which, flags.playing, flags.start, choice)


def plan_of(flags: EvolveFlags, first: Task) -> InstructionPlan:
    dial = flags.dial
    return sized(first, is_quick=dial.quick, run_budget=dial.run_budget, generations=dial.generations, seeds=dial.seeds)


def named(flags: EvolveFlags, able: Callable[[Task], bool] = lambda _: True) -> Tasks:
    """The tasks of a new study. Of families, the one of --reserve included, members are drawn with the seed that are
    ``able`` to train."""
    from meta.task_families import members_of

    pool, reserve, families = named_tasks(flags)
    if families is None:
        return pool, reserve
    plan = plan_of(flags, pool[0])
    return members_of(families, plan.family_tasks, plan.family_confirm, flags.playing.seed, able)


def tasks_of(study: Study) -> Tasks:
    """Those of a study that is resumed."""
    from trainer.task import Task

    further = [Task.load(other.task) for other in study.config.further]
    return [study.task, *further], [Task.load(other.task) for other in study.config.reserve]


def resumed(folder: Path, settings: LaunchSettings, follows: Program | None, flags: EvolveFlags) -> Study:
    """The study to resume. Raises NotComparable where the flags contradict its settings."""
    from arena.study import Study

    study = Study.open(folder)
    study.look()
    settings.check(study)
    mutation.check(study, follows)
    if flags.family or flags.reserve:
        raise resolve.settings_differ(f"{resolve.shown(folder)} has its own tasks", "--family and --reserve")
    return study


def planned(
    plan: InstructionPlan,
    tasks: Tasks,
    given: int,
    settings: LaunchSettings,
    model_config: ModelConfig,
    study: Study | None,
) -> PlannedWork:
    pool, confirm = tasks
    workers, devices = settings.at_once(study)
    whole = describe(plan, pool, confirm, given, workers, model_config)
    sandboxed = settings.sandbox if study is None else study.config.sandbox
    described = launch.with_sandbox(whole, pool[0], sandboxed, devices)
    described |= settings.researcher_choice.bill(pool[0], described["experiments"], study)
    count = len(confirm) or len(pool)
    described["tells"] = (
        launch.power_over_tasks(count)
        if confirm and count > 1
        else "the confirmation is on new jobs of the same tasks: it says nothing about other tasks (--reserve)"
        if not confirm
        else "the confirmation is on one task: it says nothing about other tasks"
    )
    return described


def create(
    out: Output,
    settings: LaunchSettings,
    plan: InstructionPlan,
    tasks: Tasks,
    model_config: ModelConfig,
    follows: Program | None,
) -> Study:
    from arena.setup import StudySetup, beside
    from arena.study import Study
    from meta.population import starters

    (first, *further), confirm = tasks
    launch.refuse_small(first, plan.run_budget, settings.fixed_steps)
    setup = StudySetup(
        "evolve",
        first,
        plan.run_budget,
        workers=settings.workers_or_cores(),
        devices=settings.devices,
        seed=settings.seed,
        fixed_steps=settings.fixed_steps,
        plan=asdict(plan),
        programs=starters(plan.starters),
        sandbox=settings.sandbox,
        further=beside(first, plan.run_budget, further),
        reserve=beside(first, plan.run_budget, confirm),
        model_config=model_config,
        meta_program=follows.text if follows else None,
    )
    return Study.create(settings.fresh(first, out), setup)


def play(out: Output, study: Study, plan: InstructionPlan, described: PlannedWork) -> None:
    from meta.instructions.evolution import evolve_instructions

    launch.drive(out, study.folder, "evolve", described, lambda p: evolve_instructions(study, plan, p))


def present(out: Output, folder: Path) -> None:
    """The verdict and the files."""
    from arena.study import Study
    from meta.instructions.page import BEST, EVIDENCE

    study = Study.open(folder)
    study.look()
    event = study.state.best_instruction
    body = dict(event.body) if event else {}
    shown = Path(resolve.shown(folder))
    files = {"instruction": str(shown / BEST), "evidence": str(shown / EVIDENCE)}
    if out.mode == "json":
        out.json({"study": str(shown), **body, "files": files})
    else:
        out.thing({"study": str(shown), "verdict": str(body.get("verdict")), **files})
    if body.get("holds"):
        out.next(f"metaloop evolve -r scripted -m MODEL --meta-program {resolve.typed(shown / BEST)}")
