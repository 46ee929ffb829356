"""Score of a foreign repository's script: the number that it prints. Nothing holds it to the truth, and rows say so."""

from __future__ import annotations

import math
import re
from typing import Any

from trainer.scoring import InvalidPredictions, Referee, Score

_LINE = 400  # characters; no line with a figure is longer
_NUMBER = re.compile(r"[-+]?(?:\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(?:[eE][-+]?\d{1,3})?")


class Printed:
    """The last line of the log that ``[score] pattern`` matches; its one group is the metric. Always self-reported."""

    per_position = False
    needs_checkpoint = False

    def __init__(self, scoring: dict[str, Any]) -> None:
        self.pattern = re.compile(scoring["pattern"])

    def score(self, referee: Referee) -> Score:
        lines = [line for line in referee.log.splitlines() if len(line) <= _LINE]
        found = next((match for line in reversed(lines) if (match := self.pattern.search(line))), None)
        if found is None:
            raise InvalidPredictions(f"no line of the output matches {self.pattern.pattern!r}")
        text = (found[1] or "").strip()
        if not _NUMBER.fullmatch(text) or not math.isfinite(metric := float(text)):
            raise InvalidPredictions(f"the printed metric is no finite number: {text[:40]!r}")
        return Score(metric, "self-reported")
