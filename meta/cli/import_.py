"""``metaloop import``: import the logs of other loops as a study, with a summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from analysis.wording import many
from meta.cli import resolve
from meta.cli.launch import cores
from meta.cli.options import Above0, argument, flag, verb
from meta.cli.output import Column, Output, Row, clean, key_values, table

if TYPE_CHECKING:
    from analysis.imports.load import Doubt, LogResult, RunOfLog
    from analysis.imports.study import Imported
    from analysis.imports.summary import ImportSummary, MetricTotals

SHOWN_LOGS, SHOWN_CATEGORIES, SHOWN_LINES = 15, 12, 4
CATEGORIES = (
    Column("category", style="bold"),
    Column("tried", right=True),
    Column("kept", right=True),
    Column("failed", right=True, optional=True),
    Column("keep_rate", "keep rate", right=True, show=lambda v: _percent(v)),
    Column("gain", right=True, show=lambda v: f"{v + 0.0:+.4g}", style="green"),
    Column("share_of_gain", "share of gain", right=True, show=lambda v: _percent(v)),
)
LOGS = (
    Column("name", "log", flex=True, style="bold"),
    Column("metric", flex=True),
    Column("rows", right=True),
    Column("kept", right=True),
    Column("claimed_gain", "gain", right=True, show=lambda v: f"{v + 0.0:+.4g}", style="green"),
    Column("by_noise", "maybe noise", right=True),
    Column("doubtful", right=True),
    Column("quarantined", "set aside", right=True, optional=True),
)


@verb(
    ("metaloop import results.tsv", "the log of one overnight run"),
    ("metaloop import runs/ --skip-unsure -s studies/old", "every log below a folder"),
    ("metaloop import results.tsv --direction higher --noise .002", "state what the log omits"),
)
def import_(
    out: Output,
    paths: Annotated[tuple[str, ...], argument(nargs=-1, required=True, metavar="PATH...")],
    study: Annotated[str | None, flag("The new study's folder  [default: studies/import-...].", "-s", metavar="DIR")],
    metric: Annotated[str | None, flag("The column with the metric.", metavar="NAME")],
    direction: Annotated[
        str | None, flag("Whether a lower or a higher metric is better.", type=click.Choice(["lower", "higher"]))
    ],
    noise: Annotated[float | None, flag("Standard deviation of one measurement.", type=Above0, metavar="SD")],
    skip_unsure: Annotated[
        bool, flag("Leave out logs whose metric or direction is unclear, without asking about them.")
    ],
    workers: Annotated[int | None, flag("Processes that read the logs  [default: one per core].", "-j", min=1)],
) -> int:
    """Import logs as a study: results.tsv files, CSV, markdown tables, JSON lines, folders of
    them, and repositories of loops such as autoresearch. Prints a summary, and runs
    nothing. Each line is either imported, or set aside with its line number and the reason.
    A log that cannot be read, or whose metric or direction is unclear, is left out with the
    reason; the others are imported, and the exit code is 0. If no log can be imported, the
    command fails and writes no study."""
    from analysis.imports.load import Options
    from analysis.imports.study import import_logs
    from analysis.imports.summary import listed, summary

    folder = Path(study).expanduser() if study else resolve.fresh_folder(f"import-{_stem(paths[0])}", out)
    asks = out.mode == "person" and sys.stdin.isatty()
    done = import_logs(
        [Path(path).expanduser() for path in paths],
        folder,
        Options(metric, direction, noise, skip_unsure),
        workers=workers or cores(),
        ask=_ask if asks else None,
    )
    item = summary(done)
    if out.mode == "json":
        out.json({**asdict(item), "items": listed(done), "set_aside": done.asides, "told": done.contradictions})
    elif out.mode == "plain":
        out.thing(asdict(item))
    else:
        _person(out, item, done)
    _notes(out, done)
    _left_out(out, done)
    return 0


def _stem(path: str) -> str:
    """A short name of the import, for the study's folder."""
    absolute = Path(path).expanduser().absolute()
    name = absolute.parent.name if absolute.suffix and absolute.stem.lower() == "results" else absolute.stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.")[:40] or "logs"


def _ask(doubt: Doubt) -> str | None:
    """Ask at the terminal; ``skip`` sets all such logs aside."""
    click.echo(clean(f"{doubt.log}: {doubt.why}"), err=True)
    if doubt.what == "metric":
        answer: str = click.prompt("which column", type=click.Choice([*doubt.candidates, "skip"]), err=True)
    else:
        answer = click.prompt("which is better", type=click.Choice(["lower", "higher", "skip"]), err=True)
    return None if answer == "skip" else answer


def _person(out: Output, item: ImportSummary, done: Imported) -> None:
    from rich.text import Text

    runs = done.runs
    pairs = [("study", resolve.shown(done.folder)), ("logs", _logs_line(item)), ("rows", _rows_line(item))]
    pairs += _gain_pairs(item, runs)
    if runs:
        pairs += [("keep rate", _keep_line(item)), ("noise", _noise_line(item, runs))]
        counted = ", ".join(f"{kind} {n}" for kind, n in item.contradictions.items())
        pairs.append(("contradictions", counted or "none"))
    out.show(key_values(pairs))
    for line in done.contradictions[:SHOWN_LINES]:
        out.show(Text(f"  {line}", style="dim"))
    if item.categories:
        out.show(Text("\nexperiments by the first keyword of their description", style="dim"))
        categories = [asdict(category) for category in item.categories[:SHOWN_CATEGORIES]]
        out.show(table(categories, CATEGORIES, out.console.width))
    if len(runs) > 1:
        longest = sorted(((log, log.run) for log in done.logs if log.run is not None), key=lambda pair: -pair[1].rows)
        rows = [_log_row(log, run) for log, run in longest[:SHOWN_LOGS]]
        out.show(Text("\nthe longest logs", style="dim"))
        out.show(table(rows, LOGS, out.console.width))


