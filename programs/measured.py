"""Sentences that programs often have, with what was measured of them: docs/league.md says how, and
`python -m bench.league sentences … programs/library/measured.tsv` writes the figures."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FIGURES = Path(__file__).parent / "library" / "measured.tsv"
LEVEL = 0.05
#: what a sentence of the same meaning has, by the one that was measured
ALIKE = {
    "Never stop and never ask: nobody is watching.": r"never (stop|ask|pause)|(do not|don't) (stop|ask)\b",
    "Simpler is better: a tiny gain that adds ugly lines is not worth it.": r"simpler is better|\bugly\b|simplicity",
    "Write down your hypothesis and the effect that you expect before each change.": r"\bhypothes[ie]s\b",
    "Make one change at a time.": r"\b(one|single) (change|thing|idea|edit) (at a time|per|and)\b",
    "Be bold in the first third of the budget.": r"\b(be|start) bold|\bbold(er)?\b.{0,40}\b(first|early|beginning)\b",
    "Your result is checked in the end on data that you do not see.": r"\bheld[- ]out\b|"
    r"\bdata (that )?you (do not|don't|never|cannot) see|\bhidden (data|rows|test)\b",
    "Ask yourself whether a gain is overfitting before you build on it.": r"\boverfit",
    "Read the results so far, and do not repeat what failed.": r"\b(do not|don't|never) (repeat|retry)\b|"
    r"\bread the (results|notes|log)\b",
    "Test a surprisingly large gain again before you believe it.": r"\b(re-?test|re-?run|again)\b.{0,40}\bsurpris|"
    r"\bsurpris.{0,40}\b(again|re-?test|re-?run|twice)\b",
    "Prefer changes of the code to changes of constants.": r"\bchanges? (of|to|in) (the )?code\b.{0,40}\bconstant",
    "Use all of the time that a training may take.": r"\buse (all|the (whole|full|entire))\b.{0,20}\b(time|budget)\b",
}  # the sentence on other tasks is about these tasks alone


@dataclass(frozen=True)
class MeasuredSentence:
    """The effect on the score of a turn of a model, log(1 + gain / SD between seeds), with its 95% interval, over
    ``turns`` turns; ``p_holm``: corrected over all sentences that were measured together."""

    text: str
    effect: float
    low: float
    high: float
    p_holm: float
    is_followed: bool
    turns: int

    @property
    def summary(self) -> str:
        """In words."""
        shown = "an effect is shown" if self.p_holm < LEVEL else "no effect is shown"
        follows = "" if self.is_followed else ", nor that models follow it"
        interval = f"{self.effect:+.2f} a turn [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{shown}{follows}: {interval} in {self.turns} turns of a frontier model (docs/league.md)"


@cache
def measured_sentences() -> tuple[MeasuredSentence, ...]:
    """All that were measured."""
    with FIGURES.open(encoding="utf-8", newline="") as file:
        return tuple(
            MeasuredSentence(
                text=row["text"],
                effect=float(row["effect"]),
                low=float(row["low"]),
                high=float(row["high"]),
                p_holm=float(row["p_holm"]),
                is_followed=row["is_followed"] == "true",
                turns=int(row["turns"]),
            )
            for row in csv.DictReader(file, delimiter="\t")
        )


def measured_like(text: str) -> MeasuredSentence | None:
    """The measured sentence that a statement of a program resembles."""
    plain = " ".join(text.casefold().replace("’", "'").split())
    return next((each for each in measured_sentences() if _is_alike(each.text, plain)), None)


def _is_alike(measured: str, text: str) -> bool:
    return measured in ALIKE and re.search(ALIKE[measured], text) is not None
