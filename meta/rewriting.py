"""Rewrites a program for another kind of researcher than the one that it was evolved for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from analysis.study import read_study
from analysis.wording import listed, many, number
from arena.harvest import HARVEST
from arena.study import Study
from meta.agent_text import SeedSpread, for_agents, stand_alone, steps_alone, with_code_changes
from meta.mutators.offline.write_ideas import UNTRIED
from meta.mutators.queue_first import queue_first
from programs.charter_prose import sentences, with_prose
from programs.edit import replace_ideas
from programs.errors import ProgramError, UsageError
from programs.ideas import Comparison, ProgramIdea
from programs.order_of_work import HARMFUL, with_order
from programs.program import Program
from trainer.edits import Edit, EditError
from trainer.source import Source
from trainer.task import Task
from trainer.values.conditional import OPTIONAL, read

if TYPE_CHECKING:
    from analysis.ledger.events import HarvestEvent
    from analysis.report.program_text import TriedRow

_TERM = re.compile(r"\+?\s*(@?[A-Za-z_]\w*)\s*(?:=\s*(\S.*?))?\s*(\??)")
_SIGNS = {"<": "is below", "<=": "is at most", ">": "is above", ">=": "is at least", "==": "is", "!=": "is not"}
_UNTRIED = re.compile(rf"^{UNTRIED}: ")  # which a measured harm contradicts
_STEPS = {"up": "raise {} to its next value", "down": "lower {} to its next value"}
_SWITCHED = {"true": "on", "false": "off"}


@dataclass(frozen=True)
class MeasuredLoss:
    """What is said behind an idea that made scripts worse on average; ``leave_out``: runs
    kept it no more often than noise explains."""

    said: str
    leave_out: bool = True


@dataclass(frozen=True)
class Rewritten:
    """``said``: (field, sentence) of the charter; ``notes``: for the user."""

    program: Program
    said: Sequence[tuple[str, str]] = ()
    notes: tuple[str, ...] = ()


def rewritten(
    program: Program,
    kind: str,
    task: Task | None = None,
    bundle: str = "",
    harm: Mapping[str, MeasuredLoss] = MappingProxyType({}),
    spread: SeedSpread | None = None,
) -> Rewritten:
    """``program`` for a researcher of this kind (scripted, chat or agent). ``bundle``: the idea that comes first.
    ``harm``: text of an idea → what is said behind it, of `measured_harm`. ``spread``: of `agent_text.spread`.

    Raises UsageError where a script would find nothing in it that it can carry out.
    """
    label = program.evolved_for
    if label and kind in (label.kind, label.rewritten):
        stated = program.text if kind == "scripted" else _stated(program.text)
        steps = [("", program.text), ("its settings are written as sentences", stated)]
        steps += steps_alone(stated, task, spread) if kind == "agent" else []
        changes = [what for (_, before), (what, after) in pairwise(steps) if after.split() != before.split()]
        same = replace(program.with_text(steps[-1][1]), evolved_for=label)
        note = "; ".join(changes) or "nothing is rewritten"
        return Rewritten(same, notes=(f"{program.name} was evolved for {label}: {note}",))
    program = _with_entry(program, _with_harm(program, harm, kind))
    left_out = tuple(one.said for one in harm.values() if one.leave_out)
    if kind == "agent" and task is not None:
        program = _with_entry(program, for_agents(program.text, task))
    text, said, notes = program.text, sentences(program.text), list[str]()
    if kind == "scripted":
        text, notes = _for_script(program, task)
        said = []
    elif not label or label.kind == "scripted":
        readable, left = _with_readable_ideas(program, bundle, task, left_out)
        text, notes = _stated(_with_heading(readable, left_out)), [_without(left)] if left else []
        notes += (
            []
            if bundle
            else ["its list does not begin with a best script's changes: a study of one task has to find one"]
        )
    else:
        text = _stated(_with_heading(program.text, left_out))
    if kind == "agent":
        text = stand_alone(with_code_changes(text, task) if task else text, task, spread)
    new = replace(_with_entry(program, text), evolved_for=label.rewritten_for(kind) if label else None)
    if label:
        notes.append(f"this program was evolved for {label}; its gain with another researcher has not been measured")
    return Rewritten(new, said, tuple(notes))


def _with_entry(program: Program, text: str) -> Program:
    """The program with another entry file and all its other files, also those that only an idea left out names."""
    if not program.is_set:
        return program.with_text(text)
    (entry, _), *others = program.files
    return Program.parse(text, program.name, others=dict(others), living=dict(program.living), entry=entry)


def measured_harm(study: Path, program: Program) -> dict[str, MeasuredLoss]:
    """By text of the idea, of those that made the study's scripts significantly worse when they were tried, on average
    (`metaloop credit --method directive`: their interval and q). A row about having the idea does not show that: a run
    discards what made its script worse. The effect of one that runs kept more often than noise explains depends on the
    script."""
    from analysis.report.program_text import TriedRow
    from analysis.report.source import ReportSource

    with read_study(study, views=("credit",)) as con:
        rows = ReportSource(con, "").ask("directive_tries", TriedRow, program=program.program_id).rows
    said = {row.directive_id: MeasuredLoss(_loss(row), not row.varies) for row in harmful(rows)}
    return {idea.text: said[idea.directive_id] for idea in program.ideas if idea.directive_id in said}


def _loss(row: TriedRow) -> str:
    unit = row.unit or ""
    size = f"{number(-(row.estimate or 0), row.digits)} {unit}"
    size += f" [{number(-(row.high or 0), row.digits)} to {number(-(row.low or 0), row.digits)}] on average"
    of, where = f"{row.kept} of {many(row.tries, 'experiment')}", ""
    if (row.n or 0) < row.tries:  # the effect is of the search alone
        size, where = f"{size} over {many(row.n, 'experiment')} of the search", " in search and confirmation"
    if row.varies:
        kept = f"{of} with it{where} were kept, more than noise explains (about {row.by_noise:.0f})"
        return f"In the study it made scripts worse, by {size}. Its effect depends on the script: {kept}."
    noise = "; noise explains as many" if row.kept and row.noise is not None and not row.is_beyond_noise else ""
    return f"In the study it made scripts worse, by {size} ({of}{where} kept{noise})."


def harmful(tries: Sequence[TriedRow]) -> list[TriedRow]:
    """The ideas that made scripts significantly worse when they were tried, on average."""
    return [row for row in tries if row.kind == "idea" and row.is_proven and row.high is not None and row.high < 0]


def _with_harm(program: Program, harm: Mapping[str, MeasuredLoss], kind: str) -> str:
    """For a reader, the ideas that made scripts worse on average come after the others, those that did nothing else
    last."""
    reads = kind != "scripted"
    last = {text: 1 + one.leave_out for text, one in harm.items()} if reads else {}
    ideas = sorted(program.ideas, key=lambda idea: last.get(idea.text, 0))
    items = [
        f"{_UNTRIED.sub('', idea.text, count=reads)} {harm[idea.text].said}" if idea.text in harm else idea.text
        for idea in ideas
    ]
    return replace_ideas(program.text, items) if harm else program.text


def _with_heading(text: str, harm: Sequence[str]) -> str:
    """The text with a heading of their own above the ideas that made scripts worse, which stand last."""
    lines = text.split("\n")
    first = next((at for at, line in enumerate(lines) if any(said in line for said in harm)), None)
    if first is None or first == 0:
        return text
    above = [line for line in lines[:first] if re.match(r"#{1,5} ", line)]
    level = len(above[-1].split(" ")[0]) + 1 if above else 2
    return "\n".join(
        [*lines[:first], *["", f"{'#' * level} {HARMFUL}", ""][not lines[first - 1].strip() :], *lines[first:]]
    )


def measured_bundle(study: Study) -> str:
    """The best train.py of a study as one idea; empty if it has none that gained, several tasks, or changes of the code
    that no edit describes."""
    harvest = study.state.harvests.get((study.task.name, HARVEST))
    if harvest is None or harvest.gain is None or harvest.low is None or harvest.low <= 0 or study.config.further:
        return ""
    task = study.task
    edit, is_all = edit_of(task, task.baseline(), harvest)
    if not edit or not is_all:
        return ""
    terms = " ".join(f"`{term.removeprefix('+')}`" for term in edit.label().split(" "))
    gain = f"{harvest.gain:.3g} [{harvest.low:.3g}, {harvest.high:.3g}] {task.unit} over the untouched script"
    best = f"this is the best script that the study found (gain {gain})"
    then = "Make each later change to the best script so far."
    first = "After the baseline, begin with all of these at once, as one change of the untouched script"
    return f"{first}; {best}: {terms}. {then}"


def edit_of(task: Task, source: Source, harvest: HarvestEvent) -> tuple[Edit, bool]:
    """The edit between a train.py and the best one, and whether it is all that differs."""
    space = task.edits
    edit = space.between(space.config(source), harvest.config)
    try:
        return edit, space.apply(source, edit).source_id == harvest.source_id
    except EditError:
        return edit, False


def _for_script(program: Program, task: Task | None) -> tuple[str, list[str]]:
    """The text with its list as the first source of experiments. Without a task, only values are known to be edits."""
    known = [idea for idea in program.ideas if _is_carried_out(idea, task)]
    if not known:
        where = f" on {task.name}" if task else ""
        raise UsageError(
            f"{program.name} has no idea that a script can carry out{where}: it reads only edits in backticks",
            hint="follow it with a model (-m NAME) or an agent, or write edits such as `lr=0.01` under Ideas",
        )
    queued = any("queue" in charter.proposers for _, charter in program.charter.by_phase())
    notes = [f"a script carries out {len(known)} of {many(len(program.ideas), 'idea')} and reads no prose"]
    return (program.text if queued else queue_first(program.text)), notes


def _is_carried_out(idea: ProgramIdea, task: Task | None) -> bool:
    if task is not None:
        return read(task.edits, idea.terms, idea.conditions) is not None
    return any("=" in term and _TERM.fullmatch(term) for term in idea.terms)


def _with_readable_ideas(
    program: Program, bundle: str, task: Task | None, harm: Sequence[str]
) -> tuple[str, list[ProgramIdea]]:
    """The text with the bundle first, and in words what conditions and relative values of its ideas mean, and the ideas
    that are left out. Ideas that undo the bundle come after the others, those that made scripts worse (``harm``) last.
    """
    ideas = _beyond(program.ideas, bundle, task)
    first = [bundle] if bundle else []
    left = [idea for idea in program.ideas if idea not in ideas]
    ideas = sorted(ideas, key=lambda idea: (_is_harmful(idea, harm), bool(_undone(idea, bundle, task))))
    items = [*first, *(f"{idea.text}{_meaning(idea)}{_undoing(idea, bundle, task)}" for idea in ideas)]
    if items == [idea.text for idea in program.ideas]:
        return program.text, []
    try:
        return replace_ideas(program.text, items), left
    except ProgramError:  # an idea that is more than one item of a list
        every = [*first, *(idea.text for idea in program.ideas)]
        return replace_ideas(program.text, every) if bundle else program.text, []


def _stated(text: str) -> str:
    """The text with its charter as sentences that a reader can follow."""
    return with_order(with_prose(text))


def _beyond(ideas: Sequence[ProgramIdea], bundle: str, task: Task | None) -> list[ProgramIdea]:
    """The ideas that can still change the script of the bundle, one of those that lead to the same script. Ideas that
    the task cannot read stay."""
    whole = read(task.edits, re.findall(r"`([^`]+)`", bundle)) if task and bundle else None
    if task is None or whole is None:
        return list(ideas)
    config = whole.fixed.made_of(task.edits.config(task.baseline()))
    stay, seen = list[ProgramIdea](), [config]
    for idea in ideas:
        edit = read(task.edits, idea.terms, idea.conditions)
        made = edit and edit.on(config)
        after = made.made_of(config) if made else None
        if edit is None or (after is not None and after not in seen):
            stay.append(idea)
            seen += [after] if after else []
    return stay


def _without(left: Sequence[ProgramIdea]) -> str:
    """The note about ideas that are left out."""
    conditions = [" and ".join(f"{one.name}{one.sign}{one.value}" for one in idea.conditions) for idea in left]
    words = [
        f"{' '.join(idea.terms)}{f' if {when}' if when else ''}" for idea, when in zip(left, conditions, strict=True)
    ]
    named = ", ".join(words)
    return f"left out, as they change nothing in the script of the first idea, or do the same as another: {named}"


def _is_harmful(idea: ProgramIdea, harm: Sequence[str]) -> bool:
    return any(said in idea.text for said in harm)


def _undone(idea: ProgramIdea, bundle: str, task: Task | None) -> list[str]:
    """The settings of the bundle that an idea with several edits sets to another value."""
    bundled, own = _values(re.findall(r"`([^`]+)`", bundle), task), _values(idea.terms, task)
    return [name for name, value in own.items() if len(own) > 1 and name in bundled and bundled[name] != value]


def _undoing(idea: ProgramIdea, bundle: str, task: Task | None) -> str:
    named = [name.lower() if task else name for name in _undone(idea, bundle, task)]
    return f" This replaces the first idea's {listed(named)}." if named else ""


def _values(terms: Sequence[str], task: Task | None) -> dict[str, str]:
    """Setting → value, by the names of the task."""
    settings = [match.groups() for term in terms if (match := _TERM.fullmatch(term))]
    knobs = {name: task.edits.knob(name) if task else None for name, *_ in settings}
    return {knob.name if (knob := knobs[name]) else name: value or "" for name, value, _ in settings}


def _meaning(idea: ProgramIdea) -> str:
    """``In words: if lr is below 0.03, multiply lr by 10.``; empty for an idea that only names values."""
    read_terms = [match for term in idea.terms if (match := _TERM.fullmatch(term))]
    plain = all(not m[3] and (m[2] or "x")[0] not in "*/" and (m[2] or "").lower() not in _STEPS for m in read_terms)
    if not read_terms or (plain and (not idea.conditions or idea.text.startswith("When "))):
        return ""  # a learnt idea says its conditions itself
    when = f"if {' and '.join(map(_condition, idea.conditions))}, " if idea.conditions else ""
    return f" In words: {when}{' and '.join(_action(*match.groups()) for match in read_terms)}."


def _condition(one: Comparison) -> str:
    return f"{_named(one.name)} {_SIGNS[one.sign]} {_SWITCHED.get(one.value.lower(), one.value)}"


def _action(name: str, value: str | None, optional: str) -> str:
    named, where = _named(name), ", where the script has it" if optional == OPTIONAL else ""
    if value is None:
        return f"apply {named}{where}"
    if value.lower() in _STEPS:
        return _STEPS[value.lower()].format(named) + where
    if value[0] in "*/":
        return f"{'multiply' if value[0] == '*' else 'divide'} {named} by {value[1:]}{where}"
    return f"set {named} to {value}{where}"


def _named(name: str) -> str:
    """A role is two words of the language, a setting stays as the script has it."""
    return f"the {name[1:].replace('_', ' ')}" if name.startswith("@") else name
