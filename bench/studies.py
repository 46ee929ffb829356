"""Default studies with different study seeds: the champion's confirmed gain against stock's, with and without ideas.

python -m bench.studies FOLDER [SEED ...] [TASK]      default seeds 1 2 3 4 5; resumable: the same command goes on
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

from bench.common import figure, metaloop, sql

CLAIM = """
SELECT record->>'name' AS name,
       (record->'champion'->>'mean')::DOUBLE AS champion,
       (record->'stock'->>'mean')::DOUBLE AS stock,
       (record->'ratio'->>'ratio')::DOUBLE AS ratio, (record->'ratio'->>'lower')::DOUBLE AS lower,
       (record->'ratio_without_ideas'->>'ratio')::DOUBLE AS without_ideas,
       (record->'ratio_without_ideas'->>'lower')::DOUBLE AS without_ideas_lower, (record->>'p')::DOUBLE AS p
FROM events WHERE kind = 'champion'
"""


def main() -> None:
    folder = Path(sys.argv[1])
    seeds = [int(word) for word in sys.argv[2:] if word.isdecimal()] or [1, 2, 3, 4, 5]
    task = [flag for word in sys.argv[2:] if not word.isdecimal() for flag in ("-t", word)]
    claims = []
    for seed in seeds:
        study = folder / f"default-{seed}"
        wall = metaloop("evolve", *task, "-s", str(study), "--seed", str(seed), "-y")
        (claim,) = sql(study, CLAIM)
        claims.append(claim)
        shown = {k: round(v, 4) if isinstance(v, float) else v for k, v in claim.items()}
        figure(f"study_{seed}", f"{shown} in {wall:.0f} s")
    figure("mean_ratio", round(statistics.fmean(c["ratio"] or 0.0 for c in claims), 3), ">= 1.25, ambition 1.5")
    figure("bounds_above_1", f"{sum((c['lower'] or 0) > 1 for c in claims)} of {len(claims)}", ">= 3 of 5")
    bare = [c["without_ideas"] for c in claims if c["without_ideas"] is not None]
    if bare:
        figure(
            "mean_ratio_without_ideas",
            f"{statistics.fmean(bare):.3f} over {len(bare)} studies whose champion has ideas",
        )


if __name__ == "__main__":
    main()
