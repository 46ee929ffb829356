"""Writes the Ideas list again from the effects of edits over all experiments: the operator with the largest measured
gain.

The list begins with bundles: the best value of every knob with a clear gain in one edit, then the better half of them,
then the best quarter. One experiment with a bundle replaces a dozen with single ideas; if the edits do not work
together, it costs that one experiment and the next smaller bundle follows. A bundle that was tried without a gain is
not written again. Single ideas come after, by gain; those in a kept bundle change nothing any more and are skipped at
no cost. A bundle of the program's own that most of its runs kept stays before all of them.

With several tasks the list is written from the gains on each, in one unit: bundles of each task in turn (a task skips
those with edits that it lacks), then edits that help on every task where they were tried, by mean gain, then edits that
help on one task and hurt on another, then edits with an uncertain gain. There is room for the ideas of all tasks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TypeVar

import numpy as np

from analysis.effects.experiments import Effects, key_of
from analysis.effects.final_scripts import FinalScript, OnTop, on_top
from analysis.effects.rows import Key as CreditKey
from analysis.report.evidence import Evidence
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.edit_gains import EditGain, GainTable, Key, idea_terms, key_of_term
from meta.mutators.queue_first import queue_first
from programs.edit import replace_ideas
from programs.ideas import ProgramIdea
from programs.program import Program
from programs.settings import unset_charter
from trainer.values.constants import is_number

PROOF = 4  # tries after which a bundle without a gain is dropped
UNTRIED = "Untested neighbour"
WRITTEN = re.compile(  # sentences of this operator
    rf"Use `[^`]*`\.$|Combine `|(Set|Apply) `[^`]*`: expected|All of these at once|Together `|{UNTRIED}"
)
LEAST_TRIED, MOSTLY = 3, 0.75  # runs, and the share that kept an idea, from which it stays at the beginning
JOINT = 4  # ideas with several edits that are carried over; most are variants of each other
MOST = 30  # items with measured gains, for each task; length is a cost

Number = float | int
Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Item:
    text: str
    gain: float
    credit_ids: tuple[str, ...] = ()
    keys: frozenset[Key] = frozenset()  # the edits that it makes


class WriteIdeas:
    name = "write-ideas"
    share = 0.30
    parents = 1

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        table, program = GainTable(evidence), parents[0].program
        on = [GainTable(part) for part in evidence.parts] or [table]
        best = best_known(evidence, table)
        items = (beyond(evidence, table, best) if best else written(table, on))[: MOST * len(on)]
        if not items:
            return None
        kept = [Item(idea.text, 0.0) for idea in program.ideas if idea.conditions or _is_news(idea, table)]
        first = [] if best else mostly_kept(program, evidence)
        worded = wordings(program)
        every = [*first, *items, *kept, *by_turns(map(beside_winners, on))]
        every = [item for item in every if not has_failed(item, evidence)]
        listed = dict.fromkeys(worded.get(item.keys, item.text) for item in every)
        text = replace_ideas(program.text, list(listed))
        text = unset_charter(queue_first(text), "focus")  # ideas outside the focus would be ignored
        if text == program.text:
            return None
        ids = dict.fromkeys(credit_id for item in items for credit_id in item.credit_ids)
        reason = f"Ideas written from the measured gains of {len(table.rows)} edits: {len(items)} items"
        return ChildProposal(text, self.name, reason, tuple(ids), parent_ids(parents))


def best_known(evidence: Evidence, table: GainTable) -> list[FinalScript]:
    """The best configuration that runs ended with and the best one by the model, the larger posterior mean first. Empty
    over several tasks, and where nothing gained."""
    effects, rows = evidence.effects, usable(table)
    if effects is None or effects.fitted is None or evidence.parts:
        return []
    ended = [one for one in evidence.finals if not one.code and all(key in rows for key in one.edits)]
    best = {frozenset(one.edits): one for one in (grown(effects, rows), *ended[:1]) if one.mean > 0 and one.edits}
    return sorted(best.values(), key=lambda one: -one.mean)


def has_failed(item: Item, evidence: Evidence) -> bool:
    """Whether edits of an idea failed whenever they were tried together, on every task."""
    terms = [key_of(term) for term in idea_terms(item.text)]
    return all(part.effects and part.effects.fail_together(terms) for part in evidence.parts or (evidence,))


def usable(table: GainTable) -> dict[CreditKey, EditGain]:
    """The edits of which most tries ran."""
    return {row.credit.key: row for row in table.rows.values() if 2 * row.credit.failures <= row.credit.n}


def grown(effects: Effects, rows: Mapping[CreditKey, EditGain]) -> FinalScript:
    """The untouched script with one edit more at a time, the one that is expected to add most; while one adds more
    than its posterior SD."""
    script = FinalScript((), (), (), 0.0, 0.0)
    while more := [one for one in adding(effects, script, rows) if one.mean > one.sd]:
        edits = with_edit(script, more[0].key)
        columns = tuple(sorted(effects.column[key] for key in edits))
        script = FinalScript(edits, columns, (), script.mean + more[0].mean, more[0].sd)
    return script


def adding(effects: Effects, script: FinalScript, rows: Mapping[CreditKey, EditGain]) -> list[OnTop]:
    """The edits that are expected to add to a script, without those that failed beside one of its own."""
    more = [one for one in on_top(effects, script) if one.mean > 0 and one.key in rows]
    return [one for one in more if not effects.fail_together(with_edit(script, one.key))]


def with_edit(script: FinalScript, key: CreditKey) -> tuple[CreditKey, ...]:
    """The edits of a script with another value of one knob."""
    return (*(own for own in script.edits if own[0] != key[0]), key)


def beyond(evidence: Evidence, table: GainTable, best: Sequence[FinalScript]) -> list[Item]:
    """Each of the best configurations as one change, then all edits that clearly add to the first at once, then each
    edit that is expected to add to it, the largest first."""
    assert evidence.effects is not None
    rows = usable(table)
    more = adding(evidence.effects, best[0], rows)
    clear: dict[str, OnTop] = {}
    for one in more:
        if one.mean > one.sd:
            clear.setdefault(one.key[0], one)
    items = [_combined([rows[key] for key in one.edits], one.mean) for one in best]
    if len(clear) > 1:
        at_once = [rows[one.key] for one in clear.values()]
        items.append(_combined(at_once, sum(one.mean for one in clear.values())))
    return _once([*items, *(_combined([rows[one.key]], one.mean) for one in more)])


def mostly_kept(program: Program, evidence: Evidence) -> list[Item]:
    """The program's ideas with several edits that most of its runs kept, in their order. They stay at the beginning:
    most of what was measured after them was measured on top of them."""
    tried, kept = evidence.tried_and_kept(program.program_id)
    return [
        Item(idea.text, 0.0)
        for idea in program.ideas
        if len(idea.terms) > 1
        and tried[idea.directive_id] >= LEAST_TRIED
        and kept[idea.directive_id] >= MOSTLY * tried[idea.directive_id]
    ]


def wordings(program: Program) -> dict[frozenset[Key], str]:
    """The program's own sentence for each change that it proposes, which says more than the name of a setting."""
    ideas = [idea for idea in program.ideas if not WRITTEN.match(idea.text) and not idea.conditions]
    return {keys: idea.text for idea in reversed(ideas) if (keys := _keys(idea.terms))}


