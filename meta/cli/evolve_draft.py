"""From the options of `evolve` and `improve` to a draft of the study: an evolution, or a night where the budget pays
for no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from analysis.knowledge.store import SHIPPED, family_of, write
from analysis.wording import duration
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost
from inner_loop.researchers.description import describe
from inner_loop.run_context import ModelConfig
from meta.cli import resolve
from meta.cli.consent import consent
from meta.cli.flags import (
    BudgetFlag,
    EndFlags,
    HarvestFlag,
    ModelFlags,
    NewStudyFlag,
    PlayingFlags,
    RunBudgetFlag,
    StartFlags,
)
from meta.cli.model_options import parse_models
from meta.cli.new_study import DEFAULT_TASK, load_tasks, playing_settings
from meta.cli.options import Percent, flag, rare
from meta.cli.output import Output
from meta.kinds import size
from meta.kinds.contract import Draft, named_kind
from meta.kinds.cost import seconds_of
from meta.kinds.new_configs import evolve_config, night_config
from meta.kinds.past_study import PastStudy, past_study
from meta.kinds.plans import EvolvePlan, Plan
from meta.kinds.program_checks import refuse_without_edits, remark_past, remark_programs
from meta.kinds.study_tasks import StudyTasks
from meta.learnt import Learnt, learnt_for
from meta.novelty import like_stock
from meta.population import racing, starters, taking_turns
from meta.reserve import family_member, refuse_twice
from programs import folder as program_folder
from programs.common.errors import UsageError
from programs.evolved_for import EvolvedFor
from programs.program import Program
from programs.shelf import starter
from trainer.task import Task

NO_KNOWLEDGE = "none"  # --set knowledge=none


@dataclass(frozen=True)
class SizeFlags:
    """The size of a study: the default, --budget or --quick; the other flags change single numbers of it."""

    run_budget: RunBudgetFlag
    budget: BudgetFlag
    quick: Annotated[
        bool, flag("A small study: 2 to 3 minutes on 2 idle cores for the task strokes, longer for longer experiments.")
    ]
    generations: Annotated[int | None, rare("Number of generations of new programs.", min=0)]
    runs: Annotated[int | None, flag("Runs per program in a race.", "-n", min=2)]
    harvest: HarvestFlag
    ablate: Annotated[
        int | None,
        rare(
            "Of the budget of a night, the share that trains its last train.py without each of its changes  "
            "[default: 0%].",
            type=Percent(0, 50),
        ),
    ]

    @property
    def sets_matches(self) -> bool:
        """Whether a flag sets a number of matches, which a night does not have."""
        return any(number is not None for number in (self.run_budget, self.generations, self.runs, self.harvest))


@dataclass(frozen=True)
class EvolveFlags:
    """The flags of ``evolve`` and ``improve``."""

    study: NewStudyFlag
    task: Annotated[
        str | None,
        flag("The tasks of the search: every program runs on each  [default: strokes].", "-t", metavar="TASK,…"),
    ]
    reserve: Annotated[
        str | None,
        flag("Held-out tasks, which the search does not use: the champion is tested on them, once.", metavar="TASK,…"),
    ]
    from_study: Annotated[
        str | None,
        flag(
            "Start a new study from this one: on its tasks, with its champion among the starting programs, and with "
            "its measured effects among what is known.",
            "--from",
            metavar="STUDY",
            command="study",  # METALOOP_STUDY_FROM: `task init --from` takes a folder
        ),
    ]
    knowledge: Annotated[
        str | None,
        rare("DIR,…: further knowledge bases for starting ideas; none: no learnt ideas."),
    ]
    without: Annotated[str | None, rare("NAME,…: leave out what was learnt on these tasks or families.")]
    size: SizeFlags
    playing: PlayingFlags
    models: ModelFlags
    meta_program: Annotated[str | None, rare("FILE: instructions for models that write programs.")]
    ending: EndFlags
    start: StartFlags


@dataclass(frozen=True)
class EvolveOptions:
    """What the flags name, loaded. ``own``: the user's programs; ``untested``: a task of the first one's family, where
    it has one, on which the champion is shown; ``is_apart``: what was learnt on other tasks starts nothing here, it is
    only compared with."""

    own: Sequence[Program]
    training: Sequence[Task]
    reserve: Sequence[Task]
    untested: Task | None
    past: PastStudy | None
    learnt: Learnt | None
    is_apart: bool
    researcher: str
    models: ModelConfig

    @property
    def taught(self) -> Program | None:
        """The program with ideas learnt on other tasks."""
        return self.learnt.program if self.learnt else None

    @property
    def past_champion(self) -> Program | None:
        return self.past.champion if self.past else None

    @property
    def user_program(self) -> Program | None:
        """The program to improve, of one alone."""
        return self.own[0] if len(self.own) == 1 else None

    @property
    def has_own_arm(self) -> bool:
        program = self.user_program
        return program is not None and not like_stock(program, self.training, self.researcher)

    def starting_programs(self, count: int) -> list[Program]:
        """The starters of a study of that many (see `meta.population.starters`)."""
        if self.is_apart and self.taught:
            return [*starters(count, self.own), self.taught]
        return starters(count, self.own, self.taught, self.past_champion)


def draft_evolution(out: Output, paths: Sequence[str], flags: EvolveFlags) -> tuple[Draft[Plan], Task]:
    """(the study that the options of a command ask for, its first task)."""
    options = options_of(out, paths, flags)
    task, follower = options.training[0], EvolvedFor.of(options.researcher, options.models.models)
    remarks = remark_programs(options.own, follower)
    if options.past:
        config = StudyConfig.read(options.past.folder / resolve.MARK)
        remarks += remark_past(config, options.past.used.folder, follower)
    settings = playing_settings(flags.playing, options.training) | {
        "researcher": options.researcher,
        "model_config": describe(options.researcher).settle(options.models, not flags.playing.no_sandbox),
        "meta_program": instructions_of(flags.meta_program, options.models),
        "path": user_path(paths) if options.user_program else None,
        "past": options.past,
        "learnt": options.learnt,
    }
    a_run = RunCost(task, flags.size.run_budget or default_run_budget(flags.size, task))
    sized = size_of(flags.size, options, a_run)
    if sized is None:
        return draft_night(flags.size, options, settings, remarks), task
    if flags.size.ablate:
        raise UsageError(
            "--set ablate is for a night, and this is a study of matches",
            hint="metaloop ablate RUN, when it has ended, leaves out each change of a run",
        )
    plan, programs = sized
    config = evolve_config(
        plan, programs, task=task, further=options.training[1:], held_out=options.reserve,
        run_budget=a_run.run_budget, shown=options.untested if plan.shown_runs else None,
        own=options.user_program, **settings,
    )  # fmt: skip
    kind = named_kind("evolve")
    unused = unused_budget(flags.size.budget, study_seconds(plan, options, a_run))
    return Draft(kind, config, kind.read_plan(config), {"budget": unused}, remarks), task


def draft_night(
    flags: SizeFlags, options: EvolveOptions, settings: dict[str, Any], remarks: Sequence[str]
) -> Draft[Plan]:
    """A night of the user's program and others, with the whole budget."""
    assert flags.budget is not None
    task, own_program = options.training[0], options.own[0]
    ablation_seconds = flags.budget * (flags.ablate or 0) / 100
    run_budget, seeds = size.night_size(flags.budget - ablation_seconds, task)
    turns = taking_turns(own_program, options.taught, task, options.researcher, options.past_champion)
    settings = {**settings, "ablation_seconds": ablation_seconds or None}
    config = night_config(turns, task=task, run_budget=run_budget, fresh_seeds=seeds, own=own_program, **settings)
    kind = named_kind("night")
    reason = (
        f"one night, because {duration(flags.budget)} do not pay for matches that show, with 80% power, that one "
        "program is 1.3 times as good where the SD between runs is half the gain"
    )
    return Draft(kind, config, kind.read_plan(config), {"size": reason}, remarks)


