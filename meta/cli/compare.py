"""``metaloop compare``: two studies side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from analysis.decision_text import sentences_of
from meta.cli import resolve
from meta.cli.board import load_board
from meta.cli.compared_settings import settings
from meta.cli.comparison import champions, shown_matches, texts, verdict
from meta.cli.gain_difference import ComparedStudy
from meta.cli.options import argument, flag, verb
from meta.cli.output import Column, Output, Row

if TYPE_CHECKING:
    from meta.cli.compared_settings import ComparedSetting
    from meta.cli.comparison import ChampionTexts, ComparedChampions

TABLE = (
    *(Column(key, wrap=True, optional=key == "task") for key in ("task", "compared", "first", "second")),
    Column("difference", wrap=True),
    Column("runs", right=True),
    Column("result", wrap=True),
)
SETTINGS = (Column("setting", style="bold", wrap=True), Column("first", wrap=True), Column("second", wrap=True))
ARMS = (
    *(Column(key, person=False) for key in ("match", "decides")),
    Column("program", flex=True, style="bold"),
    Column("gain", right=True, style="green", show="{:.3f}".format),
    *(Column(key, right=True, show="{:.3f}".format) for key in ("low", "high")),
    Column("runs", right=True),
    Column("kept/tried", right=True),
)
DIFFERENCES = tuple(
    map(Column, ("task", "first", "second", "difference", "low", "high", "unit", "runs", "result", "stream"))
)


@verb(
    ("metaloop compare studies/a studies/b", "do their champions differ, and what was set differently"),
    ("metaloop compare studies/a studies/b --all", "the equal settings too"),
)
def compare(
    out: Output,
    first: Annotated[str, argument(metavar="STUDY")],
    second: Annotated[str, argument(metavar="STUDY")],
    all: Annotated[bool, flag("Also show the settings that are equal.")],
) -> None:
    """Compare two studies. Prints these differences, with 95% intervals: between the
    champions' verified gains; between the champions' leads over stock, and over the
    programs they started from; and between the gains of each program that ran in both
    studies (in the confirmations, else in the searches). Both studies need the same task,
    run budget, unit, researcher and hardware. Also prints the best programs of each study,
    the changes from one champion to the other, the matches that decide the verdicts, the
    matches on held-out tasks, and the settings that differ."""
    folders = [resolve.study_folder(text, out) for text in (first, second)]
    studies = [ComparedStudy(resolve.shown(folder), load_board(folder)[0]) for folder in folders]
    known = champions(*studies), texts(*(study.board for study in studies))
    rows = [row for row in settings([study.board for study in studies]) if row.differs or all]
    if out.mode == "json":
        out.json(_whole(studies, *known, rows))
        return
    diff = f"metaloop program diff {' '.join(resolve.typed(folder / 'champion.md') for folder in folders)}"
    if out.mode == "person":
        _show(out, studies, *known)
    else:
        _print(out, studies, *known, diff)
        out.text("\nsettings:")
    out.rows([_setting(row) for row in rows], SETTINGS, empty="no setting differs that can change a result")
    if out.mode == "person" and known[1] and known[1].lines and not known[1].short:
        out.next(diff)


def _setting(row: ComparedSetting) -> Row:
    return {"setting": row.name, "first": row.values[0], "second": row.values[1]}


def _whole(
    studies: list[ComparedStudy],
    differs: ComparedChampions,
    changed: ChampionTexts | None,
    rows: list[ComparedSetting],
) -> Row:
    return {
        "studies": [
            {"study": s.name, "verdict": verdict(s.board), "matches": [asdict(m) for m in shown_matches(s.board)]}
            for s in studies
        ],
        "champions": [{**asdict(each), "result": each.result} for each in differs.differences],
        "leads": [{**asdict(each), "result": each.result} for each in differs.leads],
        "stock": [{**asdict(each), "result": each.result} for each in differs.same if each.is_stock],
        "same_programs": [{**asdict(each), "result": each.result} for each in differs.same],
        "best": [{**asdict(each), "sentence": each.sentence} for each in differs.best],
        "shares": [{**asdict(each), "result": each.result} for each in differs.shares],
        "answer": differs.answer,
        "not_compared": list(differs.not_compared),
        "limits": differs.limits,
        "caveats": differs.caveats,
        "same_program": list(differs.names),
        "text": asdict(changed) if changed else None,
        "settings": [_setting(row) for row in rows],
    }


def _show(
    out: Output,
    studies: list[ComparedStudy],
    differs: ComparedChampions,
    changed: ChampionTexts | None,
) -> None:
    """At a terminal: the answer, its tables and limits, then each study, then (by the caller) the settings."""
    from rich.text import Text

    for text in differs.answer:
        out.show(Text(text, style="bold"))
    for rows in (differs.rows, differs.best_rows):
        if rows:
            out.text("")
            out.rows(rows, [column for column in TABLE if any(row.get(column.key) for row in rows)])
    out.text("")
    for text in differs.limits:
        out.show(Text(text))
    if changed:
        out.show(Text(changed.sentence))
        for line in (*(f"moved: {one}" for one in changed.moved), *changed.short):
            out.text(f"  {line}")
    for study in studies:
        out.show(Text(f"\n{study.name}", style="bold"))
        names = [str(program.get("name") or "") for program in study.board.programs.values()]
        out.show(Text(sentences_of(verdict(study.board), names)[0] + "."))
        for match in shown_matches(study.board):
            out.show(Text(match.title, style="bold"))
            out.rows(match.arms, ARMS)
    out.show(Text("\nsettings", style="bold"))


def _print(
    out: Output,
    studies: list[ComparedStudy],
    differs: ComparedChampions,
    changed: ChampionTexts | None,
    diff: str,
) -> None:
    """The same, piped."""
    for text in differs.answer:
        out.thing({"answer": text})
    rows = [{**asdict(each), "result": each.result} for each in differs.all]
    if rows:
        out.rows([{**row, "runs": "{}/{}".format(*row["runs"])} for row in rows], DIFFERENCES)
    for best in differs.best:
        out.thing({"best": best.sentence})
    for text in differs.limits:
        out.thing({"limit": text})
    if changed:
        out.thing({"lines added": changed.added, "lines removed": changed.removed, "all changes": diff})
        lines = [{"change": "moved", "line": one} for one in changed.moved]
        lines += [{"change": line[0], "line": line[2:]} for line in changed.short]
        if lines:
            out.rows(lines, (Column("change"), Column("line")))
    for study in studies:
        out.text("")
        out.thing({"study": study.name, "verdict": verdict(study.board)})
        out.rows([arm for match in shown_matches(study.board) for arm in match.arms], ARMS)
