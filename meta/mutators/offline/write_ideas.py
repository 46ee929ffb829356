"""Writes the Ideas list again from the fitted effects of edits: the operator with the largest measured gain.

The list begins with the best configurations known, each as one change: the one that runs ended with, and the one that
the model of all experiments expects to be best. All edits that clearly add to the better one follow at once, then each
edit that is expected to add to it, the largest first. Untried values beside those with a clear gain are last.

With several tasks each task's model writes such a list, and the lists take turns, with room for the ideas of all tasks.
A run skips ideas that name edits its task lacks, at no cost. A task without a fitted model adds nothing, and where no
task has one, nothing is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TypeVar

import numpy as np

from analysis.effects.experiments import Effects
from analysis.effects.final_scripts import FinalScript, OnTop, on_top
from analysis.effects.rows import CreditRow, Key
from analysis.evidence.task_evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.edit_gains import GainTable, best_first, is_clear, parse_idea, term_of
from meta.mutators.queue_first import queue_first
from programs.edit import replace_ideas
from programs.ideas import ProgramIdea
from programs.program import Program
from programs.settings import unset_charter
from trainer.values.constants import is_number

UNTRIED = "Untested neighbour"
WRITTEN = re.compile(  # sentences of this operator
    rf"Use `[^`]*`\.$|Combine `|(Set|Apply) `[^`]*`: expected|All of these at once|Together `|{UNTRIED}"
)
MOST = 30  # items with measured gains, for each task; length is a cost
UNTOUCHED = FinalScript(edits=(), columns=(), run_ids=(), mean=0.0, sd=0.0)

Number = float | int
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Item:
    """One idea of the list: its sentence, the rows of evidence behind it, and the edits that it makes."""

    text: str
    credit_ids: tuple[str, ...] = ()
    keys: frozenset[Key] = frozenset()


class WriteIdeas:
    name = "write-ideas"
    share = 0.30
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        table, program = GainTable(evidence), parents[0].program
        parts = evidence.parts or (evidence,)
        items = drop_repeats(take_turns(map(write_items, parts)))[: MOST * len(parts)]
        if not items:
            return None
        kept = [Item(idea.text) for idea in program.ideas if idea.conditions or _is_news(idea, table)]
        neighbours = take_turns(propose_neighbours(GainTable(part)) for part in parts)
        listed = [item for item in [*items, *kept, *neighbours] if not has_failed(item, evidence, table)]
        sentences = find_sentences(program, table)
        texts = dict.fromkeys(sentences.get(item.keys, item.text) for item in listed)
        text = replace_ideas(program.text, list(texts))
        text = unset_charter(queue_first(text), "focus")  # ideas outside the focus would be ignored
        if text == program.text:
            return None
        ids = dict.fromkeys(credit_id for item in items for credit_id in item.credit_ids)
        reason = f"Ideas written from the measured gains of {len(table.rows)} edits: {len(items)} items"
        return ChildProposal(text, self.name, reason, tuple(ids), parent_ids(parents))


def write_items(evidence: Evidence) -> list[Item]:
    """The ideas of one task, in order; empty where its model is not fitted. Where nothing has gained, the edits that
    are expected to add to the untouched script."""
    effects = evidence.effects
    if effects is None or effects.fitted is None:
        return []
    rows = {edit.key: edit for edit in evidence.edits if 2 * (edit.failures or 0) <= edit.n}  # most ran
    best = find_best(evidence, effects, rows)
    additions = find_additions(effects, best[0] if best else UNTOUCHED, rows)
    clear: dict[str, OnTop] = {}
    for addition in additions:
        if addition.mean > addition.sd:
            clear.setdefault(addition.key[0], addition)
    changes: list[Sequence[Key]] = [script.edits for script in best]
    if len(clear) > 1:
        changes.append([addition.key for addition in clear.values()])
    changes += [[addition.key] for addition in additions]
    return drop_repeats(_combined([rows[key] for key in change]) for change in changes)


def find_best(evidence: Evidence, effects: Effects, rows: Mapping[Key, CreditRow]) -> list[FinalScript]:
    """The best configuration that runs ended with and the best one by the model, the larger posterior mean first; only
    those that gained."""
    scale = evidence.scale.size if evidence.scale else 1.0  # the model is in the task's unit
    grown = grow_script(effects, rows)
    ended = [script for script in evidence.finals if not script.code and all(key in rows for key in script.edits)]
    found = {
        frozenset(script.edits): script
        for script in (replace(grown, mean=grown.mean / scale), *ended[:1])
        if script.mean > 0 and script.edits
    }
    return sorted(found.values(), key=lambda script: -script.mean)


def has_failed(item: Item, evidence: Evidence, table: GainTable) -> bool:
    """Whether edits of an idea failed whenever they were tried together, on every task."""
    idea = parse_idea(item.text)
    keys = table.keys(idea.terms) if idea else []
    return all(part.effects and part.effects.fail_together(keys) for part in evidence.parts or (evidence,))


def grow_script(effects: Effects, rows: Mapping[Key, CreditRow]) -> FinalScript:
    """The untouched script with one edit more at a time, the one that is expected to add most; while one adds more
    than its posterior SD."""
    script = UNTOUCHED
    while clear := [a for a in find_additions(effects, script, rows) if a.mean > a.sd]:
        edits = add_edit(script, clear[0].key)
        columns = tuple(sorted(effects.column[key] for key in edits))
        script = FinalScript(edits, columns, (), script.mean + clear[0].mean, clear[0].sd)
    return script


def find_additions(effects: Effects, script: FinalScript, rows: Mapping[Key, CreditRow]) -> list[OnTop]:
    """The edits that are expected to add to a script, the largest first, without those that failed beside one of its
    own."""
    return [
        addition
        for addition in on_top(effects, script)
        if addition.mean > 0 and addition.key in rows and not effects.fail_together(add_edit(script, addition.key))
    ]


def add_edit(script: FinalScript, key: Key) -> tuple[Key, ...]:
    """The edits of a script with another value of one knob."""
    return (*(edit for edit in script.edits if edit[0] != key[0]), key)


def find_sentences(program: Program, table: GainTable) -> dict[frozenset[Key], str]:
    """The program's own sentence for each change that it proposes, which says more than the name of a setting."""
    ideas = [idea for idea in program.ideas if not WRITTEN.match(idea.text) and not idea.conditions]
    return {keys: idea.text for idea in reversed(ideas) if (keys := frozenset(table.keys(idea.terms)))}