def default_run_budget(flags: SizeFlags, task: Task) -> float:
    """Device-seconds of a run, where no option names them."""
    return size.QUICK_EXPERIMENTS * task.cost_seconds if flags.quick else task.run_budget


def size_of(flags: SizeFlags, options: EvolveOptions, a_run: RunCost) -> tuple[EvolvePlan, list[Program]] | None:
    """(the plan with its numbers, the starters); None for a night, which `improve` on one task has where its budget
    pays for no powered matches. ``a_run``: what a run on the first task costs."""
    if flags.quick and flags.budget is not None:
        raise UsageError("--quick and --budget both set the size of the study", hint="leave one of them out")
    programs = list[Program]()

    def sized(plan: EvolvePlan) -> EvolvePlan:
        programs[:] = options.starting_programs(plan.starters)
        return with_options(plan, flags, options, programs)

    if flags.budget is None:
        plan = sized(size.with_runs(size.QUICK if flags.quick else size.DEFAULT, flags.runs))
        return plan, programs
    has_nights = options.user_program is not None and not (
        options.training[1:] or options.reserve or flags.sets_matches
    )
    try:
        plan = size.within(flags.budget, lambda p: study_seconds(p, options, a_run), sized, a_run.task, flags.runs)
    except UsageError:
        if not has_nights:
            raise
        return None
    if has_nights and plan.final["champion"] < size.POWERED_RUNS:
        return None
    return plan, programs


