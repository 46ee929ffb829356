"""The parts of a report: what they say of a study whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import wording
from analysis.constraint_values import ConstraintValues
from analysis.events import BaselineEvent
from analysis.ledger import Ledger
from analysis.report import champion, experiments, lineage, progress, source, standings
from analysis.report.facts import gather
from analysis.report.model import ReportSection
from analysis.report.transfer import figure as of_task
from analysis.study import VIEWS, open_study
from analysis.transfer import Cell
from meta.cli.board import load_board
from meta.cli.screen import status_item
from meta.window.records import run_page
from tests.analysis import synthetic
from tests.analysis.report import studies
from tests.analysis.report.test_page import sections


def part(folder: Path, name: str) -> ReportSection:
    return next(found for found in sections(folder) if found.name == name)


def test_a_limit_is_stated_with_the_bounds_that_it_has() -> None:
    for bounds, said in (((6.0, None), "at most 6 ms"), ((None, 2.0), "at least 2 ms"), ((None, None), "no limit"),
                         ((6.0, 2.0), "at least 2 and at most 6 ms")):  # fmt: skip
        row = ConstraintValues("m", "t", "control", "latency", "ms", True, *bounds, 1.0, 1.0, 1.0, 1, 0)
        assert row.limit == f"{said}, hard"


def test_of_many_experiments_kept_ones_and_a_share_of_each_kind_are_shown(tmp_path: Path) -> None:
    with open_study(studies.finished(tmp_path)) as con:
        asked = source.ReportSource(con, "x")
        counts = asked.ask("experiment_counts", experiments.ExperimentCountRow).rows
        rows = asked.ask("experiments", experiments.ExperimentRow, most=60, first="stock").rows
    kinds = {(row.decision, row.status) for row in counts}
    assert len(rows) == 60 < sum(row.n for row in counts)
    assert {(row.decision, row.status) for row in rows} == kinds
    assert sum(row.decision == "keep" for row in rows) >= 30
    assert len({(row.run_id, row.experiment_id) for row in rows}) == 60


def test_all_experiments_are_shown_where_they_are_few(tmp_path: Path) -> None:
    found = part(studies.finished(tmp_path), "experiments")
    data = found.figures[0].data
    assert len(data["rows"]) == sum(int(row[2].replace(",", "")) for row in found.more["counts"].rows)
    assert found.lead.startswith("All ")


def test_diffs_stay_within_their_room() -> None:
    pool = experiments.TextPool(10)
    assert [pool.put(text) for text in ("aaaa", "bbbb", "aaaa", "cccc", None, "")] == [0, 1, 0, -1, -1, -1]
    assert pool.full


def test_passages_are_the_whole_text_with_its_credit() -> None:
    from programs.program import Program

    ideas = [d for d in Program.parse(studies.TEXT).directives if d.kind == "idea"]
    first = champion.CreditRow(
        ideas[0].directive_id, "idea", ideas[0].text, "c1", "factorial", "randomised", 1.8, 0.6, 3.0, 14, 0.01, "nats",
        True,
    )  # fmt: skip
    second = replace(first, directive_id=ideas[1].directive_id, estimate=0.4, low=-0.6, high=1.4, q=0.6)
    rows = [first, second]
    found = champion.excerpts(studies.TEXT, rows)
    assert "\n".join(passage.text for passage in found) == studies.TEXT.rstrip("\n")
    tinted = [passage for passage in found if passage.strength]
    assert [(p.way, p.strength, p.marks[0].label) for p in tinted] == [("up", 4, "+1.80 [0.60, 3.00], 14 runs")]
    plain = next(passage for passage in found if passage.text.startswith("- Wider"))
    assert plain.strength == 0 and plain.marks[0].label.startswith("+0.40 [−0.60, 1.40]")
    assert {mark.design for passage in found for mark in passage.marks} == {""}  # said once, above
    assert champion.usual(rows).startswith(
        "Unless marked otherwise, estimates are randomised, by the method factorial ("
    )
    other = champion.excerpts(studies.TEXT, [first, first, replace(second, method="mine", design="paired")])
    assert [m.design for passage in other for m in passage.marks] == ["", "paired (method mine)"]
    assert champion.usual([]) == ""
    loose = replace(first, method="directive", design="observational", causal=False)
    assert loose.is_tinted and not replace(loose, kind="charter").is_tinted and replace(first, kind="charter").is_tinted


def test_text_that_is_no_program_is_shown_plain() -> None:
    text = "---\nmetaloop:\n  nonsense: 1\n---\nhello"
    assert [(p.text, p.marks) for p in champion.excerpts(text, [])] == [(text, ())]


def test_lineage_counts_what_a_child_changed(tmp_path: Path) -> None:
    found = part(studies.finished(tmp_path), "lineage").figures[0]
    child = next(row for row in found.data["rows"] if row["id"] == "p-best")
    assert child["depth"] == 1 and child["champion"] and child["change"].startswith("+")
    assert found.data["rows"][0]["id"] == "stock"


def test_a_family_stays_together_and_a_loop_of_parents_ends() -> None:
    families = {"a": [], "b": [], "c": ["b"], "d": ["c", "a"], "own": ["own"]}
    rows = [lineage.DrawnProgram(name, name, 0, "", parents) for name, parents in families.items()]
    assert [(row.id, row.depth) for row in lineage.tree(rows)] == [
        ("a", 0),
        ("b", 0),
        ("c", 1),
        ("d", 2),
        ("own", 0),
    ]


def test_the_run_that_is_seen_first_is_a_typical_one(tmp_path: Path) -> None:
    data = part(studies.finished(tmp_path), "progress").figures[1].data
    run = data["runs"][data["shown"]]
    assert run["role"] == "champion" and run["deciding"]
    mine = [r for r in data["runs"] if r["role"] == "champion" and r["deciding"]]
    assert run is mine[len(mine) // 2]
    assert {point[2] for r in data["runs"] for point in r["points"]} <= set("bkdxs")


def test_an_experiment_is_told_by_a_letter() -> None:
    cases = (
        (3, "keep", "ok", 1.0, 1.0), (3, "discard", "ok", 1.0, 1.0), (3, "keep", "crash", 1.0, 1.0),
        (3, "keep", "ok", 1.0, 0.25), (3, "screen", "ok", 1.0, 1.0), (0, "keep", "ok", 1.0, 1.0),
    )  # fmt: skip
    assert [progress.letter(*case) for case in cases] == ["k", "d", "x", "s", "s", "b"]


def test_caveats_fire_for_what_they_name(tmp_path: Path) -> None:
    found = part(studies.finished(tmp_path, hostile=True), "caveats").more["caveats"]
    assert any("leak" in caveat.text for caveat in found) and 1 < len(found) <= 5
    assert [c.level for c in found] == sorted((c.level for c in found), key=("stop", "mind", "note").index)


def test_a_run_whose_gain_collapsed_is_named(tmp_path: Path) -> None:
    studies.finished(tmp_path)
    assert "Gains that collapsed" not in [one.title for one in part(tmp_path, "caveats").more["caveats"]]
    with Ledger(tmp_path / "ledger", "later") as ledger:
        # the second keeps over half of it, the third claimed nothing that could be lost
        for run, claimed, again in (("r-fallen", 0.6, 0.05), ("r-less", 0.6, 0.35), ("r-none", 0.04, -0.3)):
            synthetic.start(ledger, run, "m2", "m2-stock", "stock", 9, stream="confirmation")
            synthetic.end(ledger, run, claimed=claimed)
            synthetic.verify(ledger, run, "m2-stock", "stock", [again, again], stream="confirmation", trust="scored")
    [text] = [one.text for one in part(tmp_path, "caveats").more["caveats"] if one.title == "Gains that collapsed"]
    with open_study(tmp_path, views=VIEWS) as con:
        variances = "SELECT avg(v), sum(n) FROM (SELECT var_samp(metric) v, count(*) n FROM baselines GROUP BY stream)"
        [(variance, n)] = con.execute(variances).fetchall()  # as many trainings on each stream
        assert run_page(con, "r-less", 0).collapse is None
        page = run_page(con, "r-fallen", 0)
        assert page.collapse is not None and text.endswith(": 1.")
        sd = math.sqrt(variance)
        assert page.course["sd"] == pytest.approx(sd) and page.trainings == n
        assert (page.collapse.claimed, page.collapse.gain) == (0.6, 0.05) and page.collapse.sds == pytest.approx(
            0.55 / sd
        )
    [run] = [one for one in part(tmp_path, "progress").figures if one.name == "one-run"]
    assert f"between training seeds (SD {wording.brief(sd, 2)}, {n} trainings of this study)" in run.caption


def test_the_noise_of_a_script_that_changes_is_that_within_its_matches(tmp_path: Path) -> None:
    """As the main of a shared project does with each match; it has no source id."""
    baseline = BaselineEvent(match_id="", task="t", stream="selection", seed=0, status="ok", metric=0.0, trust="scored")
    with Ledger(tmp_path / "ledger", "one") as ledger:
        for seed, (match, metric) in enumerate((("m1", 2.30), ("m1", 2.31), ("m2", 1.30), ("m2", 1.31))):
            ledger.append(replace(baseline, match_id=match, seed=seed, metric=metric).to_record())
    with open_study(tmp_path, views=VIEWS) as con:
        [(sd, trainings)] = con.execute("SELECT sd, trainings FROM seed_noise()").fetchall()
    assert sd == pytest.approx(0.01 / math.sqrt(2)) and trainings == 4


def test_programs_that_nothing_separates_are_neither_shaded_nor_ranked(tmp_path: Path) -> None:
    few = studies.race_only(tmp_path / "few", {"a": (0.8, 0.01), "b": (0.7, 0.3), "c": (0.5, 0.3)}, runs=3)
    (figure,) = (found := part(few, "standings")).figures
    assert "Shaded programs" not in found.lead
    assert not any(row["tie"] or row["ranks"] for row in figure.data["rows"]) and "rank" not in figure.table.titles
    assert "(Welch's t tests at 5%, Holm-corrected for all pairs)" in figure.caption and not figure.data["ranked"]
    many = studies.race_only(tmp_path / "many", {"a": (0.8, 0.01), "b": (0.1, 0.01)})
    (figure,) = (found := part(many, "standings")).figures
    assert [row["tie"] for row in figure.data["rows"]] == [True, False] and "Shaded programs" in found.lead


def test_a_confirmation_is_not_ranked_before_its_verdict_either(tmp_path: Path) -> None:
    for sd, role, ranked in ((0.01, "program", True), (0.01, "champion", False), (9.0, "champion", False)):
        gains = {"a": (0.8, sd), "b": (0.1, sd)}
        folder = studies.race_only(tmp_path / f"{role}-{sd}", gains)
        with open_study(folder, views=VIEWS) as con:
            facts = gather(source.ReportSource(con, "x"))
            rows = tuple(replace(row, role=role if row.name == "a" else "control") for row in facts.standings.rows)
            found = standings.section(replace(facts, standings=replace(facts.standings, rows=rows)))
        (figure,) = found.figures
        assert ("rank" in figure.table.titles) == ("Shaded programs" in found.lead) == figure.data["ranked"] == ranked
        assert any(row["tie"] for row in figure.data["rows"]) == ranked
        assert "Welch" not in figure.caption, "nor are tests of all pairs stated"


def test_tables_hold_what_the_pictures_show(tmp_path: Path) -> None:
    for found in sections(studies.finished(tmp_path)):
        for figure in found.figures:
            assert figure.caption and figure.answers, figure.name
            assert figure.table.rows, figure.name
            assert all(len(row) == len(figure.table.titles) for row in figure.table.rows), figure.name


def test_literals_are_safe() -> None:
    assert source.filled("x = $a AND y IN $b", {"a": "o'x; --", "b": ["p", "q'"]}) == (
        "x = 'o''x; --' AND y IN ['p', 'q''']::VARCHAR[]"
    )
    assert source.literal([("a", "b"), ("c", None)]) == "('a', 'b'), ('c', NULL)"
    assert source.literal(True) == "true" and source.literal([]) == "[]::VARCHAR[]"


def test_words() -> None:
    assert wording.number(-0.12345, 2) == "−0.12" and wording.number(None) == "–"
    assert [wording.duration(s) for s in (0.42, 42, 145, 7500, 200_000)] == [
        "0.42 s",
        "42 s",
        "2 min 25 s",
        "2 h 05 min",
        "2 d 7 h",
    ]
    assert [wording.brief(v) for v in (0.0, 0.0123456, 12.345, 1234.7)] == ["0", "0.0123", "12.3", "1235"]
    assert wording.brief(1e-9) == "1.00e−09" and wording.brief(None) == "–"
    assert wording.money(None) == "not priced" and wording.money(0.0) == "$0.00"
    assert wording.listed(["a", "b", "c"]) == "a, b and c" and wording.listed("abcdef") == "a, b, c, d and 2 more"
    assert [wording.many(n, noun) for n, noun in ((1, "run"), (2, "match"), (3, "try"), (1200, "day"))] == [
        "1 run", "2 matches", "3 tries", "1,200 days",
    ]  # fmt: skip
    assert wording.number(-0.0004, 3) == "0.000" and wording.number(-0.0004, 3, sign=True) == "+0.000"
    assert wording.plain_span(-0.0004, 0.265) == "0.000 to 0.265" and wording.plain_span(None, 1.0) == "-"
    ends = ((0.4, 2.2), (0.0004, 0.4), (-0.4, -0.0004), (-0.4, 0.0004), (1e-7, 4.0))
    assert [wording.interval_decimals(*each) for each in ends] == [2, 4, 4, 2, 2]  # 1e-7 is 0 in six places, too
    assert [wording.chance(0.0497, level) for level in (0.0, 0.05)] == ["0.05", "0.0497"]
    assert wording.ranks(1, 4) == "1–4" and wording.ranks(2, 2) == "2"


def test_several_tasks_have_a_part_of_their_own(tmp_path: Path) -> None:
    from arena.transfer import play_transfer
    from programs.shelf import starter
    from tests.arena.test_transfer import HERE, THERE, abroad, task_of
    from tests.studies import program, silent

    hostile = program("a </script>\u202e name")
    study = abroad(tmp_path / "study", task_of(tmp_path / "here", HERE), task_of(tmp_path / "there", THERE))
    play_transfer(study, (starter("local"), hostile), 2, False, silent)
    found = part(tmp_path / "study", "transfer")
    first, second = found.figures[:2]
    assert first.title.startswith("On here (training task)") and second.title.startswith("On there (other task)")
    rows = {row[0]: row for row in first.table.rows}
    assert rows["local"][4] != "–" and rows["a </script>\ufffd name"][-1] == "behaves like stock here"
    assert any(point["name"] == "local" for point in first.data["rows"])
    assert all(figure.answers for figure in found.figures)
    assert not [one for one in sections(studies.finished(tmp_path / "one")) if one.name == "transfer"]


def test_the_same_study_has_the_same_programs_and_times_everywhere(tmp_path: Path) -> None:
    """A champion without its ideas is a control, no program of the study; time of the runs is named as such."""
    folder = studies.finished(tmp_path)
    with Ledger(folder / "ledger", "main") as ledger:
        synthetic.program(ledger, "p-control", operator="without-ideas", parent_ids=["p-best"], generation=1)
    board = load_board(folder)[0]
    with open_study(folder) as con:
        facts = gather(source.ReportSource(con, str(folder)))
    assert status_item(board, "study", False)["programs"] == facts.totals.programs == len(board.programs) - 1
    assert wording.duration(facts.totals.device_seconds) in facts.verdict.cost


def test_a_chart_of_gains_has_the_rows_of_one_stage() -> None:
    """Those of the champion's; nothing is called tested on a variant."""

    def cell(name: str, role: str, stream: str, gain: float, stock: float, wide: float = 0.1) -> Cell:
        return Cell(
            task="strokes", place="home", program_id=name, name=name, role=role, of_program=None, stream=stream, n=4,
            gain=gain, se=0.1, low=gain - wide, high=gain + wide, unit="nats", stock_gain=stock, ratio=gain / stock,
            p=0.01, p_adjusted=0.023, like_id=None, trust="verified",
        )  # fmt: skip

    cells = (
        cell("parent", "program", "selection", 0.9, 0.19), cell("bare", "without-ideas", "confirmation", 0.3, 0.28),
        cell("best", "champion", "confirmation", 0.8, 0.28), cell("stock", "control", "confirmation", 0.25, 0.28),
        cell("stock", "a/a", "confirmation", 0.31, 0.28),
    )  # fmt: skip
    answer: Any = None
    drawn = of_task(cells, 0, "strokes", answer, tested=False)
    assert [row["name"] for row in drawn.data["rows"]][:2] == ["bare", "best"] and drawn.legend == ()
    assert drawn.data["rows"][1]["estimate"] == 0.8 and not any(row["significant"] for row in drawn.data["rows"])
    rows = {(row[0], row[1]): row for row in drawn.table.rows}
    assert rows["best", "champion"][4:6] == ("2.86", "not tested") and "parent" not in {
        row[0] for row in drawn.table.rows
    }
    tested = of_task(cells, 0, "strokes", answer, tested=True)
    assert tested.data["rows"][1]["significant"] and len(tested.legend) == 2
