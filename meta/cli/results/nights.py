"""Tables of nights: what each program did on `main`, and what several nights together show of two programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.wording import listed
from meta.cli import resolve, views
from meta.cli.output import Output, Row
from programs.errors import UsageError

if TYPE_CHECKING:
    from arena.settings import StudyConfig


def is_night(folder: Path) -> bool:
    from arena.settings import StudyConfig

    path = folder / resolve.MARK
    return path.is_file() and bool(StudyConfig.read(path).plan.get("night"))


def show_turns(out: Output, folders: Sequence[Path], shows: Row | None = None) -> None:
    """What each program did in these nights, and what that ``shows``; nothing for other studies."""
    how, rows = views.view("turns"), []
    for folder in folders:
        with resolve.connect(folder, ["contributions"]) as con:
            rows += [{"night": resolve.shown(folder), **row} for row in how.rows(con)]
    if rows:
        views.show(out, rows, how, extra=shows)
    if shows and out.mode != "json":
        out.thing(shows)


def together(out: Output, folders: Sequence[Path]) -> None:
    """The one test over several nights of the same two programs. Raises UsageError where they have not two in common.

    Nights on other tasks or from the untouched script add to the evidence; those of one lineage hardly do.
    """
    from analysis.effects.contributions import block_test, seed_sd, turns_of
    from analysis.verdict.decision import LEVEL
    from arena.settings import StudyConfig
    from meta.study.plan import TURNS

    if len(set(folders)) < len(folders):
        raise UsageError("one night is named twice", hint="name each once")
    configs = {folder: StudyConfig.read(folder / "study.toml") for folder in folders}
    pairs = {tuple(config.plan.get(TURNS, ())[:2]) for config in configs.values()}
    if len(pairs) > 1 or len(next(iter(pairs))) < 2:
        shown = listed(map(resolve.shown, folders), len(folders))
        raise UsageError(f"{shown} are not nights of the same two programs", hint="name one study, or such nights")
    [(first, tested)] = pairs
    nights = []
    for folder in folders:
        with resolve.connect(folder, []) as con:
            turns = turns_of(con)
            nights.append((turns, seed_sd(con, turns[0].run_id) if turns else None))
            names = dict(con.execute("SELECT program_id, name FROM programs").fetchall())
    p, known = block_test(nights, first, tested), list(configs.values())
    lineages = len({root(config, known) for config in known})
    shows = "is shown to be better" if p < LEVEL else "is not shown to be better"
    verdict = f"{names[tested]} {shows} than {names[first]}"
    show_turns(out, folders, {"verdict": verdict, "p": p, "nights": len(nights), "lineages": lineages})


def root(config: StudyConfig, known: Sequence[StudyConfig]) -> str:
    """The id of the first of these nights from which this one goes on."""
    before = {one.study_id: one for one in known}
    while config.from_study and config.start and config.from_study.study_id in before:
        config = before[config.from_study.study_id]
    return config.study_id