def take_turns(lists: Iterable[Sequence[Thing]]) -> list[Thing]:
    """The first of each, the second of each, and so on."""
    return [thing for turn in zip_longest(*lists) for thing in turn if thing is not None]


def drop_repeats(items: Iterable[Item]) -> list[Item]:
    """Without those that change the same as one before them."""
    first: dict[frozenset[Key], Item] = {}
    for item in items:
        first.setdefault(item.keys, item)
    return list(first.values())


def _is_news(idea: ProgramIdea, table: GainTable) -> bool:
    """Whether the evidence does not cover an idea: one for LLMs, or one with an untried edit. Untested neighbours are
    written again from today's best values."""
    keys = table.keys(idea.terms)
    return not idea.text.startswith(UNTRIED) and (not keys or not table.rows.keys() >= {*keys})


def propose_neighbours(table: GainTable) -> list[Item]:
    """Untried values that the task allows, beside the best value of each knob with a clear gain. Those of all trained
    configs count as tried."""
    items, by_knob = list[Item](), table.by_knob()
    for row in filter(is_clear, sorted((rows[0] for rows in by_knob.values()), key=best_first)):
        best = row.constant
        name, rows = row.key[0], by_knob[row.key[0]]
        knob, values = table.space.knob(name), [*(r.constant for r in rows), *table.trained(name)]
        values += [table.untouched[knob.name]] if knob and knob.name in table.untouched else []
        tried = [value for value in values if isinstance(value, int | float)]
        for value in untried_beside(best, tried) if is_number(best) else ():
            if knob is None or knob.legal(value) is not None:
                items.append(Item(f"{UNTRIED}: `{name}={value:g}`.", row.ids))
    return items


def _combined(rows: Sequence[CreditRow]) -> Item:
    quoted = " ".join(f"`{term_of(row)}`" for row in rows)
    credit_ids = tuple(credit_id for row in rows for credit_id in row.ids)
    return Item(f"{'Combine' if len(rows) > 1 else 'Use'} {quoted}.", credit_ids, frozenset(row.key for row in rows))


def untried_beside(best: Number, tried: Sequence[Number]) -> list[Number]:
    """Up to two values beside ``best``: half-way to its tried neighbours, or one step beyond if there is none.

    Steps are geometric between values of one sign and arithmetic if a zero is involved; integers stay integers.
    """
    rungs, current = sorted({float(value) for value in (best, *tried)}), float(best)
    at = rungs.index(current)
    below, above = rungs[at - 1] if at else None, rungs[at + 1] if at + 1 < len(rungs) else None
    beside = [_between(current, above) if above is not None else _beyond(below, current)]
    beside += [_between(current, below) if below is not None else _beyond(above, current)]
    whole = all(isinstance(value, int) for value in (best, *tried))
    values = [round(value) if whole else float(f"{value:.3g}") for value in beside if value is not None]
    return [value for value in dict.fromkeys(values) if float(value) not in rungs]


def _between(a: float, b: float) -> float:
    return math.copysign(math.sqrt(a * b), a) if a * b > 0 else (a + b) / 2


def _beyond(inner: float | None, edge: float) -> float | None:
    """One step beyond the edge; None if there is no step, or if it would reach or cross zero."""
    if inner is None:
        return None
    step = edge * edge / inner if inner * edge > 0 else 2 * edge - inner
    return step if step * edge > 0 else None


make = WriteIdeas
