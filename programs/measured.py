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
    alike: re.Pattern[str] | None  # what a statement of the same meaning has, in small letters

    @property
    def summary(self) -> str:
        """In words."""
        effect = "an effect is shown" if self.p_holm < LEVEL else "no effect is shown"
        follows = "" if self.is_followed else ", nor that models follow it"
        interval = f"{self.effect:+.2f} a turn [{self.low:+.2f}, {self.high:+.2f}]"
        return f"{effect}{follows}: {interval} in {self.turns} turns of a frontier model (docs/league.md)"


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
                alike=re.compile(row["alike"]) if row["alike"] else None,
            )
            for row in csv.DictReader(file, delimiter="\t")
        )


def measured_like(text: str) -> MeasuredSentence | None:
    """The measured sentence that a statement of a program resembles."""
    words = " ".join(text.casefold().replace("’", "'").split())
    return next(
        (sentence for sentence in measured_sentences() if sentence.alike and sentence.alike.search(words)), None
    )