def with_options(plan: EvolvePlan, flags: SizeFlags, options: EvolveOptions, programs: Sequence[Program]) -> EvolvePlan:
    """The plan with the numbers that options set, the programs that its race enters, and the arms of its confirmation
    that this study has."""
    tasks, researcher = options.training, options.researcher
    final = dict(plan.final)
    if options.has_own_arm:
        final["own"] = final["champion"]
        del final["start"]
    if like_stock(starter("one-line"), tasks, researcher):
        del final["one-line"]
    apart = options.taught if options.is_apart else None
    if apart is None:
        final.pop("learnt", None)
    raced = [program for program in programs if program is not apart]
    update: dict[str, object] = {"starters": racing(raced, tasks, researcher), "final": final}
    if flags.generations is not None:
        update["generations"] = flags.generations
    if flags.harvest is not None:
        update["harvest_percent"] = flags.harvest
    return plan.model_copy(update=update)


def study_seconds(plan: EvolvePlan, options: EvolveOptions, a_run: RunCost) -> float:
    """Device-seconds of a study of that plan, on all its tasks."""
    untested = [(options.untested, False)] if options.untested else []
    tasks = StudyTasks(options.training, [*((task, True) for task in options.reserve), *untested])
    return seconds_of(size.works(plan, tasks, a_run))


def unused_budget(budget: float | None, seconds: float) -> str:
    """Why a study uses less than half of its budget; else empty."""
    if budget is None or seconds > budget / 2:
        return ""
    return (
        f"{duration(seconds)} of {duration(budget)} will be used, because a budget buys at most "
        f"{size.MOST // 100} times the runs of a default study. To use more: --run-budget or --set generations=N"
    )


# -- what the options name ---------------------------------------------------------------------------------------


def options_of(out: Output, paths: Sequence[str], flags: EvolveFlags) -> EvolveOptions:
    """Load and check what the flags name."""
    own_programs = resolve.programs(paths)
    researcher, models = parse_models(flags.models)
    past = past_of(out, flags, own_programs)
    training = load_tasks(flags.task or (past.named if past else DEFAULT_TASK))
    reserve = load_tasks(flags.reserve)
    refuse_twice(training, reserve)
    if past:
        past.refuse_other(training, reserve)
    refuse_without_edits(own_programs, training, researcher)
    is_apart = flags.size.quick and not (own_programs or past or flags.knowledge)
    untested = family_member(training[0], flags.playing.seed or 0, others=[*training, *reserve])
    learnt = learnt_ideas(own_programs, flags, training, reserve, past, is_apart)
    return EvolveOptions(own_programs, training, reserve, untested, past, learnt, is_apart, researcher, models)


def user_path(paths: Sequence[str]) -> str | None:
    """The file of the user's program, absolute; None for a starter."""
    file = Path(paths[0]).expanduser()
    return str(file.resolve()) if file.exists() else None


def instructions_of(path: str | None, models: ModelConfig) -> Program | None:
    """The program of ``--set meta_program=FILE``. Raises NotFound, ProgramError; UsageError without a model, because it
    would have no effect."""
    if path is None:
        return None
    if not models.models:
        raise UsageError("--set meta_program needs a model that writes programs", hint="name one: -m NAME")
    return program_folder.load(Path(path).expanduser())


def past_of(out: Output, flags: EvolveFlags, own: Sequence[Program]) -> PastStudy | None:
    """The study of ``--from``."""
    if flags.from_study is None:
        return None
    if flags.knowledge == NO_KNOWLEDGE:
        raise UsageError("--from cannot be used with --set knowledge=none", hint="leave one of them out")
    if len(own) > 1:
        raise UsageError("--from cannot be used with several PROGRAMs", hint="leave one of them out")
    folder = resolve.study_folder(flags.from_study, out)
    past = past_study(folder, resolve.shown(folder))
    if not (flags.task or flags.start.dry_run):  # then the tasks are those that its study.toml names
        config = StudyConfig.read(folder / resolve.MARK)
        consent(folder, config, flags.start.yes, sandboxed=not flags.playing.no_sandbox)
    return past


def learnt_ideas(
    own: Sequence[Program], flags: EvolveFlags, training: Sequence[Task], reserve: Sequence[Task],
    past: PastStudy | None, is_apart: bool,
) -> Learnt | None:  # fmt: skip
    """What was learnt on other tasks, and in the study of ``--from``; of tasks of other families alone where it is only
    compared with."""
    if flags.knowledge == NO_KNOWLEDGE:
        return None
    folders = [Path(text).expanduser() for text in resolve.listed(flags.knowledge)]
    if len(own) > 1:  # several programs start as they are
        if folders:
            raise UsageError("--set knowledge cannot be used with several PROGRAMs", hint="leave one of them out")
        return None
    with TemporaryDirectory() as measured:
        known = [SHIPPED, *folders]
        if past and past.effects:
            known.append(write(Path(measured), past.effects).parent)
        left_out = [*resolve.listed(flags.without), *(family_of(task) for task in training if is_apart)]
        base = own[0] if own else starter("idea-queue")
        learnt = learnt_for(base, training, reserve, known, left_out)
    if folders and learnt is None:
        hint = 'give its knobs a role = "learning_rate" and so on in task.toml, see docs/ideas.md'
        raise UsageError(f"--set knowledge={flags.knowledge}: no knob of {training[0].name} follows it", hint=hint)
    return learnt
