"""The evidence as markdown; over several tasks: what they have in common first, then the page of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.credit import Estimate
from analysis.evidence import Evidence
from analysis.scales import Scale
from analysis.trust import marked
from analysis.wording import significant
from programs.text import one_line

TEMPLATES = Path(__file__).parent / "templates"
SHOWN = 40  # rows of one section of the page; the rest is counted, not listed


def page(facts: Evidence) -> str:
    """The evidence as markdown: facts with id, design, interval, n; causal words for randomised and paired ones only.

    Texts of programs are quoted as one short line of inline code each: they are data, whatever they say. Over several
    tasks: what they have in common first, then the page of each.
    """
    if facts.parts:
        whole = _render("evidence.several.md.j2", facts=facts, shown=SHOWN // 2, **sections(facts))
        return "\n".join([whole.rstrip("\n") + "\n", *(page(part) for part in facts.parts)])
    return _render("evidence.md.j2", facts=facts, shown=SHOWN)


def _render(template: str, **values: Any) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters.update(
        number=significant, signed=signed, fact=fact, quoted=quoted, marked=marked, scale=told_scale
    )
    return environment.get_template(template).render(**values)


def told_scale(scale: Scale) -> str:
    size = f"{significant(scale.size)} {scale.unit} on {scale.task}"
    return size if scale.of_stock else f"{size} (a standard deviation between runs, stock is not shown to gain there)"


def signed(value: float) -> str:
    return f"{value:+.3g}"


def fact(item: Estimate) -> str:
    """``+0.12 nats, 95% 0.08 to 0.16, n=14, randomised, q=0.001``."""
    parts = [f"{signed(item.estimate)} {item.unit}"]
    known = item.low is not None and item.high is not None
    parts.append(f"95% {signed(item.low or 0.0)} to {signed(item.high or 0.0)}" if known else "no interval (one run)")
    parts += [f"n={item.n}", item.design]
    return ", ".join(parts + ([f"q={item.q:.2g}"] if item.q is not None else []))


def quoted(text: str, limit: int = 160) -> str:
    """A program's own words as one line of inline code, whatever they hold."""
    line = one_line(text.replace("`", "'"))
    return f"`{line if len(line) <= limit else line[: limit - 1] + '…'}`"


@dataclass(frozen=True)
class Compared:
    """A row over the tasks, and those of the single tasks that it is the mean of."""

    whole: Estimate
    on: tuple[Estimate, ...]

    @property
    def agrees(self) -> bool:
        """Whether every task says that it helped."""
        return all(row.estimate > 0 for row in self.on)


def sections(facts: Evidence) -> dict[str, Any]:
    """What the page says beyond the rows of the single tasks; of edits and directives only what several tried."""
    edits, directives = compared(facts, facts.edits), compared(facts, facts.directives)
    return {
        "edits": split(edits, "Edits that helped on every task where they were tried (several tried them)",
                       "Edits that helped on one task and hurt on another"),
        "directives": split(directives, "Directives whose experiments brought something on every task",
                            "Directives whose experiments brought something on one task only"),
        "mutations": compared(facts, facts.mutations),
    }  # fmt: skip


def split(rows: Iterable[Compared], everywhere: str, one: str) -> list[tuple[str, list[Compared]]]:
    shared = [row for row in rows if len(row.on) > 1]
    partly = [row for row in shared if not row.agrees and any(on.estimate > 0 for on in row.on)]
    return [(everywhere, [row for row in shared if row.agrees]), (one, partly)]


def compared(facts: Evidence, rows: Sequence[Estimate]) -> list[Compared]:
    own = {
        row.credit_id: row
        for part in facts.parts
        for of_kind in (part.edits, part.directives, part.mutations)
        for row in of_kind
    }
    return [Compared(row, tuple(own[i] for i in row.ids)) for row in rows]
