"""The evidence as people and models that write programs read it: what a decision depends on, in few words.

It opens with the best final scripts and with what each edit is predicted to change on top of the best one. Each edit
has one row, and rows near zero are named in one line. The view `credit` has every row.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.effects.final_scripts import FinalScript, OnTop, dispensable, on_top
from analysis.effects.rows import CreditRow, Key, value_text
from analysis.evidence.task_evidence import Evidence
from programs.common.templates import jinja_environment
from programs.common.text import one_line
from programs.program import Program

if TYPE_CHECKING:
    import jinja2

SCRIPTS, EDITS, LOST, STATEMENTS, PROGRAMS = 3, 10, 5, 4, 5  # rows of one task
NAMES = 32  # edits that are only named, in one line; of those with figures a fifth


@dataclass
class RowIds:
    """Short ids for the rows of a prompt: ``e1`` for the first edit, ``d1`` for the first directive. ``whole``: the ids
    themselves, for a page that is kept."""

    whole: bool = False
    by_short: dict[str, str] = field(default_factory=dict)
    _by_long: dict[str, str] = field(default_factory=dict)
    _used: Counter[str] = field(default_factory=Counter)

    def of(self, row_id: str, letter: str) -> str:
        if self.whole:
            return row_id
        if row_id not in self._by_long:
            self._used[letter] += 1
            self._by_long[row_id] = short = f"{letter}{self._used[letter]}"
            self.by_short[short] = row_id
        return self._by_long[row_id]


@dataclass(frozen=True)
class EditRow:
    """One edit: ``top`` on top of the best final script, ``credit`` on the untouched one; either may be missing."""

    label: str
    credit: CreditRow | None
    top: OnTop | None

    @property
    def mean(self) -> float:
        """Of the figure that decides: on top of the best script where it is predicted, else on the untouched one."""
        return self.top.mean if self.top else self.credit.gain if self.credit else 0.0

    @property
    def sd(self) -> float:
        return self.top.sd if self.top else (self.credit.se if self.credit else None) or 0.0

    @property
    def surely(self) -> float:
        """Mean less one standard deviation, which orders the rows: a large prediction from little is no safe bet."""
        return self.mean - self.sd

    @property
    def loses(self) -> bool:
        return self.mean < -self.sd

    @property
    def is_unclear(self) -> bool:
        return not self.loses and self.mean <= 0.5 * self.sd


@dataclass(frozen=True)
class TaskBrief:
    """What the page shows of one task."""

    facts: Evidence
    scripts: Sequence[FinalScript]
    parts: Sequence[EditRow]  # the edits of the best script: what leaving one out is predicted to change
    rows: Sequence[EditRow]
    better: Sequence[EditRow]  # those that follow after `rows`
    lost: Sequence[EditRow]
    unclear: Sequence[EditRow]
    failed: Sequence[str]
    statements: Sequence[CreditRow]
    unknown: Sequence[str]  # values of the task that no experiment has tried
    hidden: Mapping[str, int]  # better, lower, … → edits that the page leaves out

    @property
    def base(self) -> FinalScript | None:
        return self.scripts[0] if self.scripts else None

    def edits_of(self, script: FinalScript, base: str) -> str:
        """All edits of a final script, or what it has other than the best one where that is at most half as long."""
        best = dict(self.base.edits if self.base else ())
        other = [label(key) for key in script.edits if best.get(key[0]) != key[1]]
        lost = [label(key) for key in best.items() if key[0] not in dict(script.edits)]
        if script == self.base or 2 * (len(other) + len(lost)) > len(script.edits):
            return " ".join(map(label, script.edits))
        return f"{base} " + ", ".join(
            f"{word} {' '.join(labels)}" for word, labels in (("with", other), ("without", lost)) if labels
        )


def page(facts: Evidence, ids: RowIds, untried: Mapping[str, Sequence[str]] | None = None, rows: float = 1.0) -> str:
    """The page. ``untried``: by task, the edits that no experiment has tried, as ideas name them. ``rows``: the share
    of the rows that a short page has; the best final script is on every one."""
    parts = facts.parts or (facts,)
    share = 1.0 if len(parts) == 1 else max(2.0 / len(parts), 0.2)
    tasks = [task_brief(part, (untried or {}).get(part.task, ()), share, rows) for part in parts]
    most = max(1, int(PROGRAMS * rows))
    return _template().render(facts=facts, tasks=tasks, ids=ids, most_programs=most, sized=sized)


@cache
def _template() -> jinja2.Template:
    environment = jinja_environment(Path(__file__).parents[1] / "templates", whole=True)
    environment.filters["quoted"] = quoted
    return environment.get_template("evidence.md.j2")


def task_brief(facts: Evidence, unknown: Sequence[str], share: float = 1.0, rows_share: float = 1.0) -> TaskBrief:
    """``share``: of the rows of a study's only task; ``rows_share``: of the rows of a long page."""
    least, names = (2, NAMES) if rows_share == 1.0 else (1, int(NAMES * rows_share))
    share *= rows_share
    scripts, tops, parts = facts.finals[: max(least, int(SCRIPTS * share))], {}, []
    if facts.effects is not None and facts.effects.fitted is not None and scripts:
        size = facts.scale.size if facts.scale else 1.0
        tops = {row.key: _by(row, size) for row in on_top(facts.effects, scripts[0])}
        parts = [_by(row, size) for row in dispensable(facts.effects, scripts[0])]
    credits = {edit.key: edit for edit in facts.edits}
    inside = {row.key for row in parts}
    failed = [e for e in facts.edits if e.n and e.failures == e.n]
    keys = [key for key in {**tops, **credits} if key not in inside and key not in {e.key for e in failed}]
    every = (EditRow(label(key), credits.get(key), tops.get(key)) for key in keys)
    rows = sorted((row for row in every if row.mean or row.sd), key=lambda row: -row.surely)  # 0 ± 0: already so
    clear = [row for row in rows if not row.is_unclear and not row.loses]
    shown, better = clear[: int(EDITS * share)], clear[int(EDITS * share) :]
    lost = sorted((row for row in rows if row.loses), key=lambda row: row.mean)
    unclear = [row for row in rows if row.is_unclear]
    worst, figures = int(LOST * share), names // 5
    hidden = {
        "better": len(better[figures:]),
        "lower": len(lost[worst:]),
        "unclear": len(unclear[figures:]),
        "in the best script": len(parts) - math.ceil(len(parts) * rows_share),
        "failed every time": len(failed[names:]),
        "in no experiment yet": len(unknown[names:]),
    }
    return TaskBrief(
        facts,
        scripts,
        [EditRow(label(row.key), credits.get(row.key), row) for row in parts][: math.ceil(len(parts) * rows_share)],
        shown,
        better[:figures],
        lost[:worst],
        unclear[:figures],
        [label(e.key) for e in failed][:names],
        _statements(facts.directives, share) if rows_share else [],
        unknown[:names],
        {word: n for word, n in hidden.items() if n},
    )


