"""``metaloop surrogate``: can a program's gain be foretold from what it says? On programs that were held out."""

from __future__ import annotations

from dataclasses import asdict

from meta.cli import resolve
from meta.cli.flags import AnyStudy
from meta.cli.options import verb
from meta.cli.output import Column, Output, Row
from programs.errors import NotFound

COLUMNS = [
    Column("name", "program"),
    Column("program_id", "id"),
    Column("predicted", "predicted"),
    Column("gain", "measured"),
]


@verb(
    ("metaloop surrogate studies/NAME", "predicted beside measured, held-out programs only"),
    ("metaloop surrogate studies/NAME --json", "with the rank correlation and its interval"),
)
def surrogate(out: Output, study: AnyStudy) -> None:
    """Fit a small model to the programs of a study, their charters and directives, and
    tell how well it ranks programs that it was not fitted to."""
    from analysis.surrogate import known_programs, skill

    folder = resolve.study_folder(study, out)
    found: list[Row] = []
    with resolve.connect(folder, []) as con:
        tasks = [row["task"] for row in resolve.fetch(con, "SELECT DISTINCT task FROM matches ORDER BY task")]
        for task in tasks:
            told, held = skill(task, known_programs(con, task))
            rows = [asdict(one) for one in sorted(held, key=lambda h: -h.predicted)]
            found.append({**asdict(told), "beats_chance": told.beats_chance, "programs_held_out": rows})
    if not found:
        raise NotFound(f"{resolve.shown(folder)}: no program has run", hint="metaloop status tells how far it is")
    if out.mode == "json":
        out.json({"study": str(folder), "tasks": found})
        return
    for shown in found:
        out.rows(shown["programs_held_out"], COLUMNS)
        out.note(sentence(shown))


def sentence(told: Row) -> str:
    """The verdict as one line."""
    about = f"{told['task']}: {told['programs']} programs, {told['held_out']} held out one by one ({told['parts']})"
    if told["correlation"] is None:
        return f"{about}; too few programs, or too much alike, to tell whether gains can be foretold"
    verdict = "beats chance" if told["beats_chance"] else "is not shown to beat chance"
    figures = f"{told['correlation']:.2f}, 95% {told['low']:.2f} to {told['high']:.2f}"
    return f"{about}; rank correlation {figures}: the surrogate {verdict}"
