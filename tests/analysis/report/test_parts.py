"""The parts of a report: what they say of a study whose truth is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import table_cells, wording
from analysis.ledger import Ledger
from analysis.ledger.events import BaselineEvent
from analysis.report import experiments, page, program_text, source
from analysis.report.axis import Axis
from analysis.report.progress import BOTTOM, LEFT, RIGHT, TOP, MainTurn, RunGain, of_night, of_nights, of_runs
from analysis.statistics import mean_interval
from analysis.study import VIEWS, open_study, query
from analysis.verdict.verdict import VIEWS as VERDICT_VIEWS
from analysis.verdict.verdict import verdict_of
from meta.ui.live import LiveStudy
from meta.ui.status import StudyStatus
from programs.common import text
from programs.program import Program
from programs.shelf import starter
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
    ids = [
        {row["directive_id"] for row in query(ended, f"FROM directives WHERE kind <> 'order' AND program_id = '{one}'")}
        for one in (child, parents[0])
    ]
    assert rows[child]["change"] == f"+{len(ids[0] - ids[1])} −{len(ids[1] - ids[0])}"
    assert [row["champion"] for row in rows.values()].count(True) == 1


def test_diffs_stay_within_their_room() -> None:
    pool = experiments.TextPool(10)
    assert [pool.put(text) for text in ("aaaa", "bbbb", "aaaa", "cccc", None, "")] == [0, 1, 0, -1, -1, -1]


def test_passages_are_the_whole_text_with_its_credit() -> None:
    ideas = [d for d in Program.parse(studies.TEXT).directives if d.kind == "idea"]
    first = program_text.CreditRow(
        ideas[0].directive_id, "idea", ideas[0].text, "c1", "factorial", "randomised", 1.8, 0.6, 3.0, 14, 0.01, "nats",
        True, True,
    )  # fmt: skip
    unclear: dict[str, Any] = {"estimate": 0.4, "low": -0.6, "high": 1.4, "q": 0.6, "significant": False}
    found = program_text.excerpts(studies.TEXT, [first, replace(first, directive_id=ideas[1].directive_id, **unclear)])
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


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study with an ablation, a champion without its ideas, and runs whose gains were lost."""
    folder = studies.finished(tmp_path_factory.mktemp("later"))
    with Ledger(folder / "ledger", "later") as ledger:
        synthetic.program(ledger, "p-control", operator="without-ideas", parent_ids=["p-best"], generation=1)
        synthetic.program(ledger, "variant", operator="ablation", parent_ids=["p-best"], generation=1)
        synthetic.match(ledger, "m3", {"a1": "variant"}, {"a1": "ablation"}, purpose="ablation")
        synthetic.run(ledger, "r1", "m3", "a1", "variant", 0, [0.9, 0.8], claimed=0.9, trust="scored")
        # the second keeps over half of it, the third claimed nothing that could be lost
        for run, claimed, again in (("r-fallen", 0.6, 0.05), ("r-less", 0.6, 0.35), ("r-none", 0.04, -0.3)):
            synthetic.run(ledger, run, "m2", "m2-stock", "stock", 9, [again, again], claimed=claimed,
                          stream="confirmation", trust="scored")  # fmt: skip
    return folder


def test_an_ablation_is_no_race_and_a_collapsed_gain_is_named(shown: page.Page, later: Path) -> None:
    """Its match decides nothing beside others, and its variants stand neither in the lineage nor among the programs."""
    after = studies.page_of(later)
    assert all(row["program"] != "variant" for name in ("standings", "lineage") for row in after.asked(name).rows)
    assert after.verdict.decision is not None
    assert "Gains that collapsed" not in [one.title for one in shown.verdict.caveats]
    [text] = [one.text for one in after.verdict.caveats if one.title == "Gains that collapsed"]
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


def test_figures_and_lists_are_written_as_people_read_them() -> None:
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


def test_programs_in_turns_are_named_and_many_are_counted() -> None:
    for names, told in (("a", "a"), ("ab", "a and b in turns"), ("abcd", "a, b, c and d in turns")):
        assert text.in_turns(names) == told
    assert text.in_turns("abcde") == "5 programs in turns"


def test_same_study_has_the_same_programs_and_times_everywhere(later: Path) -> None:
    """A champion without its ideas is a control, no program of the study; time of the runs is named as such."""
    live = LiveStudy.read(later)
    with open_study(later, views=VERDICT_VIEWS) as con:
        [(seconds,)] = con.execute("SELECT sum(spent_seconds) FROM device_time()").fetchall()
        cost = verdict_of(con).cost
    assert StudyStatus(live, False).programs == len(live.programs) - 1
    assert wording.duration(seconds) in cost


def runs(*given: tuple[str, str, float]) -> list[RunGain]:
    stock = {"stock": starter("stock").program_id}
    return [
        RunGain(f"r{number}", stage, stock.get(program, program), program, gain, "nats")
        for number, (stage, program, gain) in enumerate(given)
    ]


def test_line_is_the_mean_of_the_best_and_at_the_end_champion() -> None:
    given = runs(("opening", "stock", 0.1), ("opening", "a", 0.2), ("opening", "a", 0.4), ("generation-1", "b", 0.5),
                 ("confirmation", "b", 0.4), ("confirmation", "c", 1.0), ("confirmation", "stock", -3.0))  # fmt: skip
    [shown] = of_runs(given, "b")
    y = Axis(-1.0, 1.0, BOTTOM, TOP)  # no loss stretches it beyond the largest gain
    assert [line[1] for line in shown.lines[:3]] == [y(0.3), y(0.5), y(0.4)] and len(shown.lines) == 5
    assert [dot.y for dot in shown.dots[-3:]] == [y(0.4), y(1.0), BOTTOM] and "−3.000" in shown.dots[-1].title
    assert [dot.kind for dot in shown.dots] == ["k3", "k2", "k2", "k0", "k0", "k2", "k3"]
    assert [name for _, name in shown.columns] == ["opening", "1", "confirmation"]
    assert shown.legend[0] == ("k0", "a run of b, the champion") and "0.300 at first, 0.400 nats at last" in shown.said
    assert [line[1] for line in of_runs(given, None)[0].lines[:3]] == [y(0.3), y(0.5), y(1.0)]


