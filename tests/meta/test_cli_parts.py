"""The parts of the command line by themselves: durations, pictures in text, tables, ids, the tree."""

from __future__ import annotations

import json
import math
import re
import shlex
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import numpy as np
import pytest

from analysis.transfer import Cell
from analysis.verdict.decision import ArmGain, twins
from analysis.wording import decimals, plain_number, roughly
from meta.cli import errors, render, resolve
from meta.cli.credit import title
from meta.cli.launch import dry_run, power_sentence
from meta.cli.options import duration, flag, parse_duration, verb
from meta.cli.output import Column, Output, ask, clean, fit_columns, folded, jsonable, table
from meta.cli.program import differences, show_settings, with_before
from meta.cli.progress import line_of, ticker
from meta.cli.standings import _table as table_of
from meta.cli.standings import both_arms, rank_text, show_match, unranked
from meta.cli.standings_text import leading, named, remarks
from meta.cli.transfer_table import shown_better
from programs.errors import Ambiguous, CapReached, NotFound, UsageError
from programs.program import Program
from programs.shelf import starter

from .cli_study import write_study


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("90s", 90), ("20m", 1200), ("5400s", 5400), ("8h", 28800), ("1h30m", 5400), ("1.5h", 5400),
        ("0.5", 0.5), (" 2 H ", 7200), ("1d", 86400), (".5s", 0.5),
    ],
)  # fmt: skip
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "20x", "m", "-5", "0", "nan", "inf", "1h 2q", "1,5h", "5m-"])
def test_what_is_no_duration_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
    with pytest.raises(ValueError, match=r"above 0 and below 1e\+09 seconds"):
        parse_duration("1e10")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.152, "0.15s"), (12.34, "12.3s"), (250, "4m10s"), (7500, "2h05m"), (None, "-")]
)
def test_durations_are_written(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_an_interval_is_drawn_where_it_lies() -> None:
    axis = render.Axis(0.0, 20.0, 21)
    assert axis.interval(5, 8, 12) == "|    [--o---]        "
    assert axis.interval(None, 8, None) == "|       o            "
    assert axis.interval(None, None, None) == "|" + " " * 20
    assert axis.interval(5, 8, 40) == "|    [--o----------->"
    assert axis.header().split() == ["0", "10", "20"]
    for low, mid, high in ((7.9, 8, 8.1), (0.1, 0.2, 0.3), (19.8, 19.9, 20.0), (0.1, 0.4, 0.9)):
        drawn = axis.interval(low, mid, high)
        assert drawn.count("[o]") == 1 and len(drawn) == 21 and drawn[0] == "|", drawn
    both = render.Axis(-9.0, 9.0, 19)
    for middle in (-8.9, -5.0, -0.4, 0.4, 5.0, 8.9):
        assert both.interval(middle - 0.1, middle, middle + 0.1).replace(" ", "") == ("[o]|" if middle < 0 else "|[o]")
    assert render.Axis(-5.0, 5.0, 11).interval(-3, 2, 4) == "  [--|-o-] "  # the zero line is kept


@pytest.mark.parametrize("values", [[], [None], [0.0], [math.nan, 3.0], [-2.0, -1.0], [1e-9], [1e9, -1e9]])
def test_an_axis_holds_whatever_comes(values: list[float | None]) -> None:
    axis = render.Axis.around(values, 20)
    assert axis.low <= 0 <= axis.high
    assert len(axis.header()) == len(axis.interval(0.0, 0.0, 0.0)) == 20


def test_one_wild_interval_does_not_squash_the_others() -> None:
    axis = render.Axis.of_intervals([(0.1, 0.2, 0.3), (0.2, 0.3, 0.4), (-87.0, -6.0, 74.0), (None, None, None)], 20)
    assert (axis.low, axis.high < 0.5) == (0.0, True)
    assert axis.interval(-87.0, -6.0, 74.0) == "<" + "-" * 18 + ">"


def test_numbers_get_the_precision_of_their_error() -> None:
    assert decimals(0.0029) == 4
    assert decimals(2.9) == 1
    assert decimals(290.0) == 0
    assert decimals(None) == decimals(0.0) == 3
    assert plain_number(0.5, 2, sign=True) == "+0.50"
    assert plain_number(math.nan) == "-"


def test_a_narrow_table_shortens_flexible_columns_then_drops_optional_ones() -> None:
    columns = [Column("name", flex=True), Column("value"), Column("extra", optional=True)]
    rows = [{"name": "n" * 40, "value": "v" * 10, "extra": "x" * 10}]
    assert fit_columns(rows, columns, 100)[1] == [40, 10, 10]
    assert fit_columns(rows, columns, 50)[1] == [26, 10, 10]
    kept, widths = fit_columns(rows, columns, 30)
    assert [c.key for c in kept] == ["name", "value"]
    assert widths == [18, 10]


def test_a_narrow_table_breaks_names_after_a_hyphen_before_it_breaks_words() -> None:
    from rich.console import Console

    rows = [{"program": "idea-queue-learnt-v4 0.833", "result": "not distinguishable", "gain": "-0.148 to 0.031"}]
    wrapped = [Column(key, wrap=True) for key in ("program", "result", "gain")]
    for width in (45, 60, 100):
        console = Console(width=width, record=True)
        console.print(table(rows, wrapped, width))
        lines = [line.rstrip() for line in console.export_text().splitlines()]
        assert max(map(len, lines)) <= width and "distinguishable" in " ".join(lines), lines
        words = " ".join(line.split("  ")[0] for line in lines[1:]).replace("- ", "-").split()
        assert words == rows[0]["program"].split(), lines


def test_text_of_others_cannot_move_the_cursor() -> None:
    assert clean("a\x1b[31mred\x1b[0m\x1b]0;title\x07b\tc\nd\x9be") == "aredb c d e"
    assert clean("two\nlines", keep="\n") == "two\nlines"


def test_json_holds_what_json_can_hold() -> None:
    value = {"a": math.nan, "b": np.float64(1.5), "c": np.array([1, 2]), "d": Path("x"), "e": (1, None)}
    assert jsonable(value) == {"a": None, "b": 1.5, "c": [1, 2], "d": "x", "e": [1, None]}
    assert jsonable(datetime(2030, 1, 2, tzinfo=UTC)) == "2030-01-02T00:00:00Z"


def test_plain_rows_are_tab_separated_with_a_header(capsys: pytest.CaptureFixture[str]) -> None:
    Output(person=False).rows([{"a": 1.25, "b": "x\ty", "c": None}], [Column("a"), Column("b"), Column("c")])
    assert capsys.readouterr().out == "a\tb\tc\n1.25\tx y\t\n"


def test_errors_have_the_kind_and_exit_code_of_the_contract() -> None:
    assert errors.classify(UsageError("x")).exit_code == 2
    assert errors.classify(CapReached("x")).exit_code == 3
    assert errors.classify(FileNotFoundError(2, "No such file", "a")).kind == "not_found"
    full = errors.classify(OSError(28, "No space left on device", "b"))
    assert (full.kind, full.exit_code, full.message) == ("environment", 1, "b: No space left on device")
    assert errors.classify(KeyError("k")).kind == "internal"
    assert errors.classify(UsageError("two\nlines")).lines() == ["error: two lines"]


def test_a_drained_study_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from arena.drain import Drained

    problem = errors.classify(Drained("stopped on request", hint="metaloop evolve --resume x"))
    assert problem.exit_code == errors.DRAINED == 130
    monkeypatch.setattr("meta.cli.errors.wrapped", lambda text: text.replace(" ", "\n"))  # as at a narrow terminal
    errors.report(problem, as_json=False)
    said = "stopped\non\nrequest\nnext:\n  metaloop evolve --resume x\n"
    assert capsys.readouterr().err == said, "only the command stays one line"
    assert problem.lines()[0].startswith("stopped")


def test_ids_resolve_by_prefix() -> None:
    ids = ["abc1", "abd2", "ab"]
    assert resolve.by_prefix("abc", ids) == "abc1"
    assert resolve.by_prefix("ab", ids) == "ab"
    with pytest.raises(NotFound):
        resolve.by_prefix("x", ids)
    with pytest.raises(Ambiguous) as caught:
        resolve.by_prefix("a", ids)
    assert caught.value.ids == ("ab", "abc1", "abd2")


def test_a_file_wins_over_a_starter_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve.one_program("stock").words > 50
    (tmp_path / "stock").write_text("# Mine\n\nOne sentence.\n")
    assert resolve.one_program("stock").text.startswith("# Mine")


def test_studies_are_found_by_name_prefix_or_as_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    out = Output(quiet=True, person=False)
    with pytest.raises(NotFound):
        resolve.study_folder(None, out)
    write_study(Path("studies/first"))
    assert resolve.study_folder(None, out) == Path("studies/first")
    assert resolve.study_folder("fi", out) == Path("studies/first")
    assert resolve.study_folder("studies/first", out) == Path("studies/first")
    assert resolve.fresh_folder("strokes", out).name.endswith("-1")
    for text, hint in (
        ("studies/nope-2026", "metaloop ls lists the studies"),
        ("firs-t", "did you mean studies/first?"),
    ):
        with pytest.raises(NotFound) as refused:
            resolve.study_folder(text, out)
        assert refused.value.hint == hint


def test_the_role_of_an_arm_is_told_before_a_long_name() -> None:
    row = {"name": "long-name", "role": "without-ideas", "rank_low": 1, "rank_high": 2, "gain": 1.0, "low": 0.5,
           "high": 1.5, "se": 0.2, "n": 3, "claimed": 1.0, "words": 9, "trust": "scored",
           "device_seconds_charged": 1.0}  # fmt: skip
    (shown,), narrow = table_of([row], 80, 2)
    assert shown["program"] == "without its ideas"
    assert "claimed\ngain" in [column.heading for column in narrow]
    roles = ("champion", "control", "a/a")
    assert [table_of([row | {"role": role}], 80, 2)[0][0]["program"] for role in roles] == [
        "champion long-name", "long-name (control)", "long-name (A/A)",
    ]  # fmt: skip
    _, wide = table_of([row], 140, 2)
    assert not {"state", "words"} & {column.key for column in narrow} and "words" in {column.key for column in wide}


def test_remarks_of_the_standings() -> None:
    row = {
        "role": "program",
        "program_id": "p",
        "n": 4,
        "se": 0.5,
        "rank_low": 1,
        "rank_high": 2,
        "gain": 2.0,
    }
    twin = ArmGain("p", "a/a", "strokes", "", 4, 2.5, 0.5)
    aa = twins([ArmGain("p", "control", "strokes", "", 4, 2.0, 0.5), twin])
    half = 2.446912 * 0.5**0.5  # t quantile of 6 df times the se of the difference, √(.5² + .5²)
    assert aa and (aa.difference, aa.low, aa.high) == (0.5, pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    spent = {"device_seconds_charged": 1.0}
    arms = [{**row, **spent, "role": "control"}, {**row, **spent, "role": "a/a", "gain": 1.0}]
    assert "Stock minus stock (A/A): -1.0" in " ".join(remarks(arms))  # ASCII, as in the table above
    assert (rank_text(1, 1), rank_text(1, 3), rank_text(None, None)) == ("1", "1-3", "-")
    assert "1.3 SD" in power_sentence(10) and power_sentence(10, of="each of A and B").startswith(
        "with 10 runs each of A and B, "
    )


def test_a_held_out_match_beside_a_verdict_names_no_leader_and_no_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    row: Any = {
        "match_id": "m1", "arm_id": "a1", "program_id": "p1", "name": "best", "role": "champion", "task": "far",
        "stream": "reserve", "purpose": "reserve", "generation": None, "unit": "nats", "n": 4, "gain": 1.0, "se": 0.1,
        "low": 0.8, "high": 1.2, "claimed": 1.0, "rank_low": 1, "rank_high": 1, "words": 3, "trust": "verified",
        "device_seconds_charged": 1.0,
    }  # fmt: skip
    stock = {**row, "arm_id": "a2", "program_id": "p2", "name": "stock", "gain": 0.2, "rank_low": 2, "rank_high": 2}
    show_match(Output(person=True), [row, {**stock, "role": "control"}], [], {})
    shown = capsys.readouterr().out
    assert "match on held-out task far" in shown and "better than" not in shown and "rank" not in shown
    again = {**stock, "arm_id": "a3", "role": "a/a", "gain": 0.4}
    rows = [{**row, "purpose": "race", "role": "program"}, {**stock, "role": "control"}, again]
    assert [(both["n"], both["gain"]) for both in both_arms(rows)] == [(8, pytest.approx(0.3))]
    show_match(Output(person=True), rows, [], {})
    assert "better than each of the others" in (shown := capsys.readouterr().out) and "rank" in shown
    tied = [{**one, "rank_low": 1, "rank_high": 3} for one in rows]  # ranks that say nothing are left out
    show_match(Output(person=True), tied, [], {})
    assert "Too few runs to separate" in (shown := capsys.readouterr().out) and "rank" not in shown
    under_way = [{**row, "purpose": "confirmation"}, {**stock, "role": "control"}]
    show_match(Output(person=True), under_way, [], {})  # its verdict is still to come
    assert "better than" not in (shown := capsys.readouterr().out) and "rank" not in shown
    assert unranked([*under_way, {**stock, "role": "control", "match_id": "m2"}]) == {"m1"}


def test_a_match_begins_with_what_it_shows() -> None:
    def row(name: str, low: int | None, high: int | None, role: str = "program", n: int = 1) -> Any:
        return {
            "name": name,
            "program_id": name,
            "role": role,
            "rank_low": low,
            "rank_high": high,
            "gain": -ord(name[0]),
            "se": 0.1 if n > 1 else None,
            "n": n,
        }

    a, b, again = row("a", 1, 2), row("b", 1, 3), row("a", 1, 3, "a/a")
    by = "Welch's t tests at 5%, Holm-corrected for all pairs"
    assert leading([a, b, again]) == f"Too few runs to separate these programs ({by})."
    assert leading([a, b, row("c", 3, 3)]) == f"Not shown to be worse than another: a, b. Shown to be worse: c ({by})."
    assert leading([a, row("c", 2, 3), row("d", 1, 3)]) == (
        f"Not shown to be worse than another: a, d. Shown to be worse: c ({by}). "
        "Too few or too noisy runs to show that a lower mean is worse: d."
    )
    assert leading([a, row("b", 1, 3), row("b", 2, 3, "a/a")]) == (  # of the A/A arm only, as in the report
        f"Not shown to be worse than another: a, b. Shown to be worse: b (A/A) ({by})."
    )
    assert leading([a, row("b", 2, 3), row("c", 1, 3, "a/a")]) == (  # an A/A arm of rank 1 is behind no other, too
        f"Not shown to be worse than another: a, c (A/A). Shown to be worse: b ({by}). "
        "Too few or too noisy runs to show that a lower mean is worse: c (A/A)."
    )
    assert leading([row("a", 1, 1), row("b", 2, 3), row("c", 2, 3)]).startswith("a is better than each of the others (")
    assert leading([row("a", 1, 2), row("b", 2, 3), row("c", 2, 3)]).startswith("a alone is behind no other (")
    assert leading([a]) == leading([]) == ""


def test_a_transfer_says_on_how_many_tasks_a_program_is_better() -> None:
    def cell(task: str, p: float | None, role: str = "program", name: str = "a") -> Cell:
        figures = (1.0, 0.1, 0.8, 1.2, "nats", 0.5, 2.0, p, p, "scored")
        return Cell(task, "home", name, name, role, None, "selection", 3, *figures)

    cells = [cell("one", 0.02), cell("two", 0.03), cell("three", None), cell("one", 0.001, "control", "stock")]
    assert list(shown_better(cells)) == ["a is shown to gain more than stock on 1 of 2 tasks: one (p at most 0.025)."]
    assert list(shown_better([cell("one", 0.5)])) == [
        "a is shown to gain more than stock on 0 of 1 task (p at most 0.025)."
    ]


def test_lines_of_the_log() -> None:
    event = {"kind": "run_ended", "run_id": "r12345678", "program": "local", "gain": 0.5, "run": {"kept": 2}}
    assert line_of(event) == "run r123456 local: verified gain +0.5000"
    event["run"] = {"kept": 2, "experiments": 12}  # one of them is the baseline
    assert line_of(event) == "run r123456 local: kept 2 of 11, verified gain +0.5000"
    assert line_of(event | {"trust": "self-reported"}).endswith("retrained gain +0.5000")
    assert line_of({"kind": "note", "text": "a\x1b[0mb"}) == "ab"
    assert line_of({"kind": "experiment"}) == ""


def test_lines_that_the_result_repeats_are_left_out_of_a_log_of_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for same, said in ((False, "tried\n"), (True, "")):
        monkeypatch.setattr("os.path.sameopenfile", lambda _out, _err, same=same: same)
        with ticker(Output(person=False), repeated=True) as progress:
            progress("tried")
        assert capsys.readouterr().err == said


def test_an_arm_is_named_by_what_it_is_to_the_user() -> None:
    assert named("mine", "own") == "your program" and named("idea-queue-learnt", "start") == "idea-queue-learnt (start)"
    assert named("mine-v2", "champion") == "champion mine-v2"


def test_a_person_is_spared_the_lists_of_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """What was switched is told on stderr; as data it is in plain output and JSON."""
    plan = {"runs": 1, "run_budget_s": 2.0, "device_seconds": 3.0, "wall_seconds": 4.0, "tells": "± 0.69 SD",
            "factors": [{"directive_id": "d1", "text": "Keep it."}], "plan": {"starters": 2}}  # fmt: skip
    dry_run(Output(person=True), plan)
    shown = capsys.readouterr().out
    assert "± 0.69 SD" in shown and "Keep it." not in shown and "starters" not in shown
    dry_run(Output(person=False), plan)
    assert "Keep it." in capsys.readouterr().out
    dry_run(Output(as_json=True), plan)
    assert json.loads(capsys.readouterr().out) == plan


def test_credit_names_the_design_once_or_row_by_row() -> None:
    paired = {"method": "mutation", "unit": "nats", "design": "paired", "causal": True}
    observed = {"method": "mutation", "unit": "nats", "design": "observational", "causal": False}
    assert title([paired, paired]) == "mutation: child minus its parent, of several one of them, in nats (paired)"
    assert (
        title([observed])
        == "mutation: child minus its parent, of several one of them, in nats (observational, an association)"
    )
    assert title([paired, observed]).endswith("in nats (p: paired; o: observational, an association)")
    assert title([{**paired, "method": "of-a-plug-in"}]) == "of-a-plug-in, in nats (paired)"


def test_a_flag_that_may_be_left_out_has_none_in_its_type_or_a_default() -> None:
    def counted(out: Output, runs: Annotated[int, flag("Runs.")]) -> None:
        """Counts."""

    with pytest.raises(TypeError, match="--runs may be left out"):
        verb()(counted)


def test_a_question_needs_a_terminal_to_read_it_and_one_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    with pytest.raises(UsageError, match="no terminal to ask"):
        ask("Go on?", "no terminal to ask", "-y goes on")
    asked: list[str] = []
    monkeypatch.setattr("sys.stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("meta.cli.output.click.confirm", lambda question, **_: asked.append(question))
    monkeypatch.setenv("COLUMNS", "40")
    ask("Close it before its time? Then no more entries are accepted.", "no terminal to ask", "-y goes on")
    assert asked == ["Close it before its time? Then no more\nentries are accepted. [y/N]"]


def test_a_changed_directive_has_its_old_text_before_the_new_one() -> None:
    rows = differences(
        Program.parse("# P\n\n## Ideas\n\n- Try `a=1` on it.\n", "p"),
        Program.parse("# P\n\n## Ideas\n\n- Try `a=2` on it.\n- Go.\n", "q"),
    )
    changed = [row for row in with_before(rows) if row["change"] == "changed"]
    assert [row["text"] for row in changed] == ["Try `a=1` on it. → Try `a=2` on it."]
    assert [row for row in with_before(rows) if row["change"] == "added"] == [r for r in rows if r["change"] == "added"]


def test_a_long_command_goes_on_on_the_next_line_and_is_the_same_to_a_shell() -> None:
    long = "metaloop export studies/of-a-long-name-2026-11-26-1 --prose --program idea-queue-learnt -o 'my start.md'"
    shown = folded(f"{long}  # may do as well", 78)
    lines = shown.split("\n")
    assert (
        lines[0] == "# may do as well" and lines[1].endswith(" \\") and max(map(len, lines)) <= 78 and len(lines) == 3
    )
    joined = shlex.split(shown.replace("\\\n", ""), comments=True)
    assert joined == shlex.split(long) and shown.endswith("'my start.md'")
    short = "metaloop verify studies/night-1/best_train.py -t strokes"
    assert folded(f"{short}  # is the best train.py better?", 78) == f"# is the best train.py better?\n  {short}"
    told = folded(f"{short}  # {'longer ' * 20}", 78).split("\n")
    assert all(len(line) <= 80 for line in told) and [line.strip()[0] for line in told] == ["#", "#", "m"]
    assert folded(long, 0) == long == folded(long, 200)
    for width in range(70, 90):  # no line ends within a number and its unit
        assert not re.search(
            r"\d\n", folded(f"{short}  # longer: 3.9 times the device time, about 18 min at its pace", width)
        )


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (4.2, "4 s"),
        (52.4, "50 s"),
        (1080, "18 min"),
        (5880, "1.6 h"),
        (10**5, "28 h"),
        (259200, "3 days"),
    ],
)
def test_an_estimate_of_time_has_no_more_digits_than_it_knows(seconds: float, said: str) -> None:
    assert roughly(seconds) == said


def test_at_a_terminal_each_setting_is_followed_by_what_it_means() -> None:
    with redirect_stdout(StringIO()) as shown:
        show_settings(Output(person=True), starter("idea-queue"))
    lines = shown.getvalue().splitlines()
    at = lines.index('proposers = {"queue": 0.9, "local": 0.1}  set here')
    assert lines[at + 1].startswith("    Sources of the next edit") and "replicates = 1" in lines
    assert all(len(line) <= 80 for line in lines) and len(lines) < 100
