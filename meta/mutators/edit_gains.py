"""Expected gains of edits: the table by which mutators order and choose ideas.

An edit's gain is that of its credit row, the posterior of the mixed model of all experiments, times the share of its
tries that ran, because a failed try gains nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from analysis.effects.rows import CreditRow, Key, Value, edit_key
from analysis.evidence.task_evidence import Evidence
from programs.ideas import ProgramIdea
from programs.program import Program
from trainer.edits import read_value


class GainTable:
    """The posterior of every tried edit, in metric units, and of ideas with several edits; positive is better."""

    def __init__(self, evidence: Evidence) -> None:
        self.rows = {edit.key: edit for edit in evidence.edits}
        self._any_case = {_folded(key): key for key in self.rows}
        self._effects = evidence.effects
        self.space, self.untouched = evidence.space, evidence.untouched
        self.ideas = {d.directive_id: d for d in evidence.directives if d.kind == "idea" and d.n > 0}

    def idea(self, idea: ProgramIdea) -> tuple[float | None, tuple[str, ...]]:
        """Expected gain of trying an idea and the credit rows behind it: the tries that cite it, else its edits
        together. None where it has no edit, or one that was never tried alone."""
        if (credit := self.ideas.get(idea.directive_id)) is not None and len(idea.terms) > 1:
            return credit.gain, credit.ids
        keys = self.keys(idea.terms)
        rows = [self.rows[key] for key in keys if key in self.rows]
        if not rows or len(rows) < len(keys):
            return None, ()
        return self.together(rows), tuple(credit_id for row in rows for credit_id in row.ids)

    def keys(self, terms: Iterable[str]) -> list[Key]:
        """The edits of an idea. A task reads the text of a value in any case, so a tried one is found by any."""
        keys = [key for term in terms if (key := key_of_term(term))]
        return [key if key in self.rows else self._any_case.get(_folded(key), key) for key in keys]

    def together(self, rows: Sequence[CreditRow]) -> float:
        """The gain of these edits at once: from the model if it knows them, else their sum."""
        share = math.prod(1.0 - (row.failures or 0) / row.n for row in rows if row.n)
        bundle = self._effects.bundle([row.key for row in rows]) if self._effects is not None else None
        return math.fsum(row.score for row in rows) if bundle is None else bundle.or_zero * share

    def trained(self, knob: str) -> list[Value]:
        """The values of a knob (in lower case) in any config that was trained, apart from the untouched one."""
        edits = self._effects.column if self._effects is not None else ()
        return [json.loads(value) for name, value in edits if name == knob]

    def by_knob(self) -> Mapping[str, list[CreditRow]]:
        """Rows of each knob, best first."""
        knobs: dict[str, list[CreditRow]] = {}
        for (knob, _), row in self.rows.items():
            knobs.setdefault(knob, []).append(row)
        return {knob: sorted(rows, key=best_first) for knob, rows in knobs.items()}


def term_of(edit: CreditRow) -> str:
    """As an idea writes it in backticks: ``lr=0.02`` or ``muon``."""
    return edit.label.removeprefix("+").strip()


def best_first(edit: CreditRow) -> tuple[float, str]:
    """The sort key of edits by their gains."""
    return -edit.score, term_of(edit)


def is_clear(edit: CreditRow) -> bool:
    """Whether the gain is larger than 0 with 84% probability: one posterior SD below it."""
    ran = edit.score / edit.gain if edit.gain else 1.0
    return edit.score - (edit.se or 0.0) * ran > 0


def parse_idea(text: str) -> ProgramIdea | None:
    """An item of an Ideas list, without its marker; None for a text that is none."""
    return next(iter(Program.parse(f"## Ideas\n\n- {text}\n").ideas), None)


def _folded(key: Key) -> Key:
    return key[0], key[1].casefold()


def key_of_term(term: str) -> Key | None:
    """The key of a backticked term; None for code that is no edit (``train.py``)."""
    knob, sign, value = term.strip().lstrip("+").replace(":", "=", 1).partition("=")
    knob, value = knob.strip(), value.strip()
    if not knob.isidentifier() or (sign and not value):
        return None
    return edit_key(knob, read_value(value) if sign else True)
