"""The power of the tests that a plan has, in sentences."""

from __future__ import annotations

from pathlib import Path

from analysis.ledger import segments
from analysis.study import read_study
from analysis.verdict.power import LEVEL, RunSample, detectable, measured_sd
from analysis.wording import many


def power_sentence(
    runs: int,
    pairs: int = 1,
    sd: float | None = None,
    unit: str = "",
    of: str = "per program",
    more: int = 0,
    same_rows: bool = False,
) -> str:
    """The smallest difference between two arms of ``runs`` runs, the other one with ``more``, that Welch's test,
    one-sided 2.5% divided by ``pairs``, detects with 80% power: in SDs between the runs of one program, and in ``unit``
    where ``sd`` is known. ``of``: whose runs these are; ``same_rows``: all are measured on the same rows, of which the
    SD does not contain the noise.
    """
    sds, known = (
        detectable(RunSample(unit_sd, runs), RunSample(unit_sd, runs + more), level=LEVEL / pairs)
        for unit_sd in (1.0, sd or 0.0)
    )
    if sds is None:
        return "one run per program has no interval, so no difference can be detected"
    size = f"{sds:.1f} SD" + (f" ({known:.2g} {unit}".rstrip() + ")" if known else "")
    corrected = f", corrected for {pairs} pairs" if pairs > 1 else ""
    rows = ", which are all measured on the same validation rows" if same_rows else ""
    return (
        f"with {many(runs, 'run')} {of}, the test detects a difference of {size} between two programs with 80% power"
        f"{corrected} (SD: standard deviation between runs of one program{rows})"
    )


def known_sd(folder: Path) -> float | None:
    """The SD between the runs of a study so far; None before there are enough runs."""
    if not segments(folder / "ledger"):
        return None
    with read_study(folder, views=()) as con:
        return measured_sd(con)
