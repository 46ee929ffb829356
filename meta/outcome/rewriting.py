"""Rewrites a program for another kind of researcher than the one that it was evolved for.

A reader (chat, agent) gets the settings in a section, the best script of the study as the first idea, and a last
section (`templates/for_readers.md.j2`) with what the study measured and what an agent cannot look up without Metaloop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analysis.found_scripts import found_script, script_digits
from analysis.ledger.events import HarvestEvent
from analysis.study import read_study
from analysis.views.tables import rows, statement
from analysis.wording import duration, estimate, many, plain_text
from arena.after.harvest import HARVEST
from arena.study.setup import reference
from arena.study.study import Study
from meta.mutators.queue_first import queue_first
from meta.outcome.agent_text import copying, for_agents, training, with_code_changes
from programs.common.errors import UsageError
from programs.common.templates import jinja_environment
from programs.common.text import listed
from programs.edit import replace_ideas, state_settings
from programs.ideas import ProgramIdea
from programs.program import Program
from programs.settings import take_charter
from trainer.edits import Edit, EditError, EditSpace
from trainer.source import Source
from trainer.task import Task
from trainer.values.conditional import read as read_edit

TEMPLATES = Path(__file__).parents[1] / "templates"
_NOTATION = re.compile(r"^@|=[*/]|=(?:up|down)$|\?")  # of terms that need an explanation
FIRST = (
    "After the baseline, begin with all of these at once, as one change of the untouched script; this is the best "
    "script that the study found (gain {gain}): {terms}. Make each later change to the best script so far."
)


@dataclass(frozen=True)
class Findings:
    """What a study measured that a reader of its program needs. ``best``: the edit of its best script, empty if that
    did not gain, with its gain; ``harm``: directive id → row of `harmful_ideas`; ``sd``: of the untouched script's
    metric between training seeds."""

    task: Task | None = None
    best: Edit = field(default_factory=Edit)
    gain: str = ""
    harm: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sd: float | None = None


NOTHING = Findings()


def findings(study: Study, program: Program) -> Findings:
    """Those of a study about a program. A study of several tasks has no best script to begin with."""
    task, parameters = study.task, {"program": program.program_id}
    with read_study(study.folder, views=("credit",)) as con:
        harm = {row["directive_id"]: row for row in rows(con.execute(statement("writers/harmful_ideas"), parameters))}
        noise = con.execute("SELECT sd FROM seed_noise() WHERE task = ?", [task.name]).fetchone()
    collected = Findings(task, harm=harm, sd=task.seed_sd or (noise[0] if noise else None))
    best = study.state.harvests.get((task.name, HARVEST))
    script = found_script(task, best) if best else None
    if best is None or script is None or not script.is_better or study.config.further:
        return collected
    edit, is_all = edit_of(task, task.baseline(), best)
    gain = plain_text(estimate(script.gain, script.low, script.high, script.unit, script_digits(script)))
    if script.on_same_data:
        gain += " on the same validation data"
    return replace(collected, best=edit, gain=gain) if is_all else collected


def edit_of(task: Task, source: Source, harvest: HarvestEvent) -> tuple[Edit, bool]:
    """The edit between a train.py and the best one, and whether it is all that differs."""
    space = task.edits
    edit = space.between(space.config(source), harvest.config)
    try:
        return edit, space.apply(source, edit).source_id == harvest.source_id
    except EditError:
        return edit, False


def rewritten(program: Program, kind: str, found: Findings = NOTHING) -> tuple[Program, list[str]]:
    """``program`` for a researcher of this kind (scripted, chat or agent), or with its settings in a section (prose);
    notes for the user. A program that was evolved for this kind keeps its ideas.

    Raises UsageError where a script would find nothing in it that it can carry out.
    """
    label = program.evolved_for
    if kind == "prose":
        return replace(program.with_text(state_settings(program.text)), evolved_for=label), []
    is_for_it = label is not None and kind in (label.kind, label.rewritten)
    text, notes = program.text, list[str]()
    if kind != "scripted":
        text, notes = _for_reader(program, kind, replace(found, best=Edit(), harm={}) if is_for_it else found)
    elif not is_for_it:
        text, notes = _for_script(program, found.task)
    if label and not is_for_it:
        notes.append(f"this program was evolved for {label}; its gain with another researcher has not been measured")
    return replace(program.with_text(text), evolved_for=label.rewritten_for(kind) if label else None), notes


def _for_script(program: Program, task: Task | None) -> tuple[str, list[str]]:
    """The text with its list as the first source of experiments. Without a task, only values are known to be edits."""
    count = sum(_is_carried_out(idea, task) for idea in program.ideas)
    if not count:
        where = f" on {task.name}" if task else ""
        raise UsageError(
            f"{program.name} has no idea that a script can carry out{where}: it reads only edits in backticks",
            hint="follow it with a model (-m NAME) or an agent, or write edits such as `lr=0.01` under Ideas",
        )
    notes = [f"a script carries out {count} of {many(len(program.ideas), 'idea')} and reads no prose"]
    return (program.text if program.charter.has_queue else queue_first(program.text)), notes


def _is_carried_out(idea: ProgramIdea, task: Task | None) -> bool:
    if task is not None:
        return read_edit(task.edits, idea.terms, idea.conditions) is not None
    return any("=" in term and EditSpace.names_edit(term) for term in idea.terms)


def _for_reader(program: Program, kind: str, found: Findings) -> tuple[str, list[str]]:
    """The text for a model. An agent reads it without Metaloop: its task's own names in place of roles, no settings."""
    task, text, notes = found.task, program.text, list[str]()
    harmless = [idea for idea in program.ideas if idea.directive_id not in found.harm]
    ideas = _beyond(harmless, task, found.best) if task and found.best else harmless
    if len(ideas) < len(harmless):
        repeats = listed([" ".join(idea.terms) for idea in harmless if idea not in ideas])
        notes.append(f"left out, as they change nothing in the script of the first idea, or repeat another: {repeats}")
    first = list[str]()
    if found.best:
        terms = " ".join(f"`{term.removeprefix('+')}`" for term in found.best.label().split(" "))
        first = [FIRST.format(gain=found.gain, terms=terms)]
    if first or len(ideas) < len(program.ideas):
        text = replace_ideas(text, [*first, *(idea.text for idea in ideas)])
    text = state_settings(text)
    if kind == "agent":
        text = take_charter(text, "")
    page = jinja_environment(TEMPLATES)
    page.filters |= {"estimate": estimate, "plain": plain_text, "duration": duration}
    section = (
        page.get_template("for_readers.md.j2")
        .render(
            found=found,
            is_notation=any(idea.conditions or any(map(_NOTATION.search, idea.terms)) for idea in ideas),
            task=task if kind == "agent" else None,
            files=listed([f"`{name}`" for name in task.editable]) if task else "",
            copy=copying(reference(task)) if task else "",
            training=training(task) if task else "",
        )
        .rstrip()
    )
    text = f"{text.rstrip()}\n{section}\n" if section else text
    return (with_code_changes(for_agents(text, task), task) if kind == "agent" and task else text), notes


def _beyond(ideas: Sequence[ProgramIdea], task: Task, best: Edit) -> list[ProgramIdea]:
    """The ideas that can still change the best script, one of those that lead to the same script. Ideas that the task
    cannot read stay."""
    config = best.made_of(task.edits.config(task.baseline()))
    kept, seen = list[ProgramIdea](), [config]
    for idea in ideas:
        edit = read_edit(task.edits, idea.terms, idea.conditions)
        change = edit and edit.on(config)
        after = change.made_of(config) if change else None
        if edit is None or (after is not None and after not in seen):
            kept.append(idea)
            seen += [after] if after else []
    return kept
