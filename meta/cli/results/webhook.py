"""The end of a command with ``--webhook``: the rows of its result as JSON. ``evolve`` sends its verdict instead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis.wording import listed, significant
from meta.cli import resolve
from meta.cli.output import Output

STANDINGS = (
    "SELECT name, role, task, purpose, n, gain, low, high, rank_low, rank_high FROM standings "
    "WHERE list_contains(?, match_id) ORDER BY task, rank_low, gain DESC"
)
EFFECTS = "SELECT label, method, estimate, low, high, n, q, unit FROM credit WHERE match_id = ? OR run_id = ?"


def send_rows(
    out: Output, url: str | None, command: str, folder: Path, query: str, parameters: Sequence[Any] = ()
) -> None:
    """Send the rows of a query on the study; nothing without an address. A failure is a note: the result is safe."""
    if url is None:
        return
    from meta.results.notify import send

    rows = resolve.ask(folder, query, parameters, ["credit" if query is EFFECTS else "standings"])
    several = len({row.get("task") for row in rows}) > 1
    shown = [
        f"{row.get('name') or row.get('label')} {significant(row.get('gain', row.get('estimate')))}"
        f"{' on ' + row['task'] if several else ''}"
        for row in rows
    ]
    name = folder.resolve().name
    text = f"metaloop {command} of {name} has ended{': ' if shown else ''}{listed(shown)}"
    out.note(send(url, {"text": text, "command": command, "study": name, "rows": rows}))
