"""What is refused where a study of `evolve` or `improve` is resumed with other settings than it was created with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meta.cli import launch, mutation, resolve
from meta.cli.evolve_flags import EvolveFlags
from meta.cli.evolve_tasks import ChosenTasks
from meta.cli.launch import LaunchSettings

if TYPE_CHECKING:
    from arena.study import Study
    from programs.program import Program


def refuse_change(
    study: Study, settings: LaunchSettings, flags: EvolveFlags, past: list[Path], follows: Program | None
) -> None:
    """Raise NotComparable where a study is resumed with other settings than it was created with."""
    from meta.plan import RACE_RULE
    from meta.prior import refuse_other

    settings.check(study)
    refuse_reserve(study, flags)
    refuse_knowledge(study, flags)
    race_rule = flags.dial.race_rule
    refuse_other(study.folder, study.config.prior, past)
    mutation.check(study, follows)
    mutation.check_traces(study, settings.researcher_choice.config.traces)
    mutation.check_reflect(study, settings.researcher_choice.config.reflect)
    if race_rule and race_rule != study.config.plan.get("race_rule", RACE_RULE):
        raise resolve.settings_differ(
            f"{resolve.shown(study.folder)} was created with another race rule", "--race-rule"
        )


def refuse_others(folder: Path, named: list[Program], starters: list[Program]) -> None:
    """Raise NotComparable where a study is resumed with programs that it was not created with."""
    known = {program.program_id for program in starters}
    others = [program for program in named if program.program_id not in known]
    if others:
        raise resolve.settings_differ(
            f"{resolve.shown(folder)} was created without {', '.join(program.name for program in others)}",
            "the programs",
            [program.program_id for program in others],
        )


def refuse_reserve(study: Study, flags: EvolveFlags) -> None:
    """Raise NotComparable where a study is resumed with other families or held-out tasks than it was created with."""
    families, named = launch.load_tasks(flags.family), launch.load_tasks(flags.reserve)
    made = ChosenTasks.of(study) if families or named else None
    known = {task.task_id for task in made.training} if made and made.families else set()
    if families and {task.task_id for task in families} != known:
        raise resolve.settings_differ(f"{resolve.shown(study.folder)} was created with other families", "--family")
    if made and named and {task.task_id for task in named} != {task.task_id for task in made.reserve}:
        raise resolve.settings_differ(
            f"{resolve.shown(study.folder)} was created with other held-out tasks", "--reserve"
        )


def refuse_knowledge(study: Study, flags: EvolveFlags) -> None:
    """Raise NotComparable where a study is resumed with knowledge that it did not start from."""
    from analysis.knowledge import files_of

    used = study.config.knowledge
    named = files_of([Path(text).expanduser() for text in resolve.listed(flags.knowledge)])
    if not {file.name for file in named} <= {*(used.files if used else ())}:
        raise resolve.settings_differ(f"{resolve.shown(study.folder)} was created with other knowledge", "--knowledge")
