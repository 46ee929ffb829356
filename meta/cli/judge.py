"""``metaloop judge``: which gains of a log are real, and whether to keep the last change. It writes nothing."""

from __future__ import annotations

import gc
import sys
from dataclasses import asdict
from pathlib import Path
from threading import Timer
from typing import Annotated, Any

import click

import analysis
from analysis.imports.columns import Stated
from analysis.imports.runs import ImportedRun, runs_of
from analysis.imports.table import MOST_BYTES, UnreadableLog, decoded, log_of_text, read_bytes
from analysis.verdict.gate import DISCARD, KEEP, decide_last
from analysis.verdict.log_figures import LogFigures, figures_of
from analysis.wording import brief, count, estimate, many, plain_text
from meta.cli.commands import verb
from meta.cli.log_flags import LogFlags
from meta.cli.options import argument, flag
from meta.cli.output import Output
from programs.common.errors import UsageError
from programs.common.templates import jinja_environment

SHOWN, NOT_SHOWN, OPEN = 0, 10, 11  # exit codes: also of keep, of discard, and of undecided
STDIN, MOST_WAIT = "-", 1.5  # seconds without a note
MOST_BLOCKS, MOST_LINES = 2, 11


@verb(
    ("metaloop judge results.tsv", "which gains are real, and what to run next"),
    ("metaloop judge results.tsv --rows 1000", "the metric is a share of 1,000 rows"),
    ("metaloop judge results.tsv --last", "keep the last change? exit code 0: keep"),
)
def judge(
    out: Output,
    logs: Annotated[tuple[str, ...], argument(nargs=-1, required=True, metavar="LOG...")],
    flags: LogFlags,
    last: Annotated[bool, flag("Decide on the last row: keep, discard or undecided.")],
) -> int:
    """Judge logs of experiments: which kept changes are distinguishable from noise, what
    luck alone would give, the gain of the best one with its interval, and what to run
    next. Reads what `metaloop import` reads, or standard input (-), and writes nothing.
    Exit codes: 0 a gain is real, or keep; 10 none is, or discard; 11 the
    noise is unknown, or undecided; 2 a log that cannot be read."""
    if last and len(logs) > 1:
        raise UsageError("--last decides on one log", hint="metaloop judge LOG --last")
    runs, problems = list[tuple[str, ImportedRun]](), list[UsageError]()
    gc.disable()  # a quarter of the time of a large log; the rows stay until the end
    try:
        for log in logs:
            try:
                runs += [(log, run) for run in _runs_of(log, flags.stated(), last)]
            except UnreadableLog as problem:
                problems.append(UsageError(f"{log}: {problem}", hint=problem.hint))
    finally:
        gc.enable()
    if problems and not runs:
        raise problems[0]
    code = _decide(out, *max(runs, key=lambda pair: _last_line(pair[1]))) if last else _print(out, runs)
    for refused in problems:
        out.warn(f"{refused.message}; {refused.hint}" if refused.hint else refused.message)
    return UsageError.exit_code if problems else code


def _decide(out: Output, path: str, run: ImportedRun) -> int:
    decision = decide_last(run)
    names = {"found": decision, "many": many, "brief": brief}
    out.text(_template("decision.txt.j2", **names), item={"log": path, **asdict(decision)})
    return {KEEP: SHOWN, DISCARD: NOT_SHOWN}.get(decision.decision, OPEN)


def _print(out: Output, runs: list[tuple[str, ImportedRun]]) -> int:
    figures = [(path, figures_of(run)) for path, run in runs]
    labelled = [
        asdict(figures_of_log) | {"label": _label(path, figures_of_log, len(runs))} for path, figures_of_log in figures
    ]
    is_short = len(labelled) > MOST_BLOCKS
    lines = labelled[:MOST_LINES]
    width = max(10, *(len(item["label"]) for item in lines))
    text = _template(
        "judge.txt.j2", logs=lines, short=is_short, width=width, more=len(labelled) - len(lines),
        many=many, count=count, brief=brief, estimate=lambda value, low, high: estimate(value, low, high, signed=False),
    )  # fmt: skip
    out.text(text, item={"items": [{"log": path, **asdict(figures_of_log)} for path, figures_of_log in figures]})
    if any(figures_of_log.shown_lines or (figures_of_log.low or 0.0) > 0.0 for _, figures_of_log in figures):
        return SHOWN
    return OPEN if any(figures_of_log.shown_lines is None for _, figures_of_log in figures) else NOT_SHOWN


def _label(path: str, found: LogFigures, runs: int) -> str:
    name = "standard input" if path == STDIN else Path(path).name
    return f"{name}: {found.name}" if found.name and runs > 1 else name


def _template(name: str, **names: Any) -> str:
    environment = jinja_environment(Path(analysis.__file__).parent / "templates", shown=None)
    return plain_text(environment.get_template(name).render(**names))


def _runs_of(log: str, stated: Stated, last: bool) -> list[ImportedRun]:
    """The runs of a log. With ``last``, a last line that is no whole row is refused: it may be still being written."""
    text = decoded(_standard_input() if log == STDIN else read_bytes(Path(log).expanduser()))
    if not text.strip():
        raise UnreadableLog("an empty log")
    content = log_of_text(text)
    runs = runs_of(content, stated)
    aside = max(content.asides, key=lambda aside: aside.line, default=None)
    if last and aside and aside.line > max(map(_last_line, runs)):
        raise UnreadableLog(f"line {aside.line}, the last one, is no whole row: {aside.reason}")
    if last and not text.endswith("\n"):
        raise UnreadableLog("the last line does not end, so it may be half-written", "end it with a newline")
    return runs


def _last_line(run: ImportedRun) -> int:
    return max(row.line for row in run.rows)


def _standard_input() -> bytes:
    waits = Timer(MOST_WAIT, lambda: click.echo("waiting for the end of standard input", err=True))
    waits.daemon = True
    waits.start()
    try:
        data = sys.stdin.buffer.read(MOST_BYTES + 1)
    finally:
        waits.cancel()
    if len(data) > MOST_BYTES:
        raise UnreadableLog(f"larger than {MOST_BYTES:,} bytes")
    return data
