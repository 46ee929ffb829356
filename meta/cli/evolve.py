"""``metaloop evolve`` and ``metaloop improve``: the outer loop."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from meta.cli import launch, resolve
from meta.cli.commands import verb
from meta.cli.consent import consent
from meta.cli.evolve_plan import (
    after_own,
    cost_of,
    instructions_of,
    night_words,
    origin_lines,
    plan_lines,
    refuse_alone,
)
from meta.cli.evolve_tasks import ChosenTasks, EndFlags, EvolveFlags, drawn_for
from meta.cli.flags import ProgramOrNone, Programs
from meta.cli.launch import LaunchSettings
from meta.cli.options import typed
from meta.cli.output import Output
from meta.cli.progress import if_slow
from meta.cli.researcher_choice import ResearcherChoice
from meta.cli.study_result import show_study_result
from meta.cli.study_size import unused_budget
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from meta.kinds.cost import Cost
    from meta.kinds.past_study import PastStudy
    from meta.kinds.plan import Plan
    from meta.learnt import Learnt
    from programs.program import Program

NONE = "none"  # --set knowledge=none
PLANNING = "planning: reading the task and what was learnt on other tasks"


@verb(
    ("metaloop evolve --quick", "offline, on CPU, no key; 2 to 3 minutes on 2 idle cores"),
    ("metaloop evolve -r scripted -m gpt-4o-mini", "a model writes programs, a script follows them"),
    ("metaloop evolve -t tabular,strokes --reserve letters", "one program for two tasks, tested on a third"),
)
def evolve(out: Output, programs: Programs, flags: EvolveFlags) -> None:
    """Race programs (the starters that come with Metaloop, or the PROGRAMs given) and estimate
    how much each of their sentences contributes. Write better programs from these
    estimates. At the end, test the best program (the champion) on fresh seeds against
    stock, the plain keep-if-better loop. One PROGRAM is improved: only it and its
    descendants can become the champion, and it is tested against your program."""
    _evolve(out, resolve.programs(programs), flags, programs)


@verb(
    ("metaloop improve my/program.md", "ends with champion.md, its evidence and the diff"),
    ("metaloop improve my/program.md --quick --dry-run", "prints the plan and its cost"),
    ("metaloop improve --resume studies/NAME", "resume a study that was stopped"),
)
def improve(out: Output, program: ProgramOrNone, flags: EvolveFlags) -> None:
    """Evolve from your own program: the same as metaloop evolve PROGRAM."""
    if not program and not (flags.which.resume or flags.which.study):
        raise UsageError("name the program to improve", hint="metaloop improve my/program.md")
    _evolve(out, [resolve.one_program(program)] if program else [], flags, [program] if program else [])


def _evolve(out: Output, own: list[Program], flags: EvolveFlags, named: Sequence[str]) -> None:
    """``named``: the user's programs as they were typed."""
    from meta.kinds.begin import champion_of, create, take_up
    from meta.novelty import like_stock

    settings, dial = settings_of(flags), flags.dial
    folder, past = settings.existing(out), None
    with if_slow(out, PLANNING):
        if folder is not None:
            study, plan, starters = take_up(folder)
            settings.check(study)
            study.look()
            command = study.config.command
            on = ChosenTasks.of(study)
            origins = origin_lines(study.config.from_study, study.config.knowledge, on.training, plan.learnt_runs)
        else:
            improves = len(own) == 1
            chosen, command = settings.researcher_choice, "improve" if improves else "evolve"
            follows = instructions_of(flags.meta_program)
            refuse_alone(follows, chosen.config)
            past = past_of(out, flags, own)
            on = ChosenTasks.named(replace(flags, task=flags.task or past.named) if past else flags, settings.seed)
            if past:
                past.refuse_other(on.training, on.reserve)
            chosen.refuse_without_edits(own, on.training)
            plan = on.plan(dial, improves and not like_stock(own[0], on.training, chosen.researcher), improves)
            apart = dial.quick and not (own or past or flags.knowledge)
            learnt, starters = knowledge_for(own, flags, on, past, apart), own
            plan = plan if apart and learnt else replace(plan, learnt_runs=0)
            used = learnt.used if learnt else None
            origins = origin_lines(past.used if past else None, used, on.training, plan.learnt_runs)
            if plan.night:
                origins = {"turns": night_words(own[0], learnt, on.training[0], chosen.researcher, past)}
            elif own:
                origins["knowledge"] += after_own(learnt, own, on.training[0], plan, chosen.researcher)
            chosen.note_others(out, own, past.folder if past else None)
        flags.ending.refuse_early(on.training[0])
        cost = cost_of(plan, on, settings, study if folder else None, past)
        told = plan_lines(command, plan, on, own or starters, study if folder else None, settings)
        cost = cost.saying(**told, budget="" if folder else unused_budget(dial, cost.device_seconds), **origins)
    tasks = () if folder and champion_of(folder) else (*on.training, *on.reserve)  # an ended study trains on none
    if settings.dry_run:
        settings.show_plan(out, cost, tasks, study if folder else None, researches=bool(tasks))
        return
    if tasks:
        settings.ready(out, tasks, study if folder else None)
    if folder is None:
        task, *further = on.training
        folder, variant = settings.fresh(task, out), drawn_for(on, plan, settings)
        study, starters = create(
            folder, task=task, plan=plan, own=own,
            workers=settings.workers_or_cores(on.training), devices=settings.devices, seed=settings.seed,
            fixed_steps=settings.fixed_steps, sandbox=settings.sandbox, command=command,
            further=further, reserve=on.reserve, researcher=settings.researcher_choice.researcher,
            model_config=settings.researcher_choice.settled,
            meta_program=follows, past=past, learnt=learnt, variant=variant,
            path=str(file.resolve()) if own and (file := Path(named[0]).expanduser()).exists() else None, typed=typed(),
        )  # fmt: skip
    finish(out, command, study, plan, starters, cost, flags)


