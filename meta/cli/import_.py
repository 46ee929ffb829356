"""``metaloop import``: import the logs of other loops as a study, with a summary."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

from analysis.imports.study import import_logs
from analysis.report.page import HOME
from analysis.wording import many
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.log_flags import LogFlags
from meta.cli.options import argument, flag, rare
from meta.cli.output import Output
from programs.common.templates import jinja_environment
from programs.common.text import one_line, shortened

FAR = 20.0  # times the median deviation from the median, of what measures one script again
SHOWN = 10  # runs, refused logs and reasons for lines set aside
ASIDES = """
SELECT path, reason, min(line) AS line, count(*) AS lines FROM quarantine
GROUP BY path, reason ORDER BY lines DESC, path, line
"""

ROWS = """
SELECT run_id, line, again, experiments.metric, left(description, 50) AS description, step_p < 0.05 AS is_shown
FROM import_rows JOIN experiments USING (run_id, experiment_id) ORDER BY line
"""


@verb(
    ("metaloop import results.tsv", "the log of one overnight run"),
    ("metaloop import runs/ -s studies/old", "every file below it named like results, log or history"),
    ("metaloop import results.tsv --metric acc --direction higher --rows 1000", "state what the log omits"),
)
def import_(
    out: Output,
    paths: Annotated[tuple[str, ...], argument(nargs=-1, required=True, metavar="PATH...")],
    study: Annotated[str | None, flag("The new study's folder  [default: studies/import-...].", "-s", metavar="DIR")],
    flags: LogFlags,
    repository: Annotated[str | None, rare("The git repository of the logs' commits  [default: the one they lie in].")],
) -> int:
    """Import logs as a study: results.tsv files, CSV, markdown tables and JSON lines of loops such
    as autoresearch, or folders of them. Prints how many of the kept experiments are
    distinguishable from noise, and runs nothing. What a log leaves open, such as which column is
    the metric, is an error that names the flag. With several logs, those are left out, with the
    reason, and the others are imported."""
    folder = Path(study).expanduser() if study else resolve.unused_folder(f"import-{_stem(paths[0])}")
    logs = [Path(path).expanduser() for path in paths]
    origin = Path(repository).absolute() if repository else None
    import_logs(logs, folder, flags.stated(), origin)
    name = resolve.typed(folder)
    out.note(f"study: {name}")
    with resolve.connect(folder, []) as con:
        items, asides, tries = (resolve.fetch(con, query) for query in ("FROM imports", ASIDES, ROWS))
    runs = [item | _summary(tries, item["run_id"]) for item in items if item["run_id"]]
    template = jinja_environment(HOME / "templates").get_template("import.txt.j2")
    text = template.render(runs=runs[:SHOWN], more=len(runs[SHOWN:]), asides=asides[:SHOWN], many=many, study=name)
    out.text(text, item={"study": str(folder), "items": items, "set_aside": asides})
    for item in [item for item in items if item["state"] == "refused"][:SHOWN]:
        out.warn(f"{item['path']}: left out: {item['reason']}")
    out.note(f"nothing was run again; every row: metaloop sql {name} 'FROM import_rows'")
    if joined := next((run for run in runs if run["commits_joined"]), None):
        out.note(f"train its kept changes again: metaloop ablate {joined['run_id']} -s {name} -t REPO")
    return 0


def _summary(rows: Sequence[Mapping[str, Any]], run_id: str) -> dict[str, list[str]]:
    """The rows of a run that are distinguishable from noise, and those that were measured again, as they are shown."""
    lines, repeats = [], defaultdict[int, list[Mapping[str, Any]]](list)
    for row in rows:
        if row["run_id"] == run_id and row["is_shown"]:
            lines.append(f"line {row['line']} ({one_line(row['description'] or '')})")
        if row["run_id"] == run_id and row["again"] is not None and row["metric"] is not None:
            repeats[row["again"]].append(row)
    repeated_lines = []
    for line, repeated in repeats.items():
        middle = median(row["metric"] for row in repeated)
        near = FAR * median(abs(row["metric"] - middle) for row in repeated)
        far = [row for row in repeated if abs(row["metric"] - middle) > near > 0.0]
        text = f"line {line} in {shortened(', '.join(str(row['line']) for row in repeated), 60)}"
        if far:
            text += f" (far from the others: line {far[0]['line']}, {far[0]['metric']:g})"
        repeated_lines.append(text)
    more = [f"and {len(repeated_lines) - SHOWN} more"] if len(repeated_lines) > SHOWN else []
    return {"shown": lines[:SHOWN], "again": repeated_lines[:SHOWN] + more}


def _stem(path: str) -> str:
    """A short name of the import, for the study's folder."""
    absolute = Path(path).expanduser().absolute()
    name = absolute.parent.name if absolute.suffix and absolute.stem.lower() == "results" else absolute.stem
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip("-.")[:40] or "logs"
