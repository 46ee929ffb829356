"""The parts of the command line by themselves: durations, pictures in text, tables, ids, the tree."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.wording import decimals, duration, number, plain_text
from meta.cli import errors, resolve
from meta.cli.driver import show_cost, so_far
from meta.cli.new_study import wall
from meta.cli.options import parse_duration
from meta.cli.output import Output, ask, clean, jsonable
from meta.cli.progress import line_of
from meta.kinds.contract import named_kind
from meta.kinds.cost import Cost, Work
from programs.common.errors import CapReached, NotFound, UsageError
from tests.studies import planted
from trainer.task import Task

from .cli_study import write_study


def test_durations_are_read_and_written() -> None:
    for text, seconds in (
        ("90", 90), ("90s", 90), ("20m", 1200), ("8h", 28800), ("1h30m", 5400), ("1.5h", 5400), (" 2 H ", 7200),
        ("1d", 86400), (".5s", 0.5),
    ):  # fmt: skip
        assert parse_duration(text) == seconds
    written = [duration(seconds) for seconds in (0.152, 12.34, 250, 7500, None)]
    assert written == ["0.15 s", "12 s", "4 min 10 s", "2 h 05 min", "–"]
    assert [parse_duration(text) for text in written[:-1]] == [0.15, 12, 250, 7500]


@pytest.mark.parametrize("text", ["", "20x", "-5", "0", "nan", "1h 2q", "1,5h", "1e10"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|above 0 and below"):
        parse_duration(text)


def test_numbers_get_the_precision_of_their_error() -> None:
    assert [decimals(error) for error in (0.0029, 2.9, 290.0, None, 0.0)] == [4, 1, 0, 3, 3]
    assert (number(0.5, 2, sign=True), plain_text(number(math.nan))) == ("+0.50", "-")


def test_text_of_others_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[31mred\x1b[0m\x1b]0;title\x07b\tc\nd\x9be") == "aredb c d e"
    assert clean("two\nlines", keep="\n") == "two\nlines"


def test_json_holds_what_json_can_hold() -> None:
    value = {"a": math.nan, "b": np.float64(1.5), "c": np.array([1, 2]), "d": Path("x"), "e": (1, None)}
    assert jsonable(value) == {"a": None, "b": 1.5, "c": [1, 2], "d": "x", "e": [1, None]}
    assert jsonable(datetime(2030, 1, 2, tzinfo=UTC)) == "2030-01-02T00:00:00Z"


def test_errors_have_the_kind_and_exit_code_of_the_contract() -> None:
    assert errors.classify(UsageError("x")).exit_code == 2
    assert errors.classify(CapReached("x")).exit_code == 3
    assert errors.classify(FileNotFoundError(2, "No such file", "a")).kind == "not_found"
    full = errors.classify(OSError(28, "No space left on device", "b"))
    assert (full.kind, full.exit_code, full.message) == ("environment", 1, "b: No space left on device")
    assert errors.classify(KeyError("k")).kind == "internal"
    assert errors.lines(errors.classify(UsageError("two\nlines"))) == ["error: two lines"]


def test_a_drained_study_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from arena.study.stop import Drained

    problem = errors.classify(Drained("stopped on request", hint="metaloop resume x"))
    assert problem.exit_code == errors.DRAINED == 130
    monkeypatch.setattr("meta.cli.errors.wrapped", lambda text: text.replace(" ", "\n"))  # as at a narrow terminal
    errors.report(problem, as_json=False)
    said = "stopped\non\nrequest\nnext:\n  metaloop resume x\n"
    assert capsys.readouterr().err == said, "only the command stays one line"
    assert errors.lines(problem)[0].startswith("stopped")


def test_studies_are_found_by_name_prefix_or_as_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = Output(person=False)
    with pytest.raises(NotFound):
        resolve.study_folder(None, out)
    write_study(Path("studies/first"))
    for name in (None, "fi", "studies/first"):
        assert resolve.study_folder(name, out) == Path("studies/first")
    assert resolve.unused_folder("strokes").name.endswith("-1")
    with pytest.raises(NotFound) as refused:
        resolve.study_folder("firs-t", out)
    assert refused.value.hint == "did you mean studies/first?"


def test_lines_of_the_log() -> None:
    counts = {"kept": 2, "experiments": 12, "repeats": 1}  # one of them is the baseline
    event = {"kind": "run_ended", "run_id": "r12345678", "program": "local", "gain": 0.5, "run": counts}
    assert line_of(event) == "run r123456 local: kept 2 of 10 experiments, verified gain +0.5000"
    assert line_of(event | {"trust": "self-reported"}).endswith("retrained gain +0.5000")
    same = event | {"gain": -0.0008, "run": counts | {"kept": 0}}  # its seeds are not those of the baseline
    assert line_of(same) == "run r123456 local: kept 0 of 10 experiments, its train.py is the untouched script"
    assert line_of({"kind": "note", "text": "a\x1b[0mb"}) == "ab"
    assert line_of({"kind": "experiment"}) == ""


def test_a_dry_run_shows_the_runs_on_each_task_and_what_is_known(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    works = [Work("theirs", "", 90, 16, 0.5, 60.0), Work("far", "held out", 10, 16, 1.0, 20.0)]
    cost = Cost.of(Task.load("strokes"), works, 2, 1, True, stages=[{"stage": "confirmation", "runs": "10"}])
    assert so_far(write_study(tmp_path / "s"), named_kind("match"), cost).wall_seconds == pytest.approx(
        49.8, abs=0.05
    )  # 11 of 100 runs have ended
    assert Cost.of(planted(tmp_path / "law"), works, 2, 1, True).wall_seconds == 5.8  # nothing is trained
    factors = [{"directive_id": "d1", "text": "Keep it."}]
    cost = cost.with_facts(power="0.69 SD", knowledge="").with_details(factors=factors)
    show_cost(Output(person=False), cost)
    shown = capsys.readouterr().out
    assert "theirs\t\t90\t16\t0.5\t60.0\nfar\theld out\t10" in shown and "d1\tKeep it." in shown
    show_cost(Output(person=True), cost)
    shown = " ".join(capsys.readouterr().out.split())
    assert all(part in shown for part in ("56 s with 2 workers", "0.69 SD", "confirmation 10"))
    assert "knowledge" not in shown
    assert wall(cost.with_details(researcher="chat")).endswith(", plus the time of models and agents")
    show_cost(Output(as_json=True), cost)
    told = json.loads(capsys.readouterr().out)
    totals = {"runs": 100, "experiments": 1600, "device_seconds": 80.0, "charged_seconds": 55.0, "task": "theirs"}
    assert totals.items() <= told.items()
    assert told["factors"] == factors and len(told["works"]) == 2


def test_question_needs_a_terminal_to_read_and_one_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UsageError, match="no terminal to ask"):
        ask("Go on?", "no terminal to ask", "-y goes on")
    asked: list[str] = []
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("meta.cli.output.click.confirm", lambda question, **_: asked.append(question))
    monkeypatch.setenv("COLUMNS", "40")
    ask("Close it before its time? Then no more entries are accepted.", "no terminal to ask", "-y goes on")
    assert asked == ["Close it before its time? Then no more\nentries are accepted. [y/N]"]
