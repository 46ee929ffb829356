"""``metaloop power``: how many runs tell a difference, what they cost, and what the runs that are there can tell."""

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
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    from analysis.power import RunNoise
    from analysis.study_power import Power

RATIOS = (1.1, 1.2, 1.3, 1.5, 2.0)
SDS = (0.25, 0.5, 1.0, 2.0)
METHOD = (
    "power {power:.0%} of a one-sided Welch test at {level:.1%}, by the noncentral t distribution, exact for normal "
    "runs; the test that a study announces is corrected for skewness, which costs 0.05 of it at 10 runs a side, 0.02 "
    "at 20; runs, device time and dollars are of both programs' fresh runs, verification included"
)


@dataclass(frozen=True)
class Basis:
    """What the figures rest on: noise, the device-seconds of one run with its verification, and words for it."""

    noise: RunNoise
    seconds: float | None
    unit: str
    told: str
    rows: tuple[Power, ...] = ()


@verb(
    ("metaloop power studies/NAME", "from the noise in its ledger"),
    ("metaloop power studies/NAME --ratio 1.2 --usd-per-hour 2.5", "a fifth more than stock"),
    ("metaloop power --sd .11 --mean .33 --ratio 1.3 -t strokes", "before there is a study"),
)
def power(
    out: Output,
    study: AnyStudy,
    sd: Annotated[
        float | None, flag("Sd between runs of one program, in place of a ledger's.", type=Above0, metavar="GAIN")
    ],
    mean: Annotated[float | None, flag("What stock gains; ratios refer to it.", type=Above0, metavar="GAIN")],
    difference: Annotated[float | None, flag("The difference to be told.", type=Above0, metavar="GAIN")],
    ratio: Annotated[
        float | None, flag("The same, times stock's gain.", type=click.FloatRange(min=1, min_open=True), metavar="X")
    ],
    seeds: Annotated[int | None, flag("Runs a program: the least that they tell.", "-n", min=2)],
    which: Annotated[StudyFlags, only("task", "run_budget")],
    usd_per_hour: Annotated[float | None, flag("Price of an hour of the device.", min=0, metavar="USD")],
    power: Annotated[
        float, flag("Chance to tell it.", type=click.FloatRange(0, 1, True, True), metavar="P", default=0.8)
    ],
    level: Annotated[
        float, flag("Of the one-sided test.", type=click.FloatRange(0, 0.5, True, True), metavar="P", default=0.025)
    ],
) -> None:
    """How many runs of each of two programs tell a difference of a given size, in
    device time and dollars; and the smallest difference that the matches of a study
    can tell."""
    if sd is not None and study is not None:
        raise UsageError("a study brings its own noise", hint="leave out --sd, or the study")
    basis = stated(sd, mean, which.task, which.run_budget) if sd is not None else of_study(out, study, mean)
    items = [
        needed(basis, wanted, power, level, usd_per_hour) for wanted in asked(basis.noise, difference, ratio, seeds)
    ]
    present(out, basis, items, least(basis.noise, seeds, power, level), METHOD.format(power=power, level=level))


def stated(sd: float, mean: float | None, task: str | None, run_budget: float | None) -> Basis:
    """Noise as the user gave it; what a run costs, from the task where one is named."""
    from analysis.power import RunNoise
    from arena.setup import Cost
    from meta.cli.launch import load_task

    loaded = load_task(task) if task else None
    seconds = run_budget
    if loaded is not None:
        seconds = Cost(loaded, run_budget or loaded.run_budget).run
    return Basis(RunNoise(sd, None, mean), seconds, loaded.unit if loaded else "", "as stated")


def of_study(out: Output, study: str | None, mean: float | None) -> Basis:
    """Noise and cost as a study's ledger has them."""
    from analysis.power import RunNoise
    from analysis.study_power import measured, power_rows

    folder = resolve.study_folder(study, out)
    with resolve.connect(folder, []) as con:
        found, rows = measured(con), power_rows(con)
    parts = [f"{many(found.runs, 'run')} of {found.task} in {resolve.shown(folder)}"]
    parts += [f"{name} {sd:.3g}" for name, sd in (("stock", found.sd_stock), ("others", found.sd_others)) if sd]
    noise = found.noise if mean is None else RunNoise(found.noise.sd, found.noise.df, mean)
    return Basis(noise, found.seconds, found.unit, ", ".join(parts), tuple(rows))


def asked(noise: RunNoise, difference: float | None, ratio: float | None, seeds: int | None) -> list[float]:
    """The differences to answer for: those named, or a ladder of them."""
    if ratio is not None and noise.mean is None:
        raise UsageError("a ratio needs what stock gains", hint="give --mean, or ask by --difference")
    if ratio is not None and noise.mean is not None and noise.mean <= 0:
        raise NotFound("stock gains nothing in this study, so no ratio to it exists", hint="ask by --difference")
    named = [d for d in (difference, (ratio - 1.0) * noise.mean if ratio and noise.mean else None) if d is not None]
    if named or seeds is not None:
        return named
    if noise.mean is not None and noise.mean > 0:
        return [(r - 1.0) * noise.mean for r in RATIOS]
    return [noise.sd * sds for sds in SDS]


