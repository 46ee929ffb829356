"""One printer for tables: what a terminal leaves out, joins and formats, and what pipes and JSON get."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import Ledger
from analysis.study import open_study
from meta.cli import views
from meta.cli.output import Column, Output
from meta.cli.views import FOLDER, View

from .cli_study import metaloop, write_study

ROWS: list[dict[str, Any]] = [
    {"title": "one", "name": "a", "gain": 0.98765, "low": 0.9, "high": 1.1, "run_id": "r123456789", "q": 1e-5,
     "x": None},
    {"title": "two", "name": "b", "gain": -0.5, "low": None, "high": None, "run_id": "r2", "q": None, "x": None},
]  # fmt: skip
HOW = View("", "What it means.", group="title", hide=("name",), optional=("q",))


def shown(
    capsys: pytest.CaptureFixture[str], how: View = HOW, rows: Sequence[dict[str, Any]] = ROWS, **kind: bool
) -> tuple[str, str]:
    views.show(Output(**({"person": True} | kind)), rows, how)
    return capsys.readouterr()


def test_terminal_joins_the_interval_and_leaves_out_empty_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, legend = shown(capsys)
    one, two = ([line.split() for line in part.splitlines() if line] for part in out.split("two"))
    assert one == [["one"], ["gain", "95%", "interval", "run", "id", "q"],
                   ["0.988", "0.900", "to", "1.100", "r123456", "<", "0.0001"]]  # fmt: skip
    assert two == [["gain", "run", "id"], ["-0.500", "r2"]]  # of the group alone
    assert legend == "What it means.\n"
    monkeypatch.setenv("COLUMNS", "36")
    assert "q" not in shown(capsys)[0].split()


def test_pipes_hide_columns_and_digits_that_json_has(capsys: pytest.CaptureFixture[str]) -> None:
    exact = [{**row, "gain": 1 / 3} for row in ROWS]
    out, legend = shown(capsys, rows=exact, person=False)
    assert out.splitlines()[:2] == [
        "gain\tlow\thigh\trun_id\tq\tx\ttitle",
        "0.333333\t0.9\t1.1\tr123456789\t1e-05\t\tone",
    ]
    assert legend == "" and json.loads(shown(capsys, rows=exact, as_json=True)[0])["items"] == exact


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.sql")), ids=lambda path: path.stem)
def test_every_view_runs_and_its_head_names_its_columns(file: Path, tmp_path: Path) -> None:
    how = views.view(file.stem)
    with open_study(write_study(tmp_path / "study")) as con:
        con.execute(how.sql, how.unset)
        named = {one[0] for one in con.description or ()}
    assert {*how.hide, *how.optional, *([how.group] if how.group else [])} <= named and how.legend


def test_a_match_with_a_champion_has_no_ranks(tmp_path: Path) -> None:
    how = views.view("standings")
    with open_study(write_study(tmp_path / "study")) as con:
        ranked = how.rows(con, [None])
        con.execute("CREATE OR REPLACE TABLE standings AS SELECT * REPLACE (CASE WHEN name = 'child' THEN 'champion' "
                    "ELSE role END AS role) FROM standings")  # fmt: skip
        decided = how.rows(con, [None])
    assert all(row["rank_low"] for row in ranked) and not any(row["rank_low"] or row["rank_high"] for row in decided)
    assert [row["gain"] for row in ranked] == sorted((row["gain"] for row in ranked), reverse=True)


@pytest.mark.parametrize(("fresh", "words"), [("nothing", "trained again on the search's data"), ("split", "x data")])
def test_match_heading_without_fresh_data_names_the_search_data(fresh: str, words: str, tmp_path: Path) -> None:
    how = views.view("standings")
    with open_study(write_study(tmp_path / "study")) as con:
        con.execute("CREATE OR REPLACE TABLE standings AS SELECT * REPLACE ('x' AS stream) FROM standings")
        con.execute(
            f'CREATE OR REPLACE TABLE champions AS SELECT \'{{"decision": {{"fresh": "{fresh}"}}}}\'::JSON AS details'
        )
        assert all(f", {words}, gain in" in row["match"] for row in how.rows(con, [None]))


def test_an_optional_column_goes_before_a_name_is_cut_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [Column("name", wrap=True), Column("value", right=True), Column("extra", optional=True)]
    rows = [{"name": "idea-queue-learnt-v4 " * 3, "value": "v" * 10, "extra": "x" * 10}]
    for width, there in ((80, True), (46, True), (40, False)):
        monkeypatch.setenv("COLUMNS", str(width))
        Output(person=True).rows(rows, columns)
        text = capsys.readouterr().out
        assert ("xxxxxxxxxx" in text) == there and "vvvvvvvvvv" in text and max(map(len, text.splitlines())) <= width
        assert text.count("idea-queue-learnt-v4") == 3


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    """Of piped output and of exported tables; numbers stay."""
    study = write_study(tmp_path / "study")
    with Ledger(study / "ledger", "later") as ledger:
        ledger.append({"kind": "program", "program_id": "p-cell", "name": "=cmd|'/c calc'!A1", "text": "x;=a, (0,-1)"})
    shown = metaloop("sql", study, "SELECT name, -1.5 AS x FROM programs WHERE program_id = 'p-cell'").stdout
    assert shown == "name\tx\n'=cmd|'/c calc'!A1\t-1.5\n"
    metaloop("export", study, "--view", "programs", "--to", "csv", "-o", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as file:
        [row] = [row for row in csv.DictReader(file) if row["program_id"] == "p-cell"]
    assert (row["name"], row["text"]) == ("'=cmd|'/c calc'!A1", "x;'=a, (0,-1)")
