"""The parts of a report: what they say of a study whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from analysis import table_cells, wording
from analysis.ledger import Ledger
from analysis.ledger.events import BaselineEvent
from analysis.report import experiments, page, program_text, source
from analysis.study import VIEWS, open_study, query
from analysis.verdict.verdict import verdict_of
from meta.ui.live import LiveStudy
from meta.ui.status import StudyStatus
from programs.common import text
from tests.analysis import synthetic
from tests.analysis.report import studies


@pytest.fixture(scope="module")
def shown(ended: Path) -> page.Page:
    return studies.page_of(ended)


def test_many_experiments_show_kept_ones_and_share_of_each_kind(ended: Path) -> None:
    kind = "SELECT decision, status, count(*) AS n FROM experiments GROUP BY ALL"
    with open_study(ended) as con:
        counts = con.execute(kind).fetchall()
        rows = source.ReportSource(con, "x").rows("experiments", most=60, first="stock").rows
    assert len(rows) == 60 < sum(n for *_, n in counts)
    assert {(row["decision"], row["status"]) for row in rows} == {(decision, status) for decision, status, _ in counts}
    assert sum(row["decision"] == "keep" for row in rows) >= 30
    assert len({(row["run_id"], row["experiment_id"]) for row in rows}) == 60


def test_all_experiments_are_shown_where_they_are_few(shown: page.Page) -> None:
    assert shown.experiments is not None and len(shown.experiments.data["rows"]) == shown.verdict.experiments


def test_lineage_has_each_program_below_its_parent_with_change(ended: Path, shown: page.Page) -> None:
    rows = {row["id"]: row for row in shown.asked("lineage").rows}
    [(child, parents)] = [(one["id"], one["parents"]) for one in rows.values() if one["parents"]][:1]
    order = list(rows)
    assert order.index(parents[0]) < order.index(child) and rows[child]["depth"] == rows[parents[0]]["depth"] + 1
    kept = "FROM directives WHERE kind <> 'order' AND program_id = '{}'"
    ids = {one: {row["directive_id"] for row in query(ended, kept.format(one))} for one in (child, parents[0])}
    added, left = ids[child] - ids[parents[0]], ids[parents[0]] - ids[child]
    assert rows[child]["change"] == f"+{len(added)} −{len(left)}"
    assert [row["champion"] for row in rows.values()].count(True) == 1


def test_the_letter_of_an_experiment_is_its_result(ended: Path, shown: page.Page) -> None:
    [first, *_] = shown.asked("runs").rows
    sql = (
        f"SELECT number, decision, status FROM experiments WHERE run_id = '{first['id']}' AND coalesce(fraction, 1) = 1"
    )
    letters = {"baseline": "b", "keep": "k", "discard": "d"}
    known = {
        row["number"]: letters[row["decision"]] if row["status"] == "ok" else "x"
        for row in query(ended, sql)
        if row["status"] != "ok" or row["decision"] in letters
    }
    shown_letters = {point["number"]: point["letter"] for point in first["points"]}
    assert {number: shown_letters[number] for number in known} == known and len(set(known.values())) > 1


def test_diffs_stay_within_their_room() -> None:
    pool = experiments.TextPool(10)
    assert [pool.put(text) for text in ("aaaa", "bbbb", "aaaa", "cccc", None, "")] == [0, 1, 0, -1, -1, -1]


def test_passages_are_the_whole_text_with_its_credit() -> None:
    from programs.program import Program

    ideas = [d for d in Program.parse(studies.TEXT).directives if d.kind == "idea"]
    first = program_text.CreditRow(
        ideas[0].directive_id, "idea", ideas[0].text, "c1", "factorial", "randomised", 1.8, 0.6, 3.0, 14, 0.01, "nats",
        True, True,
    )  # fmt: skip
    second = replace(
        first, directive_id=ideas[1].directive_id, estimate=0.4, low=-0.6, high=1.4, q=0.6, significant=False
    )
    rows = [first, second]
    found = program_text.excerpts(studies.TEXT, rows)
    assert "\n".join(passage.text for passage in found) == studies.TEXT.rstrip("\n")
    tinted = [passage for passage in found if passage.strength]
    assert [(p.way, p.strength, p.marks[0].label) for p in tinted] == [("up", 4, "+1.80 [0.60, 3.00], 14 runs")]
    plain = next(passage for passage in found if passage.text.startswith("- Wider"))
    assert plain.strength == 0 and plain.marks[0].label.startswith("+0.40 [−0.60, 1.40]")
    assert {mark.design for passage in found for mark in passage.marks} == {"randomised"}
    loose = replace(first, method="directive", design="observational", causal=False)
    assert loose.is_tinted and not replace(loose, kind="charter").is_tinted and replace(first, kind="charter").is_tinted


def test_text_that_is_no_program_is_shown_plain() -> None:
    text = "---\nmetaloop:\n  nonsense: 1\n---\nhello"
    assert [(p.text, p.marks) for p in program_text.excerpts(text, [])] == [(text, ())]


def test_a_run_whose_gain_collapsed_is_named(tmp_path: Path) -> None:
    studies.finished(tmp_path)
    assert "Gains that collapsed" not in [one.title for one in studies.page_of(tmp_path).verdict.caveats]
    with Ledger(tmp_path / "ledger", "later") as ledger:
        # the second keeps over half of it, the third claimed nothing that could be lost
        for run, claimed, again in (("r-fallen", 0.6, 0.05), ("r-less", 0.6, 0.35), ("r-none", 0.04, -0.3)):
            synthetic.run(ledger, run, "m2", "m2-stock", "stock", 9, [again, again], claimed=claimed,
                          stream="confirmation", trust="scored")  # fmt: skip
    [text] = [one.text for one in studies.page_of(tmp_path).verdict.caveats if one.title == "Gains that collapsed"]
    assert text.endswith(": 1.")


def test_noise_of_a_changing_script_is_that_within_its_matches(tmp_path: Path) -> None:
    """As the main of a shared project does with each match; it has no source id."""
    baseline = BaselineEvent(match_id="", task="t", stream="selection", seed=0, status="ok", metric=0.0, trust="scored")
    with Ledger(tmp_path / "ledger", "one") as ledger:
        for seed, (match, metric) in enumerate((("m1", 2.30), ("m1", 2.31), ("m2", 1.30), ("m2", 1.31))):
            ledger.append(replace(baseline, match_id=match, seed=seed, metric=metric).to_record())
    with open_study(tmp_path, views=VIEWS) as con:
        [(sd, trainings)] = con.execute("SELECT sd, trainings FROM seed_noise()").fetchall()
    assert sd == pytest.approx(0.01 / math.sqrt(2)) and trainings == 4


def test_literals_are_safe() -> None:
    assert source.filled("x = $a AND y IN $b", {"a": "o'x; --", "b": ["p", "q'"]}) == (
        "x = 'o''x; --' AND y IN ['p', 'q''']::VARCHAR[]"
    )
    assert source.literal([]) == "[]::VARCHAR[]"


def test_words() -> None:
    assert wording.number(-0.12345, 2) == "−0.12" and wording.number(None) == "–"
    assert [wording.duration(s) for s in (0.42, 42, 145, 7500, 200_000)] == [
        "0.42 s", "42 s", "2 min 25 s", "2 h 05 min", "2 d 7 h",
    ]  # fmt: skip
    assert [wording.brief(v) for v in (0.0, 0.0123456, 12.345, 1234.7)] == ["0", "0.0123", "12.3", "1235"]
    assert wording.brief(1e-9) == "1.00e−09" and wording.brief(None) == "–"
    assert text.listed(["a", "b", "c"]) == "a, b and c" and text.listed("abcdef") == "a, b, c, d and 2 more"
    assert [wording.many(n, noun) for n, noun in ((1, "run"), (2, "match"), (3, "try"), (1200, "day"))] == [
        "1 run", "2 matches", "3 tries", "1,200 days",
    ]  # fmt: skip
    assert wording.number(-0.0004, 3) == "0.000" and wording.number(-0.0004, 3, sign=True) == "+0.000"
    assert wording.span(-0.0004, 0.265) == "0.000 to 0.265" and wording.span(None, 1.0) == "no interval"
    ends = ((0.4, 2.2), (0.0004, 0.4), (-0.4, -0.0004), (-0.4, 0.0004), (1e-7, 4.0))
    assert [wording.interval_decimals(*each) for each in ends] == [2, 4, 4, 2, 2]  # 1e-7 is 0 in six places, too
    assert [wording.chance(p, level) for p in (0.0497, 0.0502) for level in (0.0, 0.05)] == [
        "0.05", "0.0497", "0.05", "0.0502",
    ]  # fmt: skip
    values = (None, math.nan, True, -3, 0.5, -1234.56, 2.5e-7, ["a", "b"], [], {"a": 1}, "x.0")
    assert [table_cells.cell(value) for value in values] == [
        "–", "–", "yes", "−3", "0.5", "−1235", "2.500e−07", "a b", "", '{"a": 1}', "x.0",
    ]  # fmt: skip
    assert wording.ranks(1, 4) == "1–4" and wording.ranks(2, 2) == "2"


def test_same_study_has_the_same_programs_and_times_everywhere(tmp_path: Path) -> None:
    """A champion without its ideas is a control, no program of the study; time of the runs is named as such."""
    folder = studies.finished(tmp_path)
    with Ledger(folder / "ledger", "main") as ledger:
        synthetic.program(ledger, "p-control", operator="without-ideas", parent_ids=["p-best"], generation=1)
    live = LiveStudy.read(folder)
    with open_study(folder) as con:
        [(seconds,)] = con.execute("SELECT sum(spent_seconds) FROM device_time()").fetchall()
        cost = verdict_of(con).cost
    assert StudyStatus(live, False).programs == len(live.programs) - 1
    assert wording.duration(seconds) in cost
