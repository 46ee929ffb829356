"""``metaloop log``: the experiments of a study, one line each."""

from __future__ import annotations

from typing import Annotated, Any

import click

from analysis.wording import plain_number
from meta.cli import resolve, trust
from meta.cli.flags import AnyStudy
from meta.cli.options import duration, flag, verb
from meta.cli.output import Column, Output
from programs.errors import NotFound

COLUMNS = (
    Column("started_at", "at", show=lambda at: str(at)[11:19], style="dim", optional=True),
    Column("experiment_id", "exp", show=resolve.short),
    Column("program", flex=True, style="bold"),
    Column("run_id", "run", show=lambda i: resolve.short(i, 5)),
    Column("number", "#", right=True),
    Column("status", person=False),
    Column("decision", "did"),
    Column("metric", right=True, show=lambda v: plain_number(v, 4)),
    Column("gain", right=True, show=lambda v: plain_number(v, 4, sign=True)),
    Column("device_seconds_charged", "cost", right=True, show=duration, optional=True),
    Column("fraction", person=False),
    Column("seed", person=False),
    Column("description", flex=True),
    Column("reason", person=False),
    Column("trust", person=False),
)
QUERY = """
SELECT * FROM (
    SELECT e.started_at, e.experiment_id, coalesce(p.name, i.name) AS program, e.run_id, e.number, e.status, e.decision,
        e.metric, e.gain, e.device_seconds_charged, e.fraction, e.seed, e.description, e.reason, e.trust, e.program_id,
        e.match_id, e.edit, e.directive_ids, e.cached
    FROM experiments AS e LEFT JOIN programs AS p USING (program_id)
        LEFT JOIN (SELECT run_id, any_value(name) AS name FROM imports GROUP BY run_id) AS i ON i.run_id = e.run_id
    WHERE ($1 IS NULL OR starts_with(e.run_id, $1))
        AND ($2 IS NULL OR starts_with(e.program_id, $2) OR p.name = $2 OR i.name = $2)
        AND ($3 IS NULL OR e.decision = $3) AND ($4 IS NULL OR e.status = $4)
    ORDER BY e.started_at DESC NULLS LAST, e.run_id, e.number DESC LIMIT $5)
ORDER BY started_at, run_id, number
"""
RUNS = "SELECT count(*) AS n FROM runs WHERE starts_with(run_id, $1)"
PROGRAMS = """
SELECT count(*) AS n FROM (
    SELECT program_id, name FROM programs UNION ALL SELECT program_id, NULL FROM experiments
    UNION ALL SELECT NULL, name FROM imports)
WHERE starts_with(program_id, $1) OR name = $1
"""
DECISIONS = ("baseline", "keep", "discard", "screen", "replicate", "confirm")
STATUSES = ("ok", "crash", "timeout", "oom", "invalid", "fault")
EVERYTHING = 2**62


@verb(
    ("metaloop log studies/NAME", "the last 20 experiments"),
    ("metaloop log studies/NAME --run r3f --all", "one run from its beginning"),
    ("metaloop log studies/NAME --decision keep --all --json", "every kept edit"),
)
def log(
    out: Output,
    study: AnyStudy,
    run: Annotated[str | None, flag("Only this run.", metavar="ID")],
    program: Annotated[str | None, flag("Only runs of this program.", metavar="ID|NAME")],
    decision: Annotated[str | None, flag("Only experiments with this decision.", type=click.Choice(DECISIONS))],
    status: Annotated[str | None, flag("Only experiments with this status.", type=click.Choice(STATUSES))],
    limit: Annotated[int, flag("Number of experiments, the latest ones.", min=1, default=20)],
    all: Annotated[bool, flag("No limit.")],
) -> None:
    """List the experiments of a study in chronological order: the latest, or all."""
    folder = resolve.study_folder(study, out)
    with resolve.connect(folder, []) as con:
        rows = resolve.fetch(con, QUERY, [run, program, decision, status, EVERYTHING if all else limit])
        for what, named, query in (("run", run, RUNS), ("program", program, PROGRAMS)):
            if named and not rows and not resolve.fetch(con, query, [named])[0]["n"]:
                raise NotFound(f"no {what} {named!r}", hint=f"metaloop sql {resolve.typed(folder)} 'FROM {what}s'")
        (total,) = resolve.fetch(con, "SELECT count(*) AS n FROM experiments")
        said = trust.lines(con, resolve.shown(folder), "SELECT DISTINCT trust FROM experiments", trust.COUNTS)
    for row in rows:
        row["decision"] = row["decision"] if row["status"] == "ok" or out.mode != "person" else row["status"]
    if out.mode == "person":
        rows = [row | {"gain": coloured(row["gain"])} for row in rows]
    out.rows(rows, COLUMNS, empty="no matching experiments", extra={"study": str(folder)})
    for line in said:
        out.note(line)
    if len(rows) == limit and not all:
        quoted = resolve.typed(folder)
        out.note(f"the last {limit} of {total['n']}; --all shows all; details: metaloop show ID -s {quoted}")


def coloured(gain: float | None) -> Any:
    """A gain for the terminal: green above 0, red below."""
    from rich.text import Text

    return Text(plain_number(gain, 4, sign=True), "" if not gain else "green" if gain > 0 else "red")
