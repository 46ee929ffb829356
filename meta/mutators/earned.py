"""What single edits earned, shrunk: the table that the mutators order and choose ideas by.

An edit's figure is the mean of its two estimates (as a single change, and as a main effect in all experiments where
that is known), shrunk towards zero as in normal empirical Bayes (Efron and Morris 1975) with the variance of effects
taken from the table itself. Most edits do nothing, so zero and not the mean of the table is where they are drawn to.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from programs.program import Program

if TYPE_CHECKING:
    from analysis.evidence import DirectiveCredit, EditCredit, Evidence

Key = tuple[str, str]  # knob in lower case, value as canonical text
PRIOR_RUNS = 2.0  # weight of the pooled spread against an edit's own, in runs


@dataclass(frozen=True)
class Earned:
    """One edit's posterior, in metric units; positive is better."""

    credit: EditCredit
    gain: float
    sd: float

    @property
    def low(self) -> float:
        """One posterior sd below the gain: 84% are above it."""
        return self.gain - self.sd

    @property
    def term(self) -> str:
        """As an idea names it in backticks: ``lr=0.02`` or ``muon``."""
        return self.credit.label.removeprefix("+").strip()

    def figure(self) -> str:
        """``expected 0.12 ± 0.02; earned 0.14 over 9 tries``: the posterior that orders, then the credit row's figures.

        A softer word than earned where values were not chosen at random.
        """
        verb = "earned" if self.credit.causal else "came with"
        tries = f"{self.credit.n} tries" if self.credit.n != 1 else "one try"
        digits = min(max(0, math.ceil(-math.log10(self.sd / 2))), 9) if self.sd > 0 else 3  # 0.02, but 0.012
        expected = f"expected {self.gain:.{digits}f} ± {self.sd:.{digits}f}"
        return f"{expected}; {verb} {self.credit.estimate:.2g} over {tries}"


class Table:
    """Posterior of every edit that was tried, and what ideas (with several edits) earned as they stand."""

    def __init__(self, evidence: Evidence) -> None:
        self.rows: dict[Key, Earned] = {key_of(e.credit.knob, e.credit.value): e for e in _shrunk(evidence.edits)}
        self.ideas: dict[str, DirectiveCredit] = {
            d.directive_id: d for d in evidence.directives if d.kind == "idea" and d.n > 0
        }

    def of_terms(self, terms: Iterable[str]) -> list[Earned] | None:
        """The rows that the backticked terms name; None if there are none or one was never tried alone."""
        keys = [key for term in terms if (key := key_of_term(term))]
        rows = [self.rows[key] for key in keys if key in self.rows]
        return rows if rows and len(rows) == len(keys) else None

    def idea(self, directive_id: str, terms: tuple[str, ...]) -> float | None:
        """Expected gain of trying an idea: what it earned itself if that is known, else the sum of its edits."""
        if (own := self.ideas.get(directive_id)) is not None and len(terms) > 1:
            return idea_gain(own)
        rows = self.of_terms(terms)
        return sum(row.gain for row in rows) if rows else None

    def credit_ids(self, directive_id: str, terms: tuple[str, ...]) -> list[str]:
        if directive_id in self.ideas and len(terms) > 1:
            return list(self.ideas[directive_id].ids)
        return [credit_id for row in self.of_terms(terms) or () for credit_id in row.credit.ids]

    def by_knob(self) -> Mapping[str, list[Earned]]:
        """Rows of each knob, best first."""
        knobs: dict[str, list[Earned]] = {}
        for (knob, _), row in self.rows.items():
            knobs.setdefault(knob, []).append(row)
        return {knob: sorted(rows, key=lambda r: (-r.gain, r.term)) for knob, rows in knobs.items()}


def idea_gain(credit: DirectiveCredit) -> float:
    """Kept gain per experiment that cites the idea, shrunk as if two more had earned nothing."""
    return credit.kept_gain / (credit.n + 2)


def idea_terms(text: str) -> tuple[str, ...]:
    """The backticked terms of an idea's text."""
    ideas = Program.parse(f"## Ideas\n\n- {text}\n").ideas
    return ideas[0].terms if ideas else ()


def key_of(knob: str, value: str | float | int | bool) -> Key:
    """2 and 2.0 are one value, ``True`` is a patch that is applied."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return knob.casefold(), str(value).casefold()
    return knob.casefold(), f"{value:.6g}"


def key_of_term(term: str) -> Key | None:
    """The key that a backticked term names; None for code that names no edit (``train.py``)."""
    knob, sign, value = term.strip().lstrip("+").replace(":", "=", 1).partition("=")
    knob, value = knob.strip(), value.strip()
    if not knob.isidentifier() or (sign and not value):
        return None
    if not sign:
        return key_of(knob, True)
    try:
        return key_of(knob, float(value.replace("_", "")))
    except ValueError:
        return key_of(knob, value.strip("'\""))


def _shrunk(credits: Iterable[EditCredit]) -> list[Earned]:
    found = sorted(credits, key=lambda c: c.credit_id)
    if not found:
        return []
    spread = _pooled_spread(found)
    drafts = [(credit, _estimate(credit), _se(credit, spread)) for credit in found]
    noise = statistics.fmean(se**2 for _, _, se in drafts)
    signal = max(statistics.fmean(mean**2 for _, mean, _ in drafts) - noise, 0.05 * noise, 1e-18)
    out = []
    for credit, mean, se in drafts:
        weight = signal / (signal + se**2)
        out.append(Earned(credit, weight * mean, math.sqrt(weight) * se))
    return out


def _estimate(credit: EditCredit) -> float:
    joint = credit.joint_estimate
    return credit.estimate if joint is None else (credit.estimate + joint) / 2


def _pooled_spread(credits: list[EditCredit]) -> float:
    """Typical sd of one run's figure: the median over edits that several runs tried."""
    spreads = [c.se * math.sqrt(c.runs) for c in credits if c.se is not None and c.runs > 1]
    return statistics.median(spreads or [abs(c.estimate) for c in credits])


def _se(credit: EditCredit, spread: float) -> float:
    """Standard error with the pooled spread mixed in: two runs that happen to agree prove little."""
    own = (credit.se or 0.0) ** 2 * credit.runs
    weight = max(credit.runs - 1, 0) if credit.se is not None else 0
    variance = (weight * own + PRIOR_RUNS * spread**2) / (weight + PRIOR_RUNS)
    return math.sqrt(variance / max(credit.runs, 1))
