"""What the study can and cannot tell, where a view ``power`` says so; left out while there is none."""

from __future__ import annotations

from analysis.report.model import Facts, Figure, Section, Table
from analysis.report.words import brief


def section(facts: Facts) -> Section | None:
    if "power" not in facts.source.tables:
        return None
    found = facts.source.ask("power")
    if not found.rows:
        return None
    names = list(found.first)
    cells = [
        [brief(v) if isinstance(v, float) else "" if v is None else str(v) for v in row.values()] for row in found.rows
    ]
    table = Table.of([name.replace("_", " ") for name in names], cells)
    figure = Figure("power-table", "none", "What these runs can tell apart", "From the noise that was measured here.",
                    None, table, (found,), open=True)  # fmt: skip
    return Section("power", "Power", "How many runs it takes to tell a difference of a given size.", (figure,))
