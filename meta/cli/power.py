"""``metaloop power``: how many runs a difference needs, what they cost, and what a study's runs can detect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import click

from analysis.wording import decimals, many, plain_number
from meta.cli import resolve
from meta.cli.flags import AnyStudy, StudyFlags
from meta.cli.options import Above0, duration, flag, only, verb
from meta.cli.output import Column, Output, Row
from programs.errors import UsageError

if TYPE_CHECKING:
    from analysis.verdict.power import RunNoise
    from analysis.verdict.study_power import Power

RATIOS = (1.1, 1.2, 1.3, 1.5, 2.0)
SDS = (0.25, 0.5, 1.0, 2.0)
METHOD = (
    "method: one-sided Welch test at {level:.1%} with {power:.0%} power, noncentral t distribution, exact for "
    "normally distributed runs. The test of a study also corrects for skewness, which costs 5 percentage points of "
    "power with 10 runs per program and 2 with 20. Device time and dollars cover both programs, verification included."
)


@dataclass(frozen=True)
class Basis:
    """The input of the figures: noise, the device-seconds of one run with its verification, and its source."""

    noise: RunNoise
    seconds: float | None
    unit: str
    source: str
    rows: tuple[Power, ...] = ()


@verb(
    ("metaloop power studies/NAME", "with the noise of that study"),
    ("metaloop power studies/NAME --ratio 1.2 --usd-per-hour 2.5", "to detect a gain 20% above stock's"),
    ("metaloop power --sd .11 --mean .33 --ratio 1.3 -t strokes", "without a study"),
)
def power(
    out: Output,
    study: AnyStudy,
    sd: Annotated[
        float | None,
        flag("Standard deviation (SD) between runs of one program, instead of a study.", type=Above0, metavar="GAIN"),
    ],
    mean: Annotated[
        float | None,
        flag("Stock's average gain, to compute ratios  [default: the study's].", type=Above0, metavar="GAIN"),
    ],
    difference: Annotated[float | None, flag("The difference to detect.", type=Above0, metavar="GAIN")],
    ratio: Annotated[
        float | None,
        flag(
            "The gain to detect, as a ratio to stock's: 1.2 is 20% more.",
            type=click.FloatRange(min=1, min_open=True),
            metavar="X",
        ),
    ],
    seeds: Annotated[int | None, flag("Print the smallest difference that N runs per program detect.", "-n", min=2)],
    which: Annotated[StudyFlags, only("task", "run_budget")],
    usd_per_hour: Annotated[float | None, flag("Price of an hour of the device.", min=0, metavar="USD")],
    power: Annotated[
        float,
        flag(
            "Probability that the test detects the difference.",
            type=click.FloatRange(0, 1, True, True),
            metavar="P",
            default=0.8,
        ),
    ],
    level: Annotated[
        float,
        flag(
            "Significance level of the one-sided test.",
            type=click.FloatRange(0, 0.5, True, True),
            metavar="P",
            default=0.025,
        ),
    ],
) -> None:
    """Compute how many runs per program detect a difference of a given size, and their cost.
    Without --sd, the noise comes from the runs of the study, and the command also prints the
    smallest difference that each of its matches could detect."""
    if sd is not None and study is not None:
        raise UsageError("--sd and a study exclude each other", hint="leave out --sd, or the study")
    basis = stated(sd, mean, which.task, which.run_budget) if sd is not None else of_study(out, study, mean)
    items = [
        needed(basis, wanted, power, level, usd_per_hour)
        for wanted in differences(basis.noise, difference, ratio, seeds)
    ]
    present(out, basis, items, least(basis.noise, seeds, power, level), METHOD.format(power=power, level=level))


def stated(sd: float, mean: float | None, task: str | None, run_budget: float | None) -> Basis:
    """The noise from the flags; the cost of a run from the task, where one is named."""
    from analysis.verdict.power import RunNoise
    from arena.setup import RunCost
    from meta.cli.launch import load_task

    loaded = load_task(task) if task else None
    seconds = run_budget
    if loaded is not None:
        seconds = RunCost(loaded, run_budget or loaded.run_budget).run
    return Basis(RunNoise(sd, None, mean), seconds, loaded.unit if loaded else "", "as stated")


def of_study(out: Output, study: str | None, mean: float | None) -> Basis:
    """Noise and cost from a study's ledger."""
    from analysis.verdict.power import RunNoise
    from analysis.verdict.study_power import measured, power_rows

    folder = resolve.study_folder(study, out)
    with resolve.connect(folder, []) as con:
        estimate, rows = measured(con), power_rows(con)
    parts = [f"{many(estimate.runs, 'run')} of {estimate.task} in {resolve.shown(folder)}"]
    sds = (("stock", estimate.sd_stock), ("the others", estimate.sd_others))
    parts += [f"SD of {name} {sd:.3g}" for name, sd in sds if sd]
    noise = estimate.noise if mean is None else RunNoise(estimate.noise.sd, estimate.noise.df, mean)
    return Basis(noise, estimate.seconds, estimate.unit, ", ".join(parts), tuple(rows))


def differences(noise: RunNoise, difference: float | None, ratio: float | None, seeds: int | None) -> list[float]:
    """The differences to compute runs for: those of the flags, or a series of sizes."""
    if ratio is not None and noise.mean is None:
        raise UsageError("--ratio needs stock's gain, significantly above 0", hint="add --mean, or use --difference")
    named = [d for d in (difference, (ratio - 1.0) * noise.mean if ratio and noise.mean else None) if d is not None]
    if named or seeds is not None:
        return named
    if noise.mean is not None:
        return [(r - 1.0) * noise.mean for r in RATIOS]
    return [noise.sd * sds for sds in SDS]


