"""What each program gains over stock: their runs in one match share run seeds, so the differences are paired."""

from __future__ import annotations

from analysis.effects.experiments import MethodInput
from analysis.effects.rows import CreditRow, figures
from analysis.statistics import mean_interval
from programs.common.ids import content_id

PAIRS = """
SELECT r.program_id, any_value(p.name) AS name, list(r.verified_gain - s.verified_gain ORDER BY r.run_id) AS gains
FROM verified_runs() AS r
JOIN verified_runs() AS s ON s.match_id = r.match_id AND s.run_seed = r.run_seed AND s.program_id = stock_id()
JOIN programs AS p ON p.program_id = r.program_id
WHERE r.task = $task AND r.program_id <> s.program_id
    AND NOT list_contains($exclude::VARCHAR[], r.match_id)
GROUP BY r.program_id ORDER BY r.program_id
"""


def make(known: MethodInput) -> list[CreditRow]:
    scope, rows = known.scope, []
    for program_id, name, gains in scope.con.execute(
        PAIRS, {"task": scope.task, "exclude": list(scope.exclude)}
    ).fetchall():
        gain = mean_interval(gains)
        rows.append(CreditRow(
            credit_id=content_id("c", "over-stock", scope.task, program_id), task=scope.task, method="over-stock",
            **figures(gain), n=gain.n, design="paired", unit=scope.unit, label=name, program_id=program_id,
        ))  # fmt: skip
    return rows
