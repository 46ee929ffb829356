"""One decision: whatever a confirmation comes to, every page and command shows the same verdict, and none another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from analysis.ledger import Ledger, read
from analysis.ledger.run_state import StudyState
from analysis.statistics import Estimate
from analysis.study import open_study, query
from analysis.trackers import tracked
from analysis.verdict.caveats import caveats
from analysis.verdict.decision import BETTER, OPEN, Compared, Contributed, Decision, HeldOut, decision_of
from analysis.verdict.origin import Origin
from analysis.verdict.verdict import VIEWS, decided, verdict_of
from bench.common import champion_of
from bench.contradiction import plants, rules
from bench.contradiction.laws import HIGH, Plant, stock
from bench.contradiction.screens import screens
from bench.contradictions import bases, judged
from bench.whole import resized
from meta.cli.study_result import next_commands
from meta.outcome.evidence_page import training_cost
from programs.program import Program
from tests.meta.evolved import evolved
from tests.studies import TINY, planted

PLAN = resized(TINY, generations=0, final={"champion": 6, "control": 6, "a/a": 4, "start": 3})
Made = Callable[[str], Path]
# The two arms of stock differ significantly, and nothing is verified.
AHEAD = Plant("one", {"champion": HIGH, **stock([0.1, 0.12, 0.08, 0.1, 0.11, 0.09], [0.6, 0.62, 0.58, 0.6])},
              trust="unverified")  # fmt: skip
# The champion beats stock's first arm alone, not both arms; these two differ by chance (p = .02).
POOLED = Plant("one", {"champion": [0.6, 0.9, 0.4, 0.7, 0.8, 0.5],
                       **stock([0.1, 0.5, 0.3, 0.2, 0.45, 0.25], [0.9, 0.4, 0.7, 0.5])})  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Studies of simulated tasks that have ended, of which copies are given what their confirmation measured."""
    return bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def ahead(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plants.planted(AHEAD, made, tmp_path_factory.mktemp("ahead") / "study")


@pytest.fixture(scope="module")
def shown_ahead(ahead: Path) -> dict[str, str]:
    return screens(ahead)


@pytest.fixture
def decision(ahead: Path) -> Decision:
    return decision_of(champion_of(ahead) or {})


@pytest.mark.parametrize(("plant", "state"), [(POOLED, OPEN), (AHEAD, BETTER)], ids=("POOLED", "AHEAD"))
def test_every_screen_shows_the_same_verdict(
    made: Made, ahead: Path, shown_ahead: dict[str, str], tmp_path: Path, plant: Plant, state: str
) -> None:
    folder = ahead if plant is AHEAD else plants.planted(plant, made, tmp_path / "study")
    event = champion_of(folder) or {}
    d = decision_of(event)
    assert d.state == state and event["holds"] == d.holds == (state == BETTER)
    matches = query(folder, "SELECT match_id FROM matches WHERE purpose = 'confirmation'")
    assert [row["match_id"] for row in matches] == list(d.match_ids)
    found = decided(d)
    with open_study(folder, views=VIEWS) as con:
        whole = verdict_of(con)
    assert whole.sentences == found.sentences and whole.table == found.table and whole.experiments > 0
    assert found.headline.startswith(f"{d.name} {'beats stock by' if d.holds else 'is not shown to beat stock: '}")
    shown = shown_ahead if plant is AHEAD else screens(folder)
    assert len(shown) == 13 and rules.of_study(shown, whole) == []
    sent = tracked(folder)[-1]
    assert sent.summary["headline"] == found.headline and sent.summary["p"] == d.p
    assert all(caveat.text in str(sent.summary["caveats"]) for caveat in whole.caveats)
    assert (sent.summary["winner"] == d.name) == d.holds
    rows = {(row.program, row.role): row for row in found.rows}
    standings = query(folder, "SELECT role, gain FROM standings WHERE purpose = 'confirmation'")
    gain = {row["role"]: row["gain"] for row in standings}
    assert rows[d.name, "champion"].gain == pytest.approx(gain["champion"])
    assert rows["stock", "stock"].n == 10 and rows["stock", "stock"].difference == pytest.approx(d.tested.lead.value)
    [aa] = [row for row in found.rows if "A/A" in row.program]
    assert aa.gain == pytest.approx(gain["a/a"] - gain["control"]) and (plant is not AHEAD or (aa.low or 0) > 0)
    assert found.note and all(found.note in rules.flat(shown[name]) for name in ("evidence", "report"))
    assert ("stop" in {caveat.level for caveat in whole.caveats}) == (plant is AHEAD)
    assert all(one.title in rules.flat(shown[name]) for one in whole.caveats for name in ("evidence", "report"))


def test_no_sentences_contradict_each_other(made: Made, tmp_path: Path) -> None:
    """`.ci/monthly` judges all planted studies."""
    seen, clashes = judged("stopped before the confirmation, stock's arms differ", tmp_path / "study", made)
    assert seen > 3 and not clashes


def test_a_broken_sentence_is_reported(ahead: Path, shown_ahead: dict[str, str]) -> None:
    with open_study(ahead, views=VIEWS) as con:
        found = verdict_of(con)
    assert found.decision is not None
    for screen, old, new in (
        ("card", "beats stock by", "is not shown to beat stock by"),
        ("evidence", "planned test, one-sided p", "planned test, one-sided q"),
        ("end", "\n", "\nStock is better than it all the same.\n"),
    ):
        assert old in shown_ahead[screen]
        broken = shown_ahead[screen].replace(old, new, 1)
        assert rules.of_study({**shown_ahead, screen: broken}, found), screen
    for wrong in (replace(found.decision, p=0.2), replace(found.decision, state="open")):
        assert list(rules.of_decision(wrong))


def test_sentences_say_what_evolution_added_and_held_out_gains(decision: Decision) -> None:
    d = decision
    start = Compared("learnt", Estimate(0.8), Estimate(0.2, 0.05, 1e9), d.tested.ratio)
    added = replace(d, origin=Origin("learnt", 2), start=start)
    assert [row.difference for row in decided(added).rows if row.role == "start"] == [0.2]
    assert "Evolution added +0.20" in decided(added).sentences[1] and "significant" not in decided(added).sentences[1]
    unclear = replace(added, start=replace(start, lead=Estimate(0.2, 0.15, 1e9)))
    assert decided(unclear).sentences[1].endswith("(not significant).")
    assert "nothing better than learnt" in decided(replace(d, origin=Origin("learnt"))).sentences[1]
    assert "was not measured" in decided(replace(d, origin=Origin("learnt", 1))).sentences[1]
    of_stock = "Evolution added this difference to stock, the program it started from."
    assert decided(replace(d, origin=Origin("stock", 1))).sentences[1] == of_stock
    beside = replace(d, own="mine", tested=replace(d.tested, name="mine"), beside=replace(start, name="stock"))
    assert "Evolution added +0.20" in decided(replace(beside, origin=Origin("stock", 1))).sentences[1]
    there = HeldOut("far", "nats", Estimate(0.5), replace(start, name="stock"), 0.03, False)
    alike = HeldOut("near", "nats", None, None, None, False)
    tested, none = decided(replace(d, origin=None, held_out=(there, alike))).sentences[1:]
    assert "stock 0.800: +0.200 [0.102, 0.298] (one-sided p = 0.03 after Holm)" in tested and "not run" in none


def test_a_night_without_a_turn_says_that_no_change_was_tried(decision: Decision) -> None:
    night = (Contributed("mine", 0, 0, 0.0), Contributed("other", 0, 0, 0.0))
    d = replace(decision, night=night, scripts=(), state=OPEN, p=1.0)
    assert decided(d).sentences == ("main is the untouched script: no change was tried.",)
    tried = replace(d, night=(replace(night[0], turns=1), night[1]))
    assert decided(tried).sentences[0].endswith("no change was kept.") and "p = 1" in decided(tried).sentences[1]


def test_night_without_an_equal_block_says_no_test_was_possible(decision: Decision) -> None:
    """One program had a turn when the night ended, the other one had none."""
    night = (Contributed("mine", 1, 0, 0.0), Contributed("other", 0, 0, 0.0))
    shown = decided(replace(decision, name="other", night=night, scripts=(), state=OPEN, p=None, short=True))
    assert shown.sentences[1].startswith("No test of other against ") and "p = 1" not in shown.text
    assert shown.state == "open"


def test_caveats_stand_below_the_headline_on_every_screen(ahead: Path, shown_ahead: dict[str, str]) -> None:
    with open_study(ahead, views=VIEWS) as con:
        found = verdict_of(con)
    recorded = decided(decision_of(champion_of(ahead) or {}))
    assert found.doubts and recorded.warnings == found.warnings
    stops = {"report": found.cost, "evidence": "| program |", "end": "evidence ", "end, piped": "evidence "}
    for name, stop in stops.items():
        shown = " ".join(rules.flat(shown_ahead[name]).split("\n"))
        below = shown[shown.rindex(rules.flat(found.headline)) :].partition(stop)[0]
        assert all(title in below for title in found.doubts), name
    commit = found.text.split("\n\n")
    at = commit.index(found.sentences[0])
    assert commit[at + 1 : at + 1 + len(found.warnings)] == found.warnings


def test_difference_not_shown_has_the_runs_that_would_show_it(ahead: Path, decision: Decision) -> None:
    d = decision
    small = replace(d, state=OPEN, p=0.2, tested=replace(d.tested, lead=Estimate(0.05, 0.08, 1e9)))
    last = decided(small).sentences[-1]
    assert re.fullmatch(r"To show this difference with 80% power, it takes about [\d,]+ runs of each\.", last)
    less = replace(small, tested=replace(small.tested, lead=Estimate(-0.05, 0.08, 1e9)))
    assert "80% power" not in decided(less).text


def test_next_commands_by_study_commit_report_export_and_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (task := tmp_path / "task").mkdir()
    (study := tmp_path / "my study").mkdir()
    report, again = "metaloop report 'my study'", "--from 'my study'  # a new study that starts from its programs"
    assert next_commands(study, "strokes", None, True) == [report, f"metaloop evolve {again}"]
    (study / "champion.md").touch()
    (tmp_path / "champion-prose.md").touch()  # of an earlier export, which no command overwrites
    export = "metaloop export 'my study' --for agent -o champion-prose-2.md"
    go_on = f"metaloop improve '/my program.md' {again}"
    assert next_commands(study, str(task), "/my program.md", True) == [report, export, go_on]  # in no repository
    (tmp_path / ".git").mkdir()
    (study / "champion").mkdir()
    several = "metaloop export 'my study' --for agent -o champion-prose"
    apply = "metaloop resume 'my study' --apply"
    assert next_commands(study, str(task), "/my program.md", True) == [apply, report, several, go_on]


@pytest.mark.parametrize(
    ("trainings", "words"),
    [
        # steps, CPU time and wall time in s, of the trainings of the untouched script, by turns
        ([(40, 1.0, 3.0), (90, 1.0, 1.1), (91, 1.0, 1.1)], "40 to 9[01] steps"),
        ([(72, 1.0, 1.1), (109, 1.0, 1.1), (90, 1.0, 1.1)], ""),  # an idle machine
        ([(None, 3.3, 10.0), (None, 9.8, 10.0), (None, 9.8, 10.1)], "3.3 to 9.8 s of CPU time"),  # its own clock
        ([(None, 8.0, 29.0), (None, 10.0, 10.2), (None, 10.0, 10.2)], ""),  # fixed work, other load
    ],
)
def test_other_load_is_a_caveat_where_it_changes_trainings(
    ahead: Path, tmp_path: Path, trainings: list[tuple[int | None, float, float]], words: str
) -> None:
    drawn = cycle(trainings)
    with Ledger(tmp_path / "ledger", "main") as ledger:
        for event in plants.rewritten(list(read(ahead / "ledger")), Plant("one")):
            if event["kind"] in ("experiment", "baseline"):
                steps, cpu, wall = next(drawn)
                event |= {"device_seconds_spent": cpu, "wall_seconds": wall}
                event |= {"steps": steps} if event["kind"] == "experiment" else {}
            ledger.append(event, sync=False)
    with open_study(tmp_path, views=VIEWS) as con:
        found = [caveat.text for caveat in caveats(con) if caveat.title == "Other load on the machine"]
    assert len(found) == bool(words) and all(re.search(words, text) for text in found)


@pytest.mark.slow
def test_improve_is_tested_against_the_users_own_program(tmp_path: Path) -> None:
    folder, own = tmp_path / "s", Program.parse(plants.OWN, "mine")
    plan = resized(PLAN, generations=1, generation_runs=2, final={"own": 6})
    decision = evolved(folder, planted(tmp_path / "law"), plan, seed=2, programs=[own]).decision
    averages = "SELECT role, avg(verified_gain) AS gain FROM runs WHERE purpose = 'confirmation' GROUP BY 1"
    gains = {row["role"]: row["gain"] for row in query(folder, averages)}
    assert decision.against_own and decision.tested.name == "mine" and decision.beside is not None
    assert decision.tested.lead.value == pytest.approx(gains["champion"] - gains["own"])
    assert [row.role for row in decided(decision).rows if row.program == "stock"] == ["stock"]


@pytest.mark.slow
def test_confirmation_compares_a_champion_with_its_start(tmp_path: Path) -> None:
    plan = resized(PLAN, generations=1, final={"champion": 4, "control": 4, "without-ideas": 0})
    d = evolved(tmp_path / "study", planted(tmp_path / "law"), plan, seed=1).decision
    runs = "SELECT name, count(*) AS n FROM runs WHERE role = 'start' GROUP BY name"
    assert query(tmp_path / "study", runs) == [{"name": "local-screen", "n": 3}]
    assert d.start is not None and d.start.name == "local-screen" and d.start.gain.n == 3 and d.tested.name == "stock"
    assert d.start.lead.value == pytest.approx(d.champion.or_zero - d.start.gain.or_zero)


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [(9.0, 10.0, "Average training: 9 s of device time (untouched script: 10 s)."), (30.0, 10.0, "longer training."),
     (0.0, 10.0, "")],
)  # fmt: skip
def test_training_that_takes_longer_than_before_is_named(now: float, before: float, said: str) -> None:
    new = SimpleNamespace(device_seconds_spent=now, status="ok")
    old = SimpleNamespace(
        task="t", stream="confirmation", device_seconds_spent=3 * before, further_seconds=2 * before, status="ok"
    )
    state = SimpleNamespace(harvested={("t", "harvest"): {("measure", 0): new}}, baselines_of=lambda *_: [old])
    assert training_cost(cast(StudyState, state), "t").endswith(said)