def written(table: GainTable, on: Sequence[GainTable]) -> list[Item]:
    """Ideas from the evidence, in order. ``on``: the tables of the tasks, which ``table`` covers together.

    A task skips ideas that name edits it lacks, at no cost. So ideas of different tasks do not compete.
    """
    by_task = [sections(each) for each in on]
    if len(by_task) == 1:
        return list(chain(*by_task[0]))
    bundles, clear, uncertain = (by_turns(each) for each in zip(*by_task, strict=True))
    singles = [_over_tasks(item, table) for item in _once(clear)]
    everywhere, disputed = list[Item](), list[Item]()
    for item in singles:
        rows = [each.rows[key] for key in item.keys for each in on if key in each.rows]
        (everywhere if all(row.gain > 0 for row in rows) else disputed).append(item)
    ordered = [*_by_gain(everywhere), *_by_gain(disputed), *(_over_tasks(item, table) for item in uncertain)]
    return [*_once(bundles), *_once(ordered)]


def by_turns(lists: Iterable[Sequence[Thing]]) -> list[Thing]:
    """The first of each, the second of each, and so on."""
    return [thing for turn in zip_longest(*lists) for thing in turn if thing is not None]


def _once(items: Iterable[Item]) -> list[Item]:
    """Without those that change the same as one before them."""
    first: dict[frozenset[Key], Item] = {}
    for item in items:
        first.setdefault(item.keys, item)
    return list(first.values())


def _by_gain(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: -item.gain)


def _over_tasks(item: Item, table: GainTable) -> Item:
    """A single edit with its gain over all tasks on which it was tried."""
    row = table.rows.get(next(iter(item.keys))) if len(item.keys) == 1 else None
    return _combined([row], row.gain) if row is not None and row.credit.of else item


def sections(table: GainTable) -> tuple[list[Item], list[Item], list[Item]]:
    """Ideas from the evidence of one task: bundles, clear gains by size, then second values and uncertain gains."""
    best, winners = best_values(table)
    uncertain = [row for row in best if row.low <= 0 < row.gain]
    uncertain += [row for rows in table.by_knob().values() for row in _second(rows)]
    uncertain.sort(key=lambda row: (-row.low, row.term))
    clear, last = ([_combined([row], row.gain) for row in rows] for rows in (winners, uncertain))
    return _bundles(winners, table), _by_gain(clear + _joint_ideas(table)), last