def needed(basis: Basis, difference: float, power: float, level: float, price: float | None) -> Row:
    """Runs per program for one difference, at the SD and at both ends of its interval; device time and dollars."""
    from analysis.verdict.power import runs_needed

    sd, mean = basis.noise.sd, basis.noise.mean
    runs = runs_needed(difference, sd, power, level)
    low, high = (runs_needed(difference, end, power, level) for end in basis.noise.interval or (sd, sd))
    seconds = 2 * runs * basis.seconds if runs is not None and basis.seconds is not None else None
    return {
        "difference": difference,
        "ratio": 1.0 + difference / mean if mean is not None else None,
        "sds": difference / sd if sd else None,
        "runs": runs,
        "runs_low": low,
        "runs_high": high,
        "device_seconds": seconds,
        "device_hours": seconds / 3600 if seconds is not None else None,
        "usd": seconds / 3600 * price if seconds is not None and price is not None else None,
    }


@dataclass(frozen=True)
class SmallestDifference:
    """``detectable``: the smallest difference that this number of runs per program detects."""

    runs: int
    detectable: float | None
    detectable_ratio: float | None


def least(noise: RunNoise, seeds: int | None, power: float, level: float) -> SmallestDifference | None:
    """The smallest difference that ``seeds`` runs per program detect."""
    from analysis.verdict.power import RunSample, detectable

    if seeds is None:
        return None
    smallest = detectable(RunSample(noise.sd, seeds), RunSample(noise.sd, seeds), power, level)
    ratio = 1.0 + smallest / noise.mean if smallest is not None and noise.mean is not None else None
    return SmallestDifference(seeds, smallest, ratio)


def present(out: Output, basis: Basis, items: Sequence[Row], smallest: SmallestDifference | None, method: str) -> None:
    from rich.text import Text

    noise = {**asdict(basis.noise), "interval": basis.noise.interval, "unit": basis.unit, "from": basis.source}
    noise["run_device_seconds"] = basis.seconds
    if out.mode == "json":
        rows = [asdict(row) for row in basis.rows]
        priced = any(item["usd"] is not None for item in items)
        price = "as asked" if priced else "not priced"
        tells = asdict(smallest) if smallest else None
        out.json({"method": method, "noise": noise, "items": items, "price": price, "tells": tells, "matches": rows})
        return
    out.note(noise_line(basis))
    if items:
        shown = [{**item, "usd": "not priced" if item["usd"] is None else item["usd"]} for item in items]
        out.rows(shown, columns(decimals(basis.noise.sd)))
        out.note(
            "runs each: for each of two programs, if the SD is as measured; at low SD and at high SD: if it is at an "
            "end of its 95% interval"
        )
    for line in said(basis, smallest):
        out.show(Text(line)) if out.mode == "person" else out.note(line)
    out.note(method)


def noise_line(basis: Basis) -> str:
    """``noise: standard deviation (SD) 0.167 nats [0.139, 0.210] between runs of one program, …``."""
    noise, digits = basis.noise, decimals(basis.noise.sd)
    span = f" [{noise.interval[0]:.{digits}f}, {noise.interval[1]:.{digits}f}]" if noise.interval else ""
    gains = f"; stock gains {noise.mean:.{digits}f}" if noise.mean is not None else ""
    unit = f" {basis.unit}" if basis.unit else ""
    sd = f"noise: standard deviation (SD) {noise.sd:.{digits}f}{unit}{span}"
    return f"{sd} between runs of one program ({basis.source}){gains}"


def columns(digits: int) -> list[Column]:
    def count(value: Any) -> str:
        return f"{value:,}"

    return [
        Column("difference", right=True, style="green", show=lambda v: plain_number(v, digits)),
        Column("ratio", right=True, show=lambda v: f"{v:.2f}"),
        Column("runs", "runs each", right=True, style="bold", show=count),
        Column("runs_low", "at low SD", right=True, show=count, optional=True),
        Column("runs_high", "at high SD", right=True, show=count, optional=True),
        Column("device_seconds", "device time", right=True, show=duration),
        Column("usd", right=True, show=lambda v: v if isinstance(v, str) else f"{v:,.2f}"),
    ]


def said(basis: Basis, smallest: SmallestDifference | None) -> list[str]:
    """The smallest detectable difference for the requested number of runs, and for each match of the study."""
    digits = decimals(basis.noise.sd)
    lines = []
    if smallest is not None:
        lines.append(f"{many(smallest.runs, 'run')} per program detect {_size(smallest, digits)} or more")
    for row in basis.rows:
        where = "held-out task" if row.purpose == "reserve" else row.purpose
        where = f"{where}{f' {row.generation}' if row.generation else ''}"
        runs = f"{many(row.n, 'run')} each" if row.n == row.n_other else f"{row.n} and {row.n_other} runs"
        lines.append(
            f"{where}, {row.comparison}{' programs' * (row.comparison == 'any two')} with {runs}: "
            f"detects {_size(row, digits)} or more"
        )
    return lines


def _size(row: SmallestDifference | Power, digits: int) -> str:
    ratio = f" (a gain of {row.detectable_ratio:.2f} times stock's in this match)" if row.detectable_ratio else ""
    return f"a difference of {plain_number(row.detectable, digits)}{ratio}"
