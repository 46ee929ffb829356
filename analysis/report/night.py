"""Part 2 of a night: `main` over device time, by the program whose turn it was."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.verdict import decided
from analysis.wording import brief, count, decimals, duration, number


@dataclass(frozen=True)
class NightRow:
    """A turn: device-seconds when its first experiment ended, the metric of `main` after it, and what was kept."""

    number: int
    program: str
    seconds: float
    metric: float | None
    gain: float
    kept: bool
    change: str | None


def section(facts: ReportFacts) -> ReportSection | None:
    decision = decided(facts)
    if decision is None or not decision.night:
        return None
    turns = facts.source.ask("night", NightRow)
    names = [one.name for one in decision.night]
    kept = [row for row in turns.rows if row.kept]
    digits = decimals(min((row.gain for row in kept), default=None))
    table = ReportTable.of(
        kept,
        {
            ">turn": lambda row: count(row.number),
            "program": lambda row: row.program,
            "change": lambda row: row.change or "",
            ">gain": lambda row: number(row.gain, digits, True),
            ">device time": lambda row: duration(row.seconds),
            f">{facts.measure} of main": lambda row: brief(row.metric, 5),
        },
    )
    figure = ReportFigure(
        name="night",
        kind="night",
        title=f"main over device time ({facts.measure})",
        caption="A dot is a change that became main, in the colour of the program whose turn it was. The values chose "
        "what was kept, so they claim too much; the figures above are of fresh seeds.",
        data={"unit": facts.unit, "metric": facts.measure, "names": names, "rows": [asdict(row) for row in turns.rows]},
        table=table,
        answers=(turns,),
    )
    lead = "The programs took turns on one lineage of the script, main: what one improved was the start of the next."
    return ReportSection("night", "The night", lead, (figure,))