def needed(basis: Basis, difference: float, power: float, level: float, price: float | None) -> Row:
    """Runs of each of two programs for one difference, at the sd and at both ends of its interval; time and dollars."""
    from analysis.power import runs_needed

    sd, mean = basis.noise.sd, basis.noise.mean
    runs = runs_needed(difference, sd, power, level)
    low, high = (runs_needed(difference, end, power, level) for end in basis.noise.interval or (sd, sd))
    seconds = 2 * runs * basis.seconds if runs is not None and basis.seconds is not None else None
    return {
        "difference": difference, "ratio": 1.0 + difference / mean if mean is not None and mean > 0 else None,
        "sds": difference / sd if sd else None, "runs": runs, "runs_low": low, "runs_high": high,
        "device_seconds": seconds, "device_hours": seconds / 3600 if seconds is not None else None,
        "usd": seconds / 3600 * price if seconds is not None and price is not None else None,
    }  # fmt: skip


def least(noise: RunNoise, seeds: int | None, power: float, level: float) -> Row | None:
    """What ``seeds`` runs a program tell."""
    from analysis.power import RunSample, detectable

    if seeds is None:
        return None
    found = detectable(RunSample(noise.sd, seeds), RunSample(noise.sd, seeds), power, level)
    ratio = 1.0 + found / noise.mean if found is not None and noise.mean is not None and noise.mean > 0 else None
    return {"runs": seeds, "detectable": found, "detectable_ratio": ratio}


def present(out: Output, basis: Basis, items: Sequence[Row], tells: Row | None, method: str) -> None:
    from rich.text import Text

    noise = {**asdict(basis.noise), "interval": basis.noise.interval, "unit": basis.unit, "from": basis.told}
    noise["run_device_seconds"] = basis.seconds
    if out.mode == "json":
        rows = [asdict(row) for row in basis.rows]
        priced = any(item["usd"] is not None for item in items)
        price = "as asked" if priced else "not priced"
        out.json({"method": method, "noise": noise, "items": items, "price": price, "tells": tells, "matches": rows})
        return
    out.note(noise_line(basis))
    if items:
        shown = [{**item, "usd": "not priced" if item["usd"] is None else item["usd"]} for item in items]
        out.rows(shown, columns(decimals(basis.noise.sd)))
    for line in said(basis, tells):
        out.show(Text(line)) if out.mode == "person" else out.note(line)
    out.note(method)


def noise_line(basis: Basis) -> str:
    """``noise: sd 0.167 nats [0.139, 0.210] between runs of one program, …``."""
    noise, places = basis.noise, decimals(basis.noise.sd)
    span = f" [{noise.interval[0]:.{places}f}, {noise.interval[1]:.{places}f}]" if noise.interval else ""
    gains = f"; stock gains {noise.mean:.{places}f}" if noise.mean is not None else ""
    unit = f" {basis.unit}" if basis.unit else ""
    return f"noise: sd {noise.sd:.{places}f}{unit}{span} between runs of one program ({basis.told}){gains}"


def columns(places: int) -> list[Column]:
    def count(value: Any) -> str:
        return f"{value:,}"

    return [
        Column("difference", right=True, style="green", show=lambda v: plain_number(v, places)),
        Column("ratio", right=True, show=lambda v: f"{v:.2f}"),
        Column("runs", "runs each", right=True, style="bold", show=count),
        Column("runs_low", "at low sd", right=True, show=count, optional=True),
        Column("runs_high", "at high sd", right=True, show=count, optional=True),
        Column("device_seconds", "device time", right=True, show=duration),
        Column("usd", right=True, show=lambda v: v if isinstance(v, str) else f"{v:,.2f}"),
    ]


def said(basis: Basis, tells: Row | None) -> list[str]:
    """What runs of a stated number tell, and what each match of the study could."""
    places = decimals(basis.noise.sd)
    lines = []
    if tells is not None:
        lines.append(f"{many(tells['runs'], 'run')} of each program tell {_size(tells, places)} or more")
    for row in basis.rows:
        where = f"{row.purpose}{f' {row.generation}' if row.generation else ''}"
        runs = f"{many(row.n, 'run')} each" if row.n == row.n_other else f"{row.n} and {row.n_other} runs"
        lines.append(f"{where}: {row.comparison}, {runs}: tells {_size(asdict(row), places)} or more")
    return lines


def _size(row: Row, places: int) -> str:
    ratio = f" (a ratio of {row['detectable_ratio']:.2f})" if row["detectable_ratio"] else ""
    return f"a difference of {plain_number(row['detectable'], places)}{ratio}"