def past_of(out: Output, flags: EvolveFlags, own: Sequence[Program]) -> PastStudy | None:
    """The study of ``--from``, if it is given for a new study."""
    from arena.settings import StudyConfig
    from meta.kinds.past_study import past_study

    if flags.from_study is None:
        return None
    for why, is_so in (
        ("--set knowledge=none leaves out what was learnt", flags.knowledge == NONE),
        ("several PROGRAMs start as they are", len(own) > 1),
    ):
        if is_so:
            raise UsageError(f"--from cannot be used: {why}", hint="leave one of them out")
    folder = resolve.study_folder(flags.from_study, out)
    past = past_study(folder, resolve.shown(folder))
    if not (flags.task or flags.start.dry_run):  # then the tasks are those that its study.toml names
        config, sandboxed = StudyConfig.read(folder / resolve.MARK), not flags.playing.no_sandbox
        consent(folder, config, flags.start.yes, sandboxed=sandboxed)
    return past


def finish(
    out: Output,
    command: str,
    study: Study,
    plan: Plan,
    starters: list[Program],
    cost: Cost,
    flags: EvolveFlags,
) -> None:
    """Play what is left of the study and show its result."""
    from inner_loop.night import NO_EXPERIMENT, NOTHING_LEFT
    from meta.evolve import evolve as carry_out
    from meta.kinds.begin import champion_of

    folder = study.folder
    if champion_of(folder) is None:
        launch.announce(out, cost, folder, command)
        work = partial(carry_out, study, plan, starters)
        launch.drive(out, folder, command, cost, work, flags.ending.apply_words)
        study.follow()  # what the workers wrote
        ends = [run.ended for run in study.state.runs.values() if run.ended is not None]
        if len(ends) < cost.runs:
            out.note(f"{len(ends)} of at most {cost.runs} runs: programs that behave alike, or were refused, add none")
        if plan.night and ends and ends[0].reason in (NOTHING_LEFT, NO_EXPERIMENT):
            out.note(f"the night ended early: {ends[0].reason}")
            if study.config.researcher == "scripted":
                out.note("more settings and values in task.toml give them more,")
                out.note("and a model or an agent (-m, -r) can try what is in no list")
    else:
        out.note(f"{resolve.shown(folder)} has already finished; this is its result")
    path = study.config.plan.get("path")
    following = show_study_result(out, folder, path, applies=flags.ending.apply)
    end(out, folder, flags.ending, following)