def best_values(table: GainTable) -> tuple[list[EditGain], list[EditGain]]:
    """The best value of each knob, the largest gain first, and those with a clear gain."""
    best = sorted((rows[0] for rows in table.by_knob().values()), key=lambda row: (-row.gain, row.term))
    return best, [row for row in best if row.low > 0]


def _is_news(idea: ProgramIdea, table: GainTable) -> bool:
    """Whether the evidence does not cover an idea: one for LLMs, or one with an untried edit. Untested neighbours are
    written again from today's best values."""
    keys = _keys(idea.terms)
    return not idea.text.startswith(UNTRIED) and (not keys or not table.rows.keys() >= keys)


def beside_winners(table: GainTable) -> list[Item]:
    """Untried values that the task allows, beside the best value of each knob with a clear gain. Those of all trained
    configs count as tried."""
    items, by_knob = list[Item](), table.by_knob()
    for row in best_values(table)[1]:
        name, rows = row.credit.knob.lower(), by_knob[row.credit.knob.casefold()]
        knob, values = table.space.knob(name), [*(r.credit.value for r in rows), *table.trained(name)]
        values += [table.untouched[knob.name]] if knob and knob.name in table.untouched else []
        tried = [value for value in values if isinstance(value, int | float)]
        for value in untried(row.credit.value, tried) if is_number(row.credit.value) else ():
            if knob is None or knob.legal(value) is not None:
                items.append(Item(f"{UNTRIED}: `{name}={value:g}`.", 0.0, row.credit.ids))
    return items


def _bundles(winners: Sequence[EditGain], table: GainTable) -> list[Item]:
    """All clear gains at once, then the better half, and so on while there are two or more."""
    failed = {_keys(idea_terms(c.text)) for c in table.ideas.values() if c.estimate <= 0 and c.n >= PROOF}
    bundles = list[Item]()
    while len(winners) > 1:
        if _keys(row.term for row in winners) not in failed:
            bundles.append(_combined(winners, table.together(winners)))
        winners = winners[: len(winners) // 2]
    return bundles


def _second(rows: Sequence[EditGain]) -> list[EditGain]:
    """A knob's second value, if its gain is clear and it is clearly a different value.

    Neighbouring rungs of a ladder mostly show the same effect, so a number must be two rungs away.
    """
    best, rest = rows[0].credit.value, [row for row in rows[1:] if row.low > 0]
    if is_number(best):
        rungs = sorted(float(row.credit.value) for row in rows if is_number(row.credit.value))
        rest = [row for row in rest if is_number(row.credit.value)]
        rest = [row for row in rest if abs(rungs.index(float(row.credit.value)) - rungs.index(float(best))) > 1]
    return rest[:1]


def _joint_ideas(table: GainTable) -> list[Item]:
    """Ideas with several edits that gained most together, though their parts may not gain alone."""
    items = list[Item]()
    for credit in sorted(table.ideas.values(), key=lambda c: (-c.estimate, c.credit_id)):
        item = _item([term for term in idea_terms(credit.text) if key_of_term(term)], credit.estimate, credit.ids)
        if len(item.keys) > 1 and credit.estimate > 0:
            items.append(item)
    return _once(items)[:JOINT]


def _combined(rows: Sequence[EditGain], gain: float) -> Item:
    return _item([row.term for row in rows], gain, tuple(credit_id for row in rows for credit_id in row.credit.ids))


def _item(terms: Sequence[str], gain: float, credit_ids: tuple[str, ...]) -> Item:
    shown = " ".join(f"`{term}`" for term in terms)
    return Item(f"{'Combine' if len(terms) > 1 else 'Use'} {shown}.", gain, credit_ids, _keys(terms))


def _keys(terms: Iterable[str]) -> frozenset[Key]:
    """The edits of an idea, independent of its wording."""
    return frozenset(key for term in terms if (key := key_of_term(term)))


def untried(best: Number, tried: Sequence[Number]) -> list[Number]:
    """Up to two values beside ``best``: half-way to its tried neighbours, or one step beyond if there is none.

    Steps are geometric between values of one sign and arithmetic if a zero is involved; integers stay integers.
    """
    rungs, here = sorted({float(value) for value in (best, *tried)}), float(best)
    at = rungs.index(here)
    below, above = rungs[at - 1] if at else None, rungs[at + 1] if at + 1 < len(rungs) else None
    beside = [_between(here, above) if above is not None else _beyond(below, here)]
    beside += [_between(here, below) if below is not None else _beyond(above, here)]
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
