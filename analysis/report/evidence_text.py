"""The evidence as markdown. Over several tasks: first the rows shared by tasks, then the page of each task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.effects.rows import CreditEstimate
from analysis.report.evidence import Evidence
from analysis.scales import GainScale
from analysis.trust import marked
from analysis.wording import significant
from programs.templates import jinja_environment
from programs.text import one_line

if TYPE_CHECKING:
    import jinja2

TEMPLATES = Path(__file__).parents[1] / "templates"
SHOWN = 40  # rows of one section of the page; the page counts the others


def page(facts: Evidence) -> str:
    """The evidence as markdown: rows with id, design, interval and n; causal words for randomised and paired rows only.

    Texts of programs are untrusted data: each is quoted as one short line of inline code. Over several tasks: first
    the rows shared by tasks, then the page of each task.
    """
    if facts.parts:
        edits = split(
            compared(facts, facts.edits),
            "Edits with a positive estimate on every task that tried them (at least two)",
            "Edits with a positive estimate on one task and a negative one on another",
        )
        directives = split(
            compared(facts, facts.directives),
            "Directives with a positive estimate on every task",
            "Directives with a positive estimate on some tasks only",
        )
        shared = {"edits": edits, "directives": directives, "mutations": compared(facts, facts.mutations)}
        whole = rendered("evidence.several.md.j2", facts=facts, shown=SHOWN // 2, **shared)
        return "\n".join([whole.rstrip("\n") + "\n", *(page(part) for part in facts.parts)])
    return rendered("evidence.md.j2", facts=facts, shown=SHOWN)


def rendered(template: str, **values: Any) -> str:
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> jinja2.Environment:
    made = jinja_environment(TEMPLATES, whole=True)
    made.filters.update(number=significant, signed=signed, fact=fact, quoted=quoted, marked=marked, scale=scale_text)
    return made


def scale_text(scale: GainScale) -> str:
    size = f"{significant(scale.size)} {scale.unit} on {scale.task}"
    return (
        size
        if scale.of_stock
        else f"{size} (the standard deviation between runs, because stock has no significant gain there)"
    )


def signed(value: float) -> str:
    return f"{value:+.3g}"


def fact(item: CreditEstimate) -> str:
    """``+0.12 nats, 95% 0.08 to 0.16, n=14, randomised, q=0.001``."""
    parts = [f"{signed(item.estimate)} {item.unit}"]
    known = item.low is not None and item.high is not None
    parts.append(f"95% {signed(item.low or 0.0)} to {signed(item.high or 0.0)}" if known else "no interval")
    parts += [f"n={item.n}", item.design]
    return ", ".join(parts + ([f"q={item.q:.2g}"] if item.q is not None else []))


def quoted(text: str, limit: int = 160) -> str:
    """Text of a program as one line of inline code, whatever characters it has."""
    line = one_line(text.replace("`", "'"))
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"


@dataclass(frozen=True)
class TaskRows:
    """A mean over tasks, and the rows of the single tasks that it averages."""

    whole: CreditEstimate
    on: tuple[CreditEstimate, ...]

    @property
    def agrees(self) -> bool:
        """Whether the estimate is positive on every task."""
        return all(row.estimate > 0 for row in self.on)


def split(rows: Iterable[TaskRows], everywhere: str, partly: str) -> list[tuple[str, list[TaskRows]]]:
    shared = [row for row in rows if len(row.on) > 1]
    mixed = [row for row in shared if not row.agrees and any(on.estimate > 0 for on in row.on)]
    return [(everywhere, [row for row in shared if row.agrees]), (partly, mixed)]


def compared(facts: Evidence, rows: Sequence[CreditEstimate]) -> list[TaskRows]:
    own = {
        row.credit_id: row
        for part in facts.parts
        for of_kind in (part.edits, part.directives, part.mutations)
        for row in of_kind
    }
    return [TaskRows(row, tuple(own[i] for i in row.ids)) for row in rows]
