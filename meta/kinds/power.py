"""The power of the tests that a plan has, in a sentence."""

from __future__ import annotations

from analysis.verdict.power import LEVEL, RunSample, detectable
from analysis.wording import many

TURN_SD, TURN_SCORE = 1.32, 1.06  # of a turn of a model, by `python -m bench.league`
TURN_NOTE = f"SD: standard deviation between turns, {TURN_SD} in a league whose average turn scores {TURN_SCORE}"


def power_sentence(
    runs: int, pairs: int = 1, of: str = "per program", more: int = 0, has_same_rows: bool = False
) -> str:
    """The smallest difference between two arms of ``runs`` runs, the other one with ``more``, that Welch's test,
    one-sided 2.5% divided by ``pairs``, detects with 80% power, in standard deviations between the runs of one program.
    ``of``: whose runs these are; ``has_same_rows``: all are measured on the same validation rows, so the standard
    deviation does not contain the noise of the rows.
    """
    least = detectable(RunSample(1.0, runs), RunSample(1.0, runs + more), level=LEVEL / pairs)
    if least is None:
        return "one run per program has no interval, so no difference can be detected"
    corrected = f", corrected for {pairs} pairs" if pairs > 1 else ""
    rows = ", which are all measured on the same validation rows" if has_same_rows else ""
    return (
        f"with {many(runs, 'run')} {of}, the test detects a difference of {least:.1f} SD between two programs with 80% "
        f"power{corrected} (SD: standard deviation between runs of one program{rows})"
    )
