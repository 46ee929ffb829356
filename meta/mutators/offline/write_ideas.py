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

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.effects.final_scripts import FinalScript, OnTop, on_top
from meta.mutators.base import ChildProposal, ParentProgram, parent_ids
from meta.mutators.edit_gains import EditGain, GainTable, Key, idea_terms, key_of_term
from meta.mutators.ladder import untried
from meta.mutators.queue_first import queue_first
from meta.mutators.several import by_turns, helps_everywhere, tables
from programs.edit import replace_ideas, unset_charter
from trainer.values.constants import is_number

if TYPE_CHECKING:
    import numpy as np

    from analysis.effects.experiments import Effects
    from analysis.effects.rows import Key as CreditKey
    from analysis.report.evidence import Evidence
    from programs.program import Program

PROOF = 4  # tries after which a bundle without a gain is dropped
UNTRIED = "Untested neighbour"
WRITTEN = re.compile(  # sentences of this operator
    rf"Use `[^`]*`\.$|Combine `|(Set|Apply) `[^`]*`: expected|All of these at once|Together `|{UNTRIED}"
)
LEAST_TRIED, MOSTLY = 3, 0.75  # runs, and the share that kept an idea, from which it stays at the beginning
JOINT = 4  # ideas with several edits that are carried over; most are variants of each other


@dataclass(frozen=True)
class Item:
    text: str
    gain: float
    credit_ids: tuple[str, ...] = ()
    keys: frozenset[Key] = frozenset()  # the edits that it makes


Sections = tuple[list[Item], list[Item], list[Item]]  # bundles, clear gains, uncertain gains


@dataclass(frozen=True)
class WriteIdeas:
    """``bundles``: whether the list begins with bundles."""

    name: str = "write-ideas"
    share: float = 0.30
    parents: int = 1
    bundles: bool = True
    most: int = 30  # items with measured gains; length is a cost

    def propose(
        self, parents: Sequence[ParentProgram], evidence: Evidence, rng: np.random.Generator
    ) -> ChildProposal | None:
        table, program, on = GainTable(evidence), parents[0].program, tables(evidence)
        best = best_known(evidence, table) if self.bundles else []
        items = beyond(evidence, table, best) if best else written(table, on, self.bundles)
        items = items[: self.most * len(on)]
        if not items:
            return None
        kept = [
            Item(idea.text, 0.0) for idea in program.ideas if idea.conditions or _is_news(idea.text, idea.terms, table)
        ]
        said = wordings(program)
        first = [] if best else mostly_kept(program, evidence)
        every = [*first, *items, *kept, *by_turns(map(beside_winners, on))]
        listed = dict.fromkeys(said.get(item.keys, item.text) for item in every)
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


def usable(table: GainTable) -> dict[CreditKey, EditGain]:
    """The edits of which most tries ran."""
    return {row.credit.key: row for row in table.rows.values() if 2 * row.credit.failures <= row.credit.n}


def grown(effects: Effects, rows: Mapping[CreditKey, EditGain]) -> FinalScript:
    """The untouched script with one edit more at a time, the one that is expected to add most; while one adds more
    than its posterior SD."""
    script = FinalScript((), (), (), 0.0, 0.0)
    while more := [one for one in on_top(effects, script) if one.key in rows and one.mean > one.sd]:
        edits = (*(own for own in script.edits if own[0] != more[0].key[0]), more[0].key)
        columns = tuple(sorted(effects.column[key] for key in edits))
        script = FinalScript(edits, columns, (), script.mean + more[0].mean, more[0].sd)
    return script


def beyond(evidence: Evidence, table: GainTable, best: Sequence[FinalScript]) -> list[Item]:
    """Each of the best configurations as one change, then all edits that clearly add to the first at once, then each
    edit that is expected to add to it, the largest first."""
    assert evidence.effects is not None
    rows = usable(table)
    more = [(one, rows[one.key]) for one in on_top(evidence.effects, best[0]) if one.mean > 0 and one.key in rows]
    clear: dict[str, tuple[OnTop, EditGain]] = {}
    for one, row in more:
        if one.mean > one.sd:
            clear.setdefault(one.key[0], (one, row))
    items = [_combined([rows[key] for key in one.edits], one.mean) for one in best]
    if len(clear) > 1:
        items.append(_combined([row for _, row in clear.values()], sum(one.mean for one, _ in clear.values())))
    return _once([*items, *(_combined([row], one.mean) for one, row in more)])


def _combined(rows: Sequence[EditGain], gain: float) -> Item:
    terms = " ".join(f"`{row.term}`" for row in rows)
    ids = tuple(credit_id for row in rows for credit_id in row.credit.ids)
    return Item(f"{'Combine' if len(rows) > 1 else 'Use'} {terms}.", gain, ids, _keys(row.term for row in rows))


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


