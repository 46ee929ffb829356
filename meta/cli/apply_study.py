"""``--apply``: commits what a study found to a branch of its task's repository."""

from __future__ import annotations

import shlex

from arena.study import Study
from inner_loop.agents.recipe import FOLLOWS, own_agent
from meta.cli import resolve
from meta.cli.flags import EndFlags
from meta.cli.output import Output
from meta.kinds.contract import StudyKind
from meta.kinds.plans import Plan
from meta.outcome.apply import NothingToApply, apply, repository_of
from programs.errors import UsageError
from trainer.task import Task


def refuse_early(ending: EndFlags, kind: StudyKind[Plan], task: Task) -> None:
    """Raise UsageError for what could not be done at the end, before anything is spent."""
    if ending.data_noise and not ending.apply:
        raise UsageError("--set data_noise=unknown is for --apply alone", hint="add --apply, or leave it out")
    if ending.apply and not kind.can_apply:
        raise UsageError(f"a study of the kind {kind.name} has nothing to apply", hint="leave out --apply")
    if ending.apply:
        with repository_of(task):
            pass


def apply_study(out: Output, study: Study, unknown_noise: bool) -> list[str]:
    """Commit the champion and the best train.py, each if it is better; returns the commands that use the branch."""
    study.look()
    try:
        applied = apply(study, study.config.plan.get("origin"), study.config.plan.get("path"), unknown_noise)
    except NothingToApply as nothing:
        out.note(f"no branch: {nothing.message}")
        return []
    for reason in applied.left_out:
        out.note(f"left out: {reason}")
    files = ", ".join(f"{name} as {path}" if name != path else path for name, path in applied.files.items())
    out.note(f"branch {applied.branch} in {applied.repository}: {files}; the working tree is unchanged")
    git, patch = f"git -C {resolve.typed(applied.repository)}", shlex.quote(f"{study.folder.name}.patch")
    commands = [f"{git} show {applied.branch}", f"{git} switch {applied.branch}"]
    commands.append(f"{git} format-patch -1 --stdout {applied.branch} > {patch}  # with the message")
    if program := applied.files.get("program"):
        config = study.config
        agent = own_agent(f"Read {program} and follow it", config.researcher, config.staff.agent)
        commands.append(f"{agent}  # {FOLLOWS}, in that branch")
    return commands