def test_single_match_has_a_column_per_program_and_pictures() -> None:
    given = runs(("match", "a", 0.2), ("match", "b", 0.6), ("match", "a", 0.4))
    [shown] = of_runs(given, None)
    assert [name for _, name in shown.names] == ["a", "b"] and len(shown.lines) == 2  # nothing joins programs
    assert not shown.columns and len(shown.intervals) == 2  # of a: b has one run
    assert shown.dots[0].x == shown.dots[1].x != shown.dots[2].x and shown.dots[2].kind == "k0"
    other = RunGain("r9", "match", "a", "a", 3.0, "bits")
    assert ["nats" in each.label for each in of_runs([*given, other], None)] == [True, False]
    assert of_runs([], None) == []


def test_programs_of_the_last_match_have_the_intervals_of_table() -> None:
    long = "idea-queue-v2-without-ideas"
    last = [("confirmation", program, gain) for program in ("b", long) for gain in (0.3, 0.4, 0.5)]
    given = runs(("opening", "a", 0.2), ("opening", "a", 0.4), *last)
    [shown] = of_runs(given, "b")
    assert [name for _, name in shown.names] == ["a", "b", "idea-queue-v2-wit…"]
    y, mean = Axis(0.0, 0.5, BOTTOM, TOP), mean_interval([0.3, 0.4, 0.5])
    (x, low, same, high), (left, middle, right, level), *_ = shown.intervals
    assert (x, low, high) == (same, y(mean.low or 0), y(mean.high or 0)) and middle == level == y(0.4)
    assert left < x < right and x > shown.names[1][0] and len(shown.intervals) == 4
    assert shown.legend[-1][0] == "interval" and "interval" not in dict(of_runs(given[:1], None)[0].legend)
    crowd = of_runs(runs(*[("match", f"p{number}", 0.1) for number in range(40)]), None)
    assert not crowd[0].names  # they would cover each other


def test_names_of_programs_are_turned_only_where_they_are_long() -> None:
    for programs, is_level in (("a b c", True), ("idea-queue-v2 local careful one-line", False)):
        [shown] = of_runs(runs(*[("match", name, 0.1) for name in programs.split()]), None)
        assert shown.is_level is is_level


def test_main_of_a_night_begins_at_the_untouched_script() -> None:
    turns = [
        MainTurn("r", number, program, 60.0 * (number + 1), 0.0, change, metric, 2.0)
        for number, (program, change, metric) in enumerate([("b", "lr=1", 1.5), ("a", None, 1.4), ("a", "lr=2", 1.0)])
    ]
    shown = of_night(turns, "nll", "lower")
    y, x = Axis(1.0, 2.0, BOTTOM, TOP), Axis(0.0, 3.0, LEFT, RIGHT)
    assert shown.lines[:3] == [
        (LEFT, y(2.0), x(1.0), y(2.0)), (x(1.0), y(1.5), x(3.0), y(1.5)), (x(3.0), y(1.0), RIGHT, y(1.0))
    ]  # fmt: skip
    assert [(dot.x, dot.kind) for dot in shown.dots] == [(x(1.0), "k0"), (x(3.0), "k1")]
    assert shown.label == "nll of main (lower is better)" and shown.legend[1] == ("k1", "kept change of a")
    assert of_night([replace(turns[1], number=0)], "nll", "lower").lines == [(LEFT, BOTTOM, RIGHT, BOTTOM)]


def test_kept_changes_of_many_programs_have_one_mark() -> None:
    turns = [MainTurn("r", n, name, 60.0 * (n + 1), 0.1, "lr=1", 1.0, 2.0) for n, name in enumerate("abcd")]
    [three], [four] = (of_nights(turns[:many], {"r": ("nll", "lower")}) for many in (3, 4))
    assert [dot.kind for dot in three.dots] == ["k0", "k1", "k3"] and len(three.legend) == 4
    assert [dot.kind for dot in four.dots] == ["k0"] * 4
    assert four.legend == [("k0", "kept change"), ("line", "main")]


def test_title_names_the_night_where_there_are_several() -> None:
    turns = [MainTurn(run_id, 0, "a", 60.0, 0.1, "lr=1", 1.0, 2.0) for run_id in ("first-night", "other-night")]
    metrics = {"first-night": ("nll", "lower"), "other-night": ("error", "lower")}
    titles = [shown.title for shown in of_nights(turns, metrics)]
    assert [title.partition(", night ")[2] for title in titles] == ["first", "other"]
    assert [", night " in shown.title for shown in of_nights(turns[:1], metrics)] == [False]


def test_axis_has_round_ticks_and_keeps_what_lies_beyond_ends() -> None:
    for low, high, labels in ((0.0, 1.0, ["0", "0.5", "1.0"]), (-2.0, 3.0, ["−2", "0", "2"])):
        axis = Axis(low, high, 100.0, 0.0)
        assert [label for _, label in axis.ticks(3)] == labels
        assert (axis(low - 1), axis(high + 1), axis((low + high) / 2)) == (100.0, 0.0, 50.0)
