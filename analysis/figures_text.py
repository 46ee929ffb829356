"""The figures of a comparison as text: a difference with its interval, two gains, a ratio where one is stated."""

from __future__ import annotations

from typing import Protocol

from analysis.decision import Compared
from analysis.statistics import Mean, Ratio
from analysis.wording import at_least, decimals, interval_decimals, number, span


def difference(to: Compared, unit: str, digits: int | None = None, signed: bool = True) -> str:
    """``+0.48 nats [0.36 to 0.60]``; ``digits``: at least so many, else as the interval justifies."""
    return with_interval(to.difference, to.low, to.high, unit, signed, digits)


def with_interval(
    value: float | None,
    low: float | None,
    high: float | None,
    unit: str = "",
    signed: bool = True,
    digits: int | None = None,
) -> str:
    """The same of a difference and its interval; without an interval the difference alone."""
    digits = interval_decimals(low, high, digits)
    known = f" [{span(low, high, digits)}]" if low is not None else ""
    return f"{number(value, digits, signed)} {unit}".rstrip() + known


def gains(champion: Mean, other: Mean, unit: str, digits: int | None = None) -> str:
    """Two gains; without ``digits`` as many as the error of the less certain one justifies."""
    digits = decimals(max(champion.se or 0.0, other.se or 0.0)) if digits is None else digits
    return f"{gain(champion, digits)} {unit} against {gain(other, digits)}"


def gain(mean: Mean, digits: int, unit: str = "") -> str:
    """A program's own gain beside a difference that has so many ``digits``: more where its interval excludes 0, too."""
    return with_interval(mean.mean, mean.low, mean.high, unit, signed=False, digits=digits)


def differs(to: Compared) -> bool:
    """Whether the interval of the difference excludes 0."""
    return (to.low or 0) > 0 or (to.high or 0) < 0


def skewed(value: float | None, low: float | None, high: float | None) -> str:
    """Why a difference is far from the middle of its interval (`analysis.statistics.limits`), where it is."""
    if value is None or low is None or high is None or abs(value - (low + high) / 2) <= 0.1 * (high - low):
        return ""
    return " The interval is not symmetric, because it allows for skewed gains."


class Bounded(Protocol):
    """The 95% interval of a difference."""

    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def steady(divisor: Mean, ratio: Ratio, apart: Bounded | None = None) -> bool:
    """Whether a ratio to this gain is stated: it has a lower bound, and the lower end of the divisor's 95% interval is
    at least half of its mean. A ratio to a gain near 0 is large by chance; the difference is not. ``apart``: the
    interval of the difference; where it includes 0 no ratio is stated, since its one-sided bound may exclude 1."""
    if apart is not None and apart.low is not None and apart.high is not None and apart.low <= 0 <= apart.high:
        return False
    return ratio.ratio is not None and ratio.lower is not None and far_from_zero(divisor)


def far_from_zero(divisor: Mean) -> bool:
    """Whether the lower end of a gain's 95% interval is at least half of its mean."""
    return divisor.mean is not None and divisor.low is not None and divisor.low >= divisor.mean / 2 > 0


def times(divisor: Mean, ratio: Ratio, apart: Bounded | None = None, whose: str = "") -> str:
    """``, 2.76 times as much (at least 2.13, one-sided 95% bound)``, after two gains; with ``whose``: ``, 2.76 times
    stock's gain``, after a difference. Empty where no ratio is stated (``steady``)."""
    if not steady(divisor, ratio, apart):
        return ""
    return f", {ratio.ratio:.2f} times {f'{whose} gain' if whose else 'as much'} ({at_least(ratio.lower, 95)})"


def times_of(to: Compared, whose: str = "") -> str:
    return times(to.gain, to.ratio, to, whose)
