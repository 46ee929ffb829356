"""What a study's runs were charged against what they took, and how busy its workers were.

    python bench/charging.py STUDY [STUDY ...]

spent over charged: device-seconds that the runs' experiments took, plus those that the cache saved, over the budgets
less what was forfeited. Busy: wall seconds inside experiments (training and scoring) over the workers' wall seconds,
from each match's start to its end.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.common import figure, sql

CHARGING = """
SELECT sum(charged) AS charged, sum(spent) AS spent, sum(cached_seconds) AS cached, sum(forfeited) AS forfeited,
       sum(overshoot) AS overshoot, count(*) AS runs
FROM (SELECT DISTINCT ON (run_id) run_id, charged, spent, cached_seconds, forfeited, overshoot
      FROM (SELECT record->>'run_id' AS run_id,
                   (record->>'charged')::DOUBLE AS charged, (record->>'spent')::DOUBLE AS spent,
                   (record->>'cached_seconds')::DOUBLE AS cached_seconds, (record->>'forfeited')::DOUBLE AS forfeited,
                   (record->>'overshoot')::DOUBLE AS overshoot
            FROM events WHERE kind = 'run_ended' AND record->>'state' = 'finished'))
"""
BUSY = """
WITH spans AS (
    SELECT record->>'match_id' AS match_id, min(written_at) AS began, max(written_at) AS ended
    FROM events WHERE kind IN ('match', 'match_ended') GROUP BY 1
),
inside AS (
    SELECT sum((record->>'experiment_wall_seconds')::DOUBLE) AS seconds FROM events WHERE kind = 'run_ended'
    UNION ALL
    SELECT sum((record->>'wall_seconds')::DOUBLE) FROM events WHERE kind IN ('verification', 'baseline')
)
SELECT (SELECT sum(seconds) FROM inside) AS inside,
       (SELECT sum(epoch(ended - began)) FROM spans) AS wall
"""


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        (row,) = sql(folder, CHARGING)
        (busy,) = sql(folder, BUSY)
        (config,) = sql(folder, "SELECT (config->>'workers')::INT AS workers FROM studies")
        figure("study", folder)
        figure("runs", row["runs"])
        figure(
            "spent_over_charged",
            round((row["spent"] + row["cached"]) / (row["charged"] - row["forfeited"]), 4),
            "0.98 to 1.02",
        )
        figure("cache_saved_share", round(row["cached"] / row["charged"], 4))
        figure("forfeited_share", round(row["forfeited"] / row["charged"], 4))
        figure("busy_share", round(busy["inside"] / (config["workers"] * busy["wall"]), 4), ">= 0.90")


if __name__ == "__main__":
    main()
