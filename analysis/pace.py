"""Whether the machine had other load during a study: the steps of the untouched script in the same device time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.wording import count, many

if TYPE_CHECKING:
    import duckdb

LEAST = 5  # runs
UNEVEN = 1.5  # times as many steps in the same device time at one moment as at another
# Of several tasks, whose scripts differ in speed, the one with the largest spread.
PACE = f"""
SELECT quantile_cont(steps, 0.1) AS low, quantile_cont(steps, 0.9) AS high, count(steps) AS n FROM experiments
WHERE decision = 'baseline' AND status = 'ok' AND NOT cached GROUP BY task HAVING count(steps) >= {LEAST} AND low > 0
ORDER BY high / low DESC, task LIMIT 1
"""


@dataclass(frozen=True)
class Pace:
    """10% and 90% quantile of the steps of ``n`` runs' untouched scripts."""

    low: float
    high: float
    n: int

    @property
    def other_load(self) -> str:
        """What follows if it varied: another load on the same cores slows training down. Else empty."""
        if self.n < LEAST or self.high <= UNEVEN * self.low:
            return ""
        return (
            f"In the same device time, the untouched script made {count(self.low)} to {count(self.high)} steps (10% "
            f"and 90% quantile of the {many(self.n, 'run')} on one task that trained it anew). Something else used the "
            "processor, so gains differ from those on an idle machine, and arms that ran at different times may not "
            "be comparable."
        )


def pace_of(con: duckdb.DuckDBPyConnection) -> Pace | None:
    """From an open study; None where too few runs count steps."""
    row = con.execute(PACE).fetchone()
    return Pace(*row) if row else None
