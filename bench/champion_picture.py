"""The first picture of the README: a study's champion tinted by credit, beside the standings of its confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, SPLIT, TOP, STEP, ARM = 1140, 750, 66, 22, 44  # pixels
LETTERS, MOST = 53, 16
TINTS = {
    "up": ("#eaf3fc", "#d5e7f9", "#bfdbf6", "#a8cef2"),
    "down": ("#fcefe8", "#fae0d3", "#f7d0bd", "#f4c0a7"),
}


def champion_picture(study: Path, target: Path) -> Path:
    """Draws the ideas of the champion with their credit and the confirmation's arms. IndexError without a champion."""
    import jinja2

    from analysis.report import program_text
    from analysis.report.source import ReportSource
    from analysis.study import open_study
    from analysis.verdict.verdict import of_board, verdict_of

    champion = "SELECT program_id, name, text FROM champions JOIN programs USING (program_id) ORDER BY named_at DESC"
    with open_study(study) as con:
        [(program_id, name, text), *_] = con.execute(champion).fetchall()
        credit = ReportSource(con, str(study)).ask("directive_credit", program_text.CreditRow, program=program_id).rows
        excerpts = program_text.excerpts(text, credit)
        found = verdict_of(con)
        assert found.decision is not None
        board = list(of_board(con, found.decision.match_ids[-1]))
    # one unit in one picture: ideas by what the experiments that cite them kept
    ideas = [p for p in excerpts if p.marks and p.text.lstrip().startswith("-")]
    same_unit = {row.directive_id for row in credit if row.method == "directive"}
    marked = [p for p in ideas if all(mark.directive_id in same_unit for mark in p.marks)]
    strong = sorted(marked, key=lambda excerpt: -excerpt.strength)[:MOST]
    shown = [line(excerpt, TOP + i * STEP) for i, excerpt in enumerate(p for p in marked if p in strong)]
    low = min(0.0, *(row.low or 0.0 for row in board))
    high = max(row.high or 0.0 for row in board)
    arms = [arm(row, i, low, high, row.program == name) for i, row in enumerate(board)]
    height = max(TOP + len(shown) * STEP, TOP + len(arms) * ARM + 40) + 34
    template = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True).get_template(
        "champion.svg.j2"
    )
    drawn = template.render(
        width=WIDTH, split=SPLIT, height=height, title=f"{name}, tinted by credit, and the standings", name=name,
        unit=found.unit, lines=shown, arms=arms, floor=TOP + len(arms) * ARM, ticks=ticks(low, high),
        note=f"gain, {found.unit} per experiment [95% interval]; observational; colour: significant, q < 5%",
    )  # fmt: skip
    target.write_text(drawn, encoding="utf-8")
    return target


def line(excerpt: Any, y: int) -> dict[str, Any]:
    """One idea with its credit."""
    mark = max(excerpt.marks, key=lambda mark: mark.strength)
    text = " ".join(excerpt.text.split())
    sign = {"up": "▲", "down": "▼", "none": "·"}[mark.way]
    return {
        "y": y, "text": text if len(text) <= LETTERS else text[: LETTERS - 1] + "…", "way": mark.way,
        "label": f"{sign} {mark.label}", "tint": TINTS[mark.way][mark.strength - 1] if mark.strength else "",
    }  # fmt: skip


def x_position(value: float, low: float, high: float) -> float:
    return round(SPLIT + 10 + (value - low) / (high - low) * (WIDTH - SPLIT - 90), 1)


def arm(row: Any, number: int, low: float, high: float, ours: bool) -> dict[str, Any]:
    known = row.low is not None
    return {
        "y": TOP + 22 + number * ARM, "name": row.program, "rank": f"n={row.n}",
        "at": x_position(row.gain, low, high), "low": x_position(row.low, low, high) if known else None,
        "high": x_position(row.high, low, high) if known else None,
        "way": "ours" if ours else "theirs",
    }  # fmt: skip


def ticks(low: float, high: float) -> Sequence[dict[str, Any]]:
    from analysis.wording import tick_step

    step = tick_step(high - low, 6)
    values = [i * step for i in range(int(low / step) - 1, int(high / step) + 2)]
    return [{"x": x_position(v, low, high), "text": f"{round(v, 9):g}"} for v in values if low <= v <= high]
