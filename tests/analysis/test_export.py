"""Exports are read back by other tools with nothing lost."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import duckdb
import pytest

from analysis.export import Format, write
from analysis.study import VIEWS, open_study, query
from programs.common.errors import EnvironmentProblem, UsageError
from programs.common.text import no_formula


@pytest.mark.parametrize("to", ["tsv", "csv", "parquet", "jsonl"])
def test_every_view_in_every_format(small_study: Path, tmp_path: Path, to: Format) -> None:
    with open_study(small_study) as con:
        written = {view: write(con, view, tmp_path / "out" / f"{view}.{to}", to) for view in VIEWS}
    path = written["experiments"]
    truth = query(small_study, "SELECT * FROM experiments")
    if to in ("tsv", "csv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t" if to == "tsv" else ","))
        assert [row["diff"] for row in rows] == [no_formula(str(row["diff"] or "")) for row in truth]
        assert json.loads(rows[1]["edit"]) == truth[1]["edit"] and json.loads(rows[1]["directive_ids"]) == []
    elif to == "jsonl":
        assert json.loads(path.read_text().splitlines()[1])["edit"] == truth[1]["edit"]
    else:
        read = duckdb.sql(f"SELECT metric FROM '{path}'").fetchall()
        assert [metric for (metric,) in read] == [row["metric"] for row in truth]


def test_a_pipe_is_written_to_and_stays(small_study: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    with open_study(small_study, views=["runs"]) as con:
        write(con, "runs", tmp_path / "pipe", "csv")
    told, _ = reader.communicate(timeout=200)
    assert told.startswith(b"run_id,") and (tmp_path / "pipe").is_fifo()


def test_bad_exports_are_one_line(small_study: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_study(small_study, views=()) as con:
        with pytest.raises(UsageError, match="unknown format 'xls'"):
            write(con, "runs", tmp_path / "out", "xls")  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="no view 'runz'"):
            write(con, "runz", tmp_path / "out", "csv")
        with pytest.raises(EnvironmentProblem, match="file"):
            write(con, "runs", tmp_path / "file" / "out", "csv")