def _by(row: OnTop, size: float) -> OnTop:
    return OnTop(row.key, row.mean / size, row.sd / size, row.tried)


def _statements(directives: Sequence[CreditRow], share: float) -> list[CreditRow]:
    """Those that say something which no row of an edit says: ideas of several edits, the charter, prose. The largest
    gains and losses, none near zero."""
    statements = [d for d in directives if d.kind != "idea" or _edits_of(d.label) != 1]
    clear = [d for d in statements if abs(d.gain) > (d.se or 0.0)]
    size = max(2, int(STATEMENTS * share))
    worst = size // 3
    return clear if len(clear) <= size else [*clear[: size - worst], *clear[len(clear) - worst :]]


def _edits_of(text: str) -> int:
    ideas = Program.parse(f"## Ideas\n\n- {text}\n").ideas
    return len(ideas[0].terms) if ideas else 0


def label(key: Key) -> str:
    """An edit as an idea names it, as inline code: ``lr=0.02``, or the name of a patch."""
    return quoted(key[0] if key[1] == "true" else f"{key[0]}={value_text(key)}")


def sized(mean: float, sd: float | None, digits: int = 2) -> str:
    """``+0.17 ± 0.06``."""
    return f"{mean:+.{digits}g}" + (f" ± {sd:.1g}" if sd else "")


def fact(item: CreditRow) -> str:
    """``+0.12 nats, 95% 0.08 to 0.16, n=14, randomised, q=0.001``."""
    known = item.low is not None and item.high is not None
    interval = f"95% {item.low:+.3g} to {item.high:+.3g}" if known else "no interval"
    q = "" if item.q is None else f", q={item.q:.2g}"
    return f"{item.gain:+.3g} {item.unit}, {interval}, n={item.n}, {item.design}{q}"


def quoted(text: str, limit: int = 160) -> str:
    """Text of a program as one line of inline code, whatever characters it has."""
    line = one_line(text.replace("`", "'"))
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"