def _log_row(log: LogResult, run: RunOfLog) -> Row:
    figures = run.figures
    leading = figures.kept + figures.new_bests
    steps = "?" if figures.noise_steps is None else f"{figures.noise_steps} of {leading}"
    doubtful = sum(figures.contradictions.values())
    return {**log.event, "by_noise": steps, "doubtful": doubtful}


def _logs_line(item: ImportSummary) -> str:
    others = {"duplicate": item.duplicate_logs, "refused": item.refused_logs, "unsure": item.unsure_logs}
    parts = [f"{item.imported_logs} imported"]
    parts += [f"{n} {state}" for state, n in {**others, "empty": item.empty_logs}.items() if n]
    parts += [f"{item.programs} with a program"] if item.programs else []
    return ", ".join(parts)


def _rows_line(item: ImportSummary) -> str:
    rest = item.tried - item.kept - item.new_bests - item.discarded - item.failed
    unsaid = f"{many(item.new_bests, 'new best')} (no word on what was kept)" if item.new_bests else ""
    return (
        f"{item.rows} imported, {item.quarantined} set aside; {item.tried} tried: {item.kept} kept, "
        + (f"{unsaid}, " if unsaid else "")
        + f"{item.discarded} discarded, {item.failed} failed"
        + (f", {rest} without a decision or a metric" if rest > 0 else "")
    )


def _gain_pairs(item: ImportSummary, runs: Sequence[RunOfLog]) -> list[tuple[str, str]]:
    """The claimed gain of a single run with its figures, else the medians of each metric."""
    if len(runs) != 1:
        return [(m.metric or "unnamed metric", _metric_line(m)) for m in item.metrics[:SHOWN_LINES]]
    run, figures = runs[0], runs[0].figures
    gain = f"{_number(figures.claimed_gain)} claimed"
    if figures.claimed_gain is not None:
        gain += f": {figures.baseline:g} to {figures.best_kept:g} (line {figures.best_line})"
    if figures.rerun_gain is not None:
        gain += f"; {_number(figures.rerun_gain)} with re-runs in place of the runs they repeat"
    if run.commits_joined:
        gain += f"; {run.commits_joined} rows joined to their commits"
    metric = f"{run.metric or 'unnamed'} (by {run.metric_from}), {run.direction} is better"
    return [("metric", f"{metric} (by {run.direction_from})"), ("gain", gain)]


def _metric_line(m: MetricTotals) -> str:
    gains = f"claimed gain median {_number(m.claimed_gain_median)}, best {_number(m.claimed_gain_best)}"
    return f"{m.direction} is better, {many(m.runs, 'run')}, {gains}"


def _keep_line(item: ImportSummary) -> str:
    if item.keep_rate is None:
        return "unknown: no log says what was kept"
    quarters = " ".join(_percent(quarter.keep_rate) for quarter in item.keep_rate_by_quarter)
    return f"{_percent(item.keep_rate)}; first to last quarter {quarters}"


def _noise_line(item: ImportSummary, runs: Sequence[RunOfLog]) -> str:
    noise = item.noise
    kept = f"{noise.kept_by_chance:.1f}"
    here = "kept here" if item.kept else "new bests here"
    chance = f"by luck alone {kept} would be kept; {here}: {noise.steps}"
    if len(runs) == 1:
        figures = runs[0].figures
        if figures.noise.sd is None:
            return f"unknown ({figures.noise.source}; set it with --noise SD); {chance}"
        share = (
            "" if figures.noise_share is None else f", which alone yields {_percent(figures.noise_share)} of the claim"
        )
        return (
            f"SD {figures.noise.sd:.3g} (from {figures.noise.source}): {figures.noise_steps} of {noise.steps} "
            f"kept steps may be noise; {chance}{share}"
        )
    known = f"known in {noise.runs_known} of {len(runs)} runs"
    if noise.runs_known:
        known += f", explains {noise.kept_steps_explained} of their {noise.steps_where_known} kept steps"
    return f"{known}; {chance}"


def _notes(out: Output, done: Imported) -> None:
    """On stderr: the lines set aside, and where to look."""
    folder = resolve.shown(done.folder)
    for aside in done.asides[:SHOWN_LINES]:
        out.note(f"{aside['path']}:{aside['line']}: set aside: {aside['reason']}")
    if done.asides:
        out.note(f"all lines set aside: metaloop sql {folder} 'FROM quarantine'")
    out.note(f"metrics are copied from the logs, nothing was run again; next: metaloop log {folder}")


def _left_out(out: Output, done: Imported) -> None:
    """Names the files that were left out, with the reasons."""
    left = [log for log in done.logs if log.state in ("refused", "unsure")]
    for log in left[:SHOWN_LOGS]:
        out.warn(f"{log.path}: left out: {log.reason}")
    if not left:
        return
    folder = resolve.shown(done.folder)
    out.warn(
        f"{len(left)} of {many(len({log.path for log in done.logs}), 'log')} left out; all of them: "
        f"metaloop sql {folder} \"SELECT path, reason FROM imports WHERE state IN ('refused', 'unsure')\""
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}%"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:+.4g}" if value else "0"
