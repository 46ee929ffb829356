"""Pictures in text: intervals on an axis, and meters."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from analysis.wording import tick_step


@dataclass(frozen=True)
class Axis:
    """A linear axis from ``low`` to ``high`` over ``width`` characters."""

    low: float
    high: float
    width: int

    @classmethod
    def around(cls, values: Iterable[float | None], width: int) -> Axis:
        """The axis that contains zero and every finite value, with one character of margin on each side."""
        finite = [v for v in values if v is not None and math.isfinite(v)]
        low, high = min([0.0, *finite]), max([0.0, *finite])
        if low == high:
            high = low + 1.0
        room = (high - low) / max(width - 2, 1)
        return cls(low - room if low < 0 else low, high + room, width)

    @classmethod
    def of_intervals(cls, intervals: Iterable[tuple[float | None, float | None, float | None]], width: int) -> Axis:
        """The axis for (low, mid, high) triples; intervals over 5 times as wide as the median are clipped."""
        finite = [i for i in intervals if i[1] is not None and math.isfinite(i[1])]
        wide = sorted(high - low for low, _, high in finite if low is not None and high is not None)
        most = 5 * wide[len(wide) // 2] if wide else math.inf
        kept = [i for i in finite if i[0] is None or i[2] is None or i[2] - i[0] <= most]
        return cls.around([value for interval in kept for value in interval], width)

    def column(self, value: float) -> int:
        """The column of ``value``, 0 to width - 1; clipped at the ends."""
        share = (value - self.low) / (self.high - self.low)
        return min(max(round(share * (self.width - 1)), 0), self.width - 1)

    def header(self) -> str:
        """Tick labels, each centred on its tick, as many as fit."""
        line = [" "] * self.width
        step = tick_step(self.high - self.low, max(self.width // 7, 1))
        first = math.ceil(self.low / step)
        for index in range(first, math.floor(self.high / step) + 1):
            label = tick_label(index * step, step)
            start = min(max(self.column(index * step) - len(label) // 2, 0), self.width - len(label))
            around = line[max(start - 1, 0) : start + len(label) + 1]
            if start >= 0 and not "".join(around).strip():
                line[start : start + len(label)] = label
        return "".join(line)

    def _apart(self, low: float, mid: float, high: float) -> tuple[int, int, int]:
        """The columns of an interval and its middle, which differ, and are beside the zero line if it excludes zero."""
        left, at, right = self.column(low), self.column(mid), self.column(high)
        zero, last = self.column(0.0), self.width - 1
        if not self.low <= mid <= self.high:
            return left, at, right
        if high < 0:  # from its right end to the left
            right = max(min(right, zero - 1), 2)
            at = max(min(at, right - 1), 1)
            return min(left, at - 1), at, right
        left = min(max(left, zero + 1) if low > 0 else left, last - 2)
        at = min(max(at, left + 1), last - 1)
        return left, at, max(right, at + 1)

    def interval(self, low: float | None, mid: float | None, high: float | None) -> str:
        """``|   [--o--]  ``: the zero line, the interval and its middle; blank where there is no number."""
        line = [" "] * self.width
        line[self.column(0.0)] = "|"
        if mid is None or not math.isfinite(mid):
            return "".join(line)
        at = self.column(mid)
        if low is not None and high is not None and math.isfinite(low) and math.isfinite(high):
            left, at, right = self._apart(low, mid, high)
            for column in range(left, right + 1):
                line[column] = "|" if line[column] == "|" else "-"
            line[left], line[right] = ("<" if low < self.low else "["), (">" if high > self.high else "]")
        line[at] = "<" if mid < self.low else ">" if mid > self.high else "o"
        return "".join(line)


def tick_label(value: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    text = f"{value:.{digits}f}"
    text = text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text
    return "0" if value == 0 else text


def meter(done: float, total: float, width: int = 40) -> str:
    """``[=====      ]``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    return "[" + ("=" * round(share * width)).ljust(width) + "]"


def fit_name(name: str, width: int) -> str:
    """``name`` cut to ``width`` characters; its version, by which the programs of a study differ, stays."""
    if len(name) <= width:
        return name
    version = re.search(r"-v\d+$", name)
    end = version.group() if version and len(version.group()) < width - 2 else ""
    return f"{name[: width - 1 - len(end)]}…{end}"


def fit(text: str, width: int) -> str:
    """``text`` cut to ``width`` characters, the last three dots where it was longer."""
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."[:width]