def end(out: Output, folder: Path, ending: EndFlags, following: Sequence[str] = ()) -> None:
    """After the result was shown: apply it, and list the commands that go on from here."""
    from arena.study import Study

    applied = None
    first: list[str] = []
    if ending.apply:
        from inner_loop.agents.recipe import FOLLOWS, own_agent
        from meta.outcome.apply import NothingToApply, apply

        study = Study.open(folder)
        study.look()
        try:
            plan = study.config.plan
            applied = apply(study, plan.get("origin"), plan.get("path"), ending.data_noise is not None)
        except NothingToApply as nothing:
            out.note(f"no branch: {nothing.message}")
    if applied is not None:
        for why in applied.left_out:
            out.note(f"left out: {why}")
        what = ", ".join(f"{name} as {path}" if name != path else path for name, path in applied.files.items())
        out.note(f"branch {applied.branch} in {applied.repository}: {what}; the working tree is unchanged")
        git = f"git -C {resolve.typed(applied.repository)}"
        first = [f"{git} show {applied.branch}", f"{git} switch {applied.branch}"]
        patch = f"{folder.name}.patch"
        first.append(f"{git} format-patch -1 --stdout {applied.branch} > {shlex.quote(patch)}  # with the message")
        if program := applied.files.get("program"):
            config = study.config
            agent = own_agent(f"Read {program} and follow it", config.researcher, config.staff.agent)
            first.append(f"{agent}  # {FOLLOWS}, in that branch")
    if first or following:
        out.next(*first, *following)


def settings_of(flags: EvolveFlags) -> LaunchSettings:
    choice = ResearcherChoice.of(flags.models, yes=flags.start.yes)
    which = replace(flags.which, task=flags.task, run_budget=flags.dial.run_budget)
    return LaunchSettings.of(which, flags.playing, flags.start, choice)


def knowledge_for(
    own: list[Program], flags: EvolveFlags, on: ChosenTasks, past: PastStudy | None = None, apart: bool = False
) -> Learnt | None:
    """What the study starts from, learnt on other tasks, and in the study of ``--from``. ``apart``: what it is only
    compared with, learnt on tasks of other families.
    """
    from analysis.knowledge import SHIPPED, family_of, write
    from meta.learnt import learnt_for

    if flags.knowledge == NONE:
        return None
    folders = [Path(text).expanduser() for text in resolve.listed(flags.knowledge)]
    if folders and len(own) > 1:
        why = "several PROGRAMs start as they are"
        raise UsageError(f"--set knowledge cannot be used: {why}", hint="leave one of them out")
    if len(own) > 1:
        return None
    with TemporaryDirectory() as measured:
        known = [SHIPPED, *folders]
        if past and past.effects:
            known.append(write(Path(measured), past.effects).parent)
        left_out = [*resolve.listed(flags.without), *(family_of(task) for task in on.training if apart)]
        learnt = learnt_for(base_of(own), on.training, on.reserve, known, left_out)
    if folders and learnt is None:
        hint = 'give its knobs a role = "learning_rate" and so on in task.toml, see docs/ideas.md'
        raise UsageError(f"--set knowledge={flags.knowledge}: no knob of {on.training[0].name} follows it", hint=hint)
    return learnt


def base_of(own: list[Program]) -> Program:
    """The program that gets the ideas learnt on other tasks: the user's, or one whose list comes first."""
    from programs.shelf import starter

    return own[0] if own else starter("idea-queue")