def written(table: GainTable, on: Sequence[GainTable] = (), bundles: bool = True) -> list[Item]:
    """Ideas from the evidence, in order. ``on``: the tables of the tasks if ``table`` covers several."""
    by_task = [sections(each, bundles) for each in on or [table]]
    if len(by_task) == 1:
        return [item for section in by_task[0] for item in section]
    opening, clear, hopeful = (by_turns(each) for each in zip(*by_task, strict=True))
    singles = [_retold(item, table) for item in _once(clear)]
    everywhere = [item for item in singles if all(helps_everywhere(key, on) for key in item.keys)]
    disputed = [item for item in singles if item not in everywhere]
    ordered = [*_by_gain(everywhere), *_by_gain(disputed), *(_retold(item, table) for item in hopeful)]
    return [*_once(opening), *_once(ordered)]


def _once(items: Iterable[Item]) -> list[Item]:
    """Without those that change the same as one before them."""
    first: dict[frozenset[Key], Item] = {}
    for item in items:
        first.setdefault(item.keys, item)
    return list(first.values())


def _by_gain(items: Iterable[Item]) -> list[Item]:
    return sorted(items, key=lambda item: -item.gain)


def _retold(item: Item, table: GainTable) -> Item:
    """A single edit with its gain over all tasks on which it was tried."""
    row = table.rows.get(next(iter(item.keys))) if len(item.keys) == 1 else None
    return _single(row) if row is not None and row.credit.of else item


def sections(table: GainTable, bundles: bool = True) -> Sections:
    """Ideas from the evidence of one task: bundles, clear gains by size, then second values and uncertain gains."""
    by_knob = table.by_knob()
    best = sorted((rows[0] for rows in by_knob.values()), key=lambda row: (-row.gain, row.term))
    winners = [row for row in best if row.low > 0]
    singles = [_single(row) for row in winners] + _joint_ideas(table)
    hopefuls = [row for row in best if row.low <= 0 < row.gain]
    second = [row for rows in by_knob.values() for row in _second(rows)]
    last = [_single(row) for row in sorted(second + hopefuls, key=lambda row: (-row.low, row.term))]
    return _bundles(winners, table) if bundles else [], _by_gain(singles), last


def beside_winners(table: GainTable) -> list[Item]:
    """Untried values beside the best value of each knob with a clear gain."""
    by_knob = table.by_knob()
    winners = sorted((rows[0] for rows in by_knob.values() if rows[0].low > 0), key=lambda row: (-row.gain, row.term))
    return [item for row in winners for item in _beside(row, by_knob[row.credit.knob.casefold()])]


def _bundles(winners: Sequence[EditGain], table: GainTable) -> list[Item]:
    """All clear gains at once, then the better half, and so on while there are two or more."""
    failed = {_keys(idea_terms(c.text)) for c in table.ideas.values() if c.estimate <= 0 and c.n >= PROOF}
    out, size = [], len(winners)
    while size > 1:
        rows = winners[:size]
        if _keys(row.term for row in rows) in failed:
            size //= 2
            continue
        out.append(_combined(rows, table.together(rows)))
        size //= 2
    return out


def _single(row: EditGain) -> Item:
    return _combined([row], row.gain)


def _second(rows: Sequence[EditGain]) -> list[EditGain]:
    """A knob's second value, if its gain is clear and it is clearly a different value.

    Neighbouring rungs of a ladder mostly show the same effect, so a number must be two rungs away.
    """
    first, rest = rows[0], [row for row in rows[1:] if row.low > 0]
    if not is_number(first.credit.value):
        return rest[:1]
    rungs = sorted(float(row.credit.value) for row in rows if is_number(row.credit.value))
    at = rungs.index(float(first.credit.value))
    far = [row for row in rest if is_number(row.credit.value) and abs(rungs.index(float(row.credit.value)) - at) > 1]
    return far[:1]


def _joint_ideas(table: GainTable) -> list[Item]:
    """Ideas with several edits that gained most together, though their parts may not gain alone."""
    out: dict[frozenset[Key], Item] = {}
    for credit in sorted(table.ideas.values(), key=lambda c: (-c.estimate, c.credit_id)):
        terms = [term for term in idea_terms(credit.text) if key_of_term(term)]
        if len(_keys(terms)) > 1 and credit.estimate > 0:
            shown = " ".join(f"`{term}`" for term in terms)
            out.setdefault(_keys(terms), Item(f"Combine {shown}.", credit.estimate, credit.ids, _keys(terms)))
    return list(out.values())[:JOINT]


def _keys(terms: Iterable[str]) -> frozenset[Key]:
    """The edits of an idea, independent of its wording."""
    return frozenset(key for term in terms if (key := key_of_term(term)))


def _beside(row: EditGain, rows: Sequence[EditGain]) -> list[Item]:
    if not is_number(row.credit.value):
        return []
    tried = [r.credit.value for r in rows if isinstance(r.credit.value, int | float)]
    name = row.credit.knob.lower()
    return [Item(f"{UNTRIED}: `{name}={value:g}`.", 0.0, row.credit.ids) for value in untried(row.credit.value, tried)]


def _is_news(text: str, terms: tuple[str, ...], table: GainTable) -> bool:
    """Whether the evidence does not cover an idea: one for LLMs, or one with an untried edit."""
    if text.startswith(UNTRIED):
        return False  # written again from today's best values
    keys = [key for term in terms if (key := key_of_term(term))]
    return not keys or any(key not in table.rows for key in keys)


make = WriteIdeas
