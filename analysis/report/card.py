"""A card, an SVG of 1200 by 630 pixels to share: the headline, the programs with their intervals, a line or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from analysis.report.axis import Axis
from analysis.verdict.verdict import Verdict, verdict_of
from analysis.wording import many
from programs.common.text import shortened

if TYPE_CHECKING:
    import duckdb

MOST_HEADS, MOST_LINES, MOST_ROWS, MOST_NAME = 3, 5, 8, 34  # lines; programs; characters of a name
HEAD, LINE = 48, 92  # characters of a line
LEFT, RIGHT, BOTTOM = 420.0, 1112.0, 540.0  # pixels: of the axis; its last label is within the margin


@dataclass(frozen=True)
class CardRow:
    """A program with its gain and 95% interval; ``ours``: drawn in colour."""

    name: str
    gain: float
    low: float | None
    high: float | None
    ours: bool = False


def card(con: duckdb.DuckDBPyConnection, study: str) -> str:
    """The picture of an open study as SVG."""
    verdict = verdict_of(con)
    name = Path(study).name or study
    rows = rows_of(verdict)
    kicker, left = f"Metaloop · {name}", max(0, len(rows) - MOST_ROWS)
    return drawn(kicker, verdict.headline, verdict.sentences[1:], rows, verdict.unit, verdict.cost, left)


def rows_of(found: Verdict) -> list[CardRow]:
    """The rows of the verdict's table in its own unit, A/A aside."""
    candidates = [row for row in found.rows if not row.unit and row.gain is not None and "A/A" not in row.program]
    return [
        CardRow(f"{row.program} ({row.role})" if row.role == "start" else row.program, row.gain, row.low, row.high,
                row.role == "champion" or row.program == "main")
        for row in candidates if row.gain is not None
    ]  # fmt: skip


def drawn(
    kicker: str, headline: str, lines: Sequence[str], rows: Sequence[CardRow], unit: str, foot: str, left: int = 0
) -> str:  # fmt: skip
    """The card as SVG; ``unit``: that of the gains; ``left``: programs that it has no room for."""
    from analysis.report.page import environment

    heads, body, rows = lines_of([headline], HEAD, MOST_HEADS), lines_of(lines, LINE, MOST_LINES), rows[:MOST_ROWS]
    top = 150.0 + 42 * (len(heads) - 1) + 28 * len(body)
    step = min(52.0, (BOTTOM - top) / max(len(rows), 1))
    at = Axis.over((end for row in rows for end in (row.gain, row.low, row.high)), LEFT, RIGHT)
    arms = [(row, shortened(row.name, MOST_NAME), round(top + step * (n + 0.5), 1)) for n, row in enumerate(rows)]
    return environment().get_template("card.svg.j2").render(
        kicker=shortened(kicker, LINE), heads=heads, said=body, arms=arms, unit=unit,
        ticks=at.ticks(8) if rows else [], at=at, top=top, below=round(top + step * len(rows), 1),
        foot=shortened(foot, LINE), left=f"; {many(left, 'more program')} not drawn" if left else "",
    )  # fmt: skip


def lines_of(texts: Sequence[str], width: int, most: int) -> list[str]:
    """The texts in at most ``most`` lines of ``width`` characters; what is left out is marked."""
    lines = [line for text in texts for line in wrap(text, width, break_on_hyphens=False)]
    return lines if len(lines) <= most else [*lines[: most - 1], shortened(" ".join(lines[most - 1 : most + 1]), width)]
