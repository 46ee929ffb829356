"""What is wrong or worth a remark about programs, before a study of them starts."""

from __future__ import annotations

from collections.abc import Sequence

from arena.study.settings import StudyConfig
from meta.novelty import like_stock
from programs.charter import Charter
from programs.common.errors import UsageError
from programs.evolved_for import EvolvedFor
from programs.program import Program
from programs.shelf import in_library
from trainer.task import Task


def refuse_without_edits(programs: Sequence[Program], tasks: Sequence[Task], researcher: str) -> None:
    """Raise UsageError where a script would change nothing: it makes only the edits that a task declares, or that a
    program defines as a patch."""
    if researcher != "scripted" or any(program.patches for program in programs):
        return
    if without := [task.name for task in tasks if not task.edits.knobs]:
        raise UsageError(
            f"{without[0]} declares no edits, and the scripted researcher makes no others",
            hint="-m MODEL or -r command:NAME edits the files freely; or add [edits.NAME] to its task.toml",
        )


def refuse_inert(programs: Sequence[Program], tasks: Sequence[Task], researcher: str) -> None:
    """Raise UsageError as `refuse_without_edits`, and for a program that was evolved for a model or an agent, in which
    a script finds nothing that differs from stock."""
    refuse_without_edits(programs, tasks, researcher)
    for program in programs if researcher == "scripted" else ():
        label = program.evolved_for
        if label is None or "scripted" in (label.kind, label.rewritten):
            continue
        if like_stock(program, tasks, researcher):
            raise UsageError(
                f"{program.name} was evolved for {label}; a script reads none of it here, so it would run exactly "
                "like stock",
                hint="-m MODEL or -r command:NAME follows it; or write edits in backticks under Ideas",
            )


def remark_programs(programs: Sequence[Program], follower: EvolvedFor) -> list[str]:
    """A remark for each program that was evolved for another researcher than its ``follower``, or of which a script
    follows only a part."""
    remarks = []
    for program in programs:
        remark = program.evolved_for.remark(program.name, follower) if program.evolved_for else ""
        if not remark and follower.researcher == "scripted":
            remark = unread_ideas(program)
        remarks.append(remark)
    return [remark for remark in remarks if remark]


def remark_past(past: StudyConfig, name: str, follower: EvolvedFor) -> list[str]:
    """A remark if the gains of the study of ``--from``, called ``name``, were measured with another researcher."""
    measured = EvolvedFor.of(past.researcher, past.llm.models)
    differs = measured.remark("", follower)
    return [f"--from {name}: its gains were measured with {measured}, not with {follower}"] if differs else []


def unread_ideas(program: Program) -> str:
    """How much of a program in prose a script can follow, and what follows the rest; empty where it follows all."""
    followed = sum(bool(idea.terms) for idea in program.ideas)
    has_settings = program.charter != Charter() or in_library(program)
    if followed == len(program.ideas) and (followed or has_settings):
        return ""
    ideas = f"{followed} of its {len(program.ideas)} ideas" if program.ideas else "no idea in it"
    return (
        f"{program.name}: a script can follow {ideas}: it needs an edit in backticks, as in `lr=0.1`, under a heading "
        "Ideas; -m MODEL or -r command:NAME follows prose"
    )
