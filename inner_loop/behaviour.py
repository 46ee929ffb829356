"""What a program makes a researcher do on a task, independent of its wording."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from programs.charter import Charter
from programs.common.bounded import fault_of, python_tree
from programs.common.ids import content_id, normalise
from programs.common.text import BOM, one_line
from programs.directives import Directive
from programs.ideas import ProgramIdea
from programs.patches import ProgramPatch
from programs.program import Program
from programs.settings import settings_of, unset_charter
from programs.shelf import starter
from trainer.edits import Edit, EditError, EditSpace, Knob, Replacement
from trainer.experiment import SOURCE_BYTES
from trainer.source import Source
from trainer.task import Task
from trainer.values.conditional import ConditionalEdit, read

PATCHES = "patches"  # the group of a program's own patches


def failure_of(error: Exception, programs: Sequence[Program]) -> str:
    """One line about an exception while the texts of these programs were handled: their failure, which ends no study.
    Raises it again where `fault_of` does, and where all programs are our own `stock`, so that it is a bug of ours."""
    stock = starter("stock").program_id
    if all(program.program_id == stock for program in programs):
        raise error
    names = ", ".join(one_line(program.name, 60) for program in programs)
    (frame,) = traceback.extract_tb(error.__traceback__)[-1:]
    return f"program: {names}: {fault_of(error)} ({Path(frame.filename).name}:{frame.lineno})"


def with_patches(task: Task, program: Program) -> Task:
    """The task with the patches that the program defines and its ideas name, as further edits of the program's runs;
    none unless the queue is a proposer."""
    if not program.patches or not program.charter.has_queue:
        return task
    named_terms = {term for idea in program.ideas for term in idea.terms}
    own = [patch for patch in program.patches if not patch.problem and patch.edit_name in named_terms]
    taken = {knob.name.lower() for knob in task.edits.knobs}
    knobs = [knob_of(patch, task) for patch in own if patch.edit_name not in taken]
    return replace(task, edits=EditSpace((*task.edits.knobs, *knobs))) if knobs else task


def knob_of(patch: ProgramPatch, task: Task) -> Knob:
    """A program's own patch as an edit of this task. A file that is not editable is refused when it is applied."""
    file = patch.file or task.editable[0]
    blocks = tuple(Replacement(file, old, new, whole_lines=True) for old, new in patch.blocks)
    return Knob(patch.edit_name, "patch", (False, True), group=PATCHES, file=file, replacements=blocks)


def misfit(patch: ProgramPatch, task: Task, further: Sequence[Source] = ()) -> str:
    """Why a patch can be applied neither to the untouched script of a task nor to a further one; empty if it can."""
    knob, problems = knob_of(patch, task), list[str]()
    for source in (task.baseline(), *further):
        try:
            edited = EditSpace((knob,)).apply(source, Edit({}, (knob.name,)))
            if knob.file.endswith(".py"):
                python_tree(edited.text(knob.file))
        except EditError as error:
            problems.append(error.message)
        except SyntaxError as error:
            problems.append(f"{knob.file} is no valid Python with it: {error.msg}")
        else:
            if sum(len(text.encode()) for _, text in edited.files) <= SOURCE_BYTES:
                return ""
            problems.append(f"the script with it is larger than {SOURCE_BYTES} bytes")
    return problems[0]


def behaviour_id(
    program: Program, task: Task, researcher: str = "scripted", without: frozenset[str] = frozenset()
) -> str:
    """Equal for programs that behave alike on this task. ``without``: settings that have no effect there.

    For the scripted researcher it covers the effective charter and the ordered ideas that it would try. For all others
    every word may matter, but not the white space between the words outside settings and patches.
    """
    if researcher != "scripted":
        words = " ".join(normalise(program.document.replace(BOM, " ")).split())
        return content_id("b", words, repr(program.charter), *(patch.text for patch in program.patches), researcher)
    task = with_patches(task, program)
    queue = [edit.key for _, edit in resolved_ideas(program, task)]
    return content_id("b", json.dumps([effective(program.charter, task, without), queue], sort_keys=True))


def resolved_ideas(program: Program, task: Task) -> list[tuple[ProgramIdea, ConditionalEdit]]:
    """The ideas that a scripted researcher tries here, in order; none unless the queue is a proposer.

    Ideas are left out if they name no edit of this task or touch knobs out of focus.
    """
    if not program.charter.has_queue:
        return []
    task = with_patches(task, program)
    focus = {knob.name for knob in in_focus(task.edits, program.charter.focus)}
    resolved = [(idea, read(task.edits, idea.terms, idea.conditions)) for idea in program.ideas]
    return [(idea, edit) for idea, edit in resolved if edit and edit.knobs <= focus]


def inert_directives(program: Program, task: Task) -> list[Directive]:
    """The directives that a scripted researcher ignores on this task, or that have no effect."""
    task = with_patches(task, program)
    used = {idea.directive_id for idea, _ in resolved_ideas(program, task)}
    return [directive for directive in program.directives if not _works(directive, program, task, used)]


def in_focus(space: EditSpace, focus: Sequence[str]) -> tuple[Knob, ...]:
    """The knobs of the groups in focus; all of them where the focus is empty or names no group of this task."""
    wanted = {group.lower() for group in focus}
    return tuple(knob for knob in space.knobs if knob.group.lower() in wanted) or space.knobs


def effective(charter: Charter, task: Task, without: frozenset[str] = frozenset()) -> dict[str, JsonValue]:
    """The charter with its defaults, without settings that cannot matter, such as fields of inactive rules. Shares are
    normalised, groups are replaced by their knobs."""
    fields = charter.model_dump(mode="json", exclude={"version", "history", "standups"})
    total = sum(charter.proposers.values())
    fields["proposers"] = {name: round(share / total, 6) for name, share in charter.proposers.items()}
    fields["focus"] = [knob.name for knob in in_focus(task.edits, charter.focus)]
    if not charter.doubt_ideas or "queue" not in charter.proposers:
        del fields["doubt_ideas"]
    if not charter.keep.least:
        del fields["keep"]["least"]
    if charter.keep.rule != "margin":
        del fields["keep"]["margin"]
    if charter.keep.rule != "paired":
        del fields["keep"]["pairs"]
    if not task.scales:
        del fields["screen"]  # every experiment gets its full budget
    elif charter.screen.fraction >= 1.0:
        del fields["screen"]["promote"]
    return {name: value for name, value in fields.items() if name not in without}


def _works(directive: Directive, program: Program, task: Task, used: set[str]) -> bool:
    """A charter field works if its default would behave differently."""
    if directive.kind == "idea":
        return directive.directive_id in used
    if directive.kind == "order":
        return len(used) > 1
    if directive.kind != "charter":
        return False
    default = settings_of(unset_charter(program.text, directive.text.partition(":")[0])).charter
    return effective(program.charter, task) != effective(default, task)
