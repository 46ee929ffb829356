"""One decision: whatever a confirmation comes to, every page and command shows the same verdict."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from xml.etree import ElementTree

import pytest

from analysis.ledger import Ledger, read
from analysis.ledger.run_state import StudyState
from analysis.report import page
from analysis.report.card import card, lines_of
from analysis.statistics import Mean
from analysis.study import open_study, query
from analysis.trackers.mlflow import note
from analysis.trackers.study import tracked
from analysis.verdict.decision import BETTER, OPEN, Compared, HeldOut, decision_of
from analysis.verdict.origin import Origin
from analysis.verdict.verdict import VIEWS, decided, verdict_of
from analysis.wording import plain_text
from arena.settings import StudyConfig
from meta.begin import champion_of, take_up
from meta.claim import Champion
from meta.cli.longer import ELAPSED, longer, worth_more
from meta.cli.output import Output
from meta.cli.standings import present as standings
from meta.cli.study_result import present
from meta.evidence_page import training_cost
from meta.evolve import evolve
from programs.program import Program
from tests.meta.evolved import evolved
from tests.studies import TINY, planted, silent

PLAN = replace(TINY, generations=0, confirm_runs=6, control_runs=4, run_budget=0.8, start_runs=3)
OWN = "---\nmetaloop:\n  proposers: {local: 1.0}\n---\n# Mine\n\nTake care.\n"
Ended = tuple[Path, Champion]
WRITTEN = ("seq", "prev", "hash", "schema", "at")
# Gains of the confirmation's runs by role.
APART = {"champion": [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], "control": [0.1, 0.12, 0.08, 0.1, 0.11, 0.09],
         "a/a": [0.6, 0.62, 0.58, 0.6]}  # fmt: skip
# The champion beats stock's first arm alone, not both arms; these two differ by chance (p = .02).
POOLED = {"champion": [0.6, 0.9, 0.4, 0.7, 0.8, 0.5], "control": [0.1, 0.5, 0.3, 0.2, 0.45, 0.25],
          "a/a": [0.9, 0.4, 0.7, 0.5]}  # fmt: skip
AHEAD = {"champion": [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], "control": [0.1, 0.3, 0.2, 0.15, 0.25, 0.2],
         "a/a": [0.2, 0.25, 0.15, 0.3]}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a simulated task that has ended, of which the tests change what its confirmation measured."""
    folder = tmp_path_factory.mktemp("decision")
    evolved(folder / "study", planted(folder / "law"), PLAN, seed=3)
    return folder / "study"


def measured(
    study: Path,
    folder: Path,
    gains: Mapping[str, Sequence[float]],
    trust: str = "verified",
    steps: Sequence[int] = (100,),
) -> Path:
    """A copy of the study whose confirmation came to these gains, and that has not been crowned yet. ``steps``: of its
    trainings, in turn."""
    made = cycle(steps)
    shutil.copytree(study, folder, symlinks=True)
    events = list(read(folder / "ledger"))
    shutil.rmtree(folder / "ledger")
    (folder / "ledger").mkdir()
    confirming = [e for e in events if e["kind"] == "match" and e["stream"] == "confirmation"]
    arms = {arm["arm_id"]: arm["role"] for match in confirming for arm in match["arms"]}
    order: dict[str, list[str]] = {}
    with Ledger(folder / "ledger", "main") as ledger:
        for event in events:
            kept = {key: value for key, value in event.items() if key not in WRITTEN}
            if event["kind"] == "verification" and arms.get(event["arm_id"]) in gains:
                runs = order.setdefault(event["arm_id"], [])
                runs += [event["run_id"]] if event["run_id"] not in runs else []
                gain = gains[arms[event["arm_id"]]][runs.index(event["run_id"])]
                kept |= {"gain": gain, "status": "ok", "trust": trust}
            kept |= {"steps": next(made)} if event["kind"] == "experiment" else {}
            if event["kind"] not in ("segment", "champion"):
                ledger.append(kept, sync=False)
    return folder


def crowned(folder: Path) -> Champion:
    return evolve(*take_up(folder), silent)


@pytest.fixture(scope="module")
def apart(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Crowned where the two arms of stock differ significantly; tests change copies."""
    folder = measured(study, tmp_path_factory.mktemp("apart") / "study", APART)
    return folder, crowned(folder)


@pytest.fixture(scope="module")
def ahead(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Crowned where the champion holds; tests change copies."""
    folder = measured(study, tmp_path_factory.mktemp("ahead") / "study", AHEAD)
    return folder, crowned(folder)


def copied(ended: Ended, folder: Path) -> Path:
    return Path(shutil.copytree(ended[0], folder / "study", symlinks=True))


def printed(show: Callable[[Output], None], **mode: bool) -> str:
    with redirect_stdout(StringIO()) as stdout:
        show(Output(**(mode or {"person": True})))
    return " ".join(stdout.getvalue().split())


def outputs(folder: Path) -> dict[str, str]:
    """Everything that speaks of the verdict, its lines unbroken."""
    with open_study(folder) as con:
        report, drawn = page.report(con, str(folder)), ElementTree.fromstring(card(con, str(folder)))
        last = con.execute("SELECT match_id FROM matches WHERE purpose = 'confirmation' ORDER BY started_at DESC")
        match_id = str(last.fetchall()[0][0])
    texts = {
        "page": (folder / "champion.evidence.md").read_text(), "report": html.unescape(report),
        "card": " ".join(text for text in drawn.itertext() if text.strip()),
        "standings": printed(lambda out: standings(out, folder, [match_id])),
        "end": printed(lambda out: present(out, folder)),
        "piped": printed(lambda out: present(out, folder), person=False),
        "json": " ".join(json.loads(printed(lambda out: present(out, folder), as_json=True))["sentences"]),
    }  # fmt: skip
    return {name: " ".join(plain_text(text).split()) for name, text in texts.items()}


@pytest.mark.parametrize(
    ("gains", "trust", "state"),
    [(None, "verified", BETTER), (POOLED, "verified", OPEN), (AHEAD, "unverified", BETTER)],
    ids=("APART", "POOLED", "AHEAD"),
)
def test_every_screen_shows_the_same_verdict(
    study: Path, apart: Ended, tmp_path: Path, gains: Mapping[str, Sequence[float]] | None, trust: str, state: str
) -> None:
    folder, champion = apart
    if gains is not None:
        folder = measured(study, tmp_path / "study", gains, trust=trust)
        champion = crowned(folder)
    d, event = champion.decision, champion_of(folder) or {}
    assert d == decision_of(event) and d.state == state and event["holds"] == (state == BETTER)
    matches = query(folder, "SELECT match_id FROM matches WHERE purpose = 'confirmation'")
    assert [row["match_id"] for row in matches] == list(d.match_ids)
    found = decided(d)
    with open_study(folder, views=VIEWS) as con:
        whole = verdict_of(con)
    assert whole.sentences == found.sentences and whole.table == found.table and whole.experiments > 0
    assert found.headline.startswith(f"{d.name} {'beats stock by' if d.holds else 'is not shown to beat stock: '}")
    texts = outputs(folder)
    for where, text in texts.items():
        for sentence in found.sentences[: 1 if where == "card" else None]:
            assert plain_text(sentence).removesuffix(".") in text, (where, sentence)
        assert ("is not shown to beat stock" in text) != ("beats stock by" in text), where
    sent = tracked(folder)
    assert found.headline in note(sent) and sent.verdict["p"] == d.p
    assert all(caveat.text in note(sent) for caveat in whole.caveats)
    assert (sent.verdict["winner"] == d.name) == d.holds
    rows = {(row.program, row.role): row for row in found.rows}
    gain = {
        row["role"]: row["gain"]
        for row in query(folder, "SELECT role, gain FROM standings WHERE purpose = 'confirmation'")
    }
    assert rows[d.name, "champion"].gain == pytest.approx(gain["champion"])
    assert rows["stock", "stock"].n == 10 and rows["stock", "stock"].difference == pytest.approx(d.tested.difference)
    [aa] = [row for row in found.rows if "A/A" in row.program]
    assert aa.gain == pytest.approx(gain["a/a"] - gain["control"]) and (gains is not None or (aa.low or 0) > 0)
    levels = {caveat.level for caveat in whole.caveats}
    assert ("stop" in levels) == (trust == "unverified")
    assert all(plain_text(f"{one.title}") in texts[name] for one in whole.caveats for name in ("page", "report"))


def test_the_sentences_say_what_evolution_added_and_what_held_out_tasks_gave(ahead: Ended) -> None:
    d = ahead[1].decision
    start = Compared("learnt", Mean(0.8, 0.1, 3, 0.6, 1.0), 0.2, 0.1, 0.3, d.tested.ratio)
    added = replace(d, origin=Origin("learnt", 2), start=start)
    assert [row.difference for row in decided(added).rows if row.role == "start"] == [0.2]
    assert "Evolution added +0.20" in decided(added).sentences[1] and "significant" not in decided(added).sentences[1]
    assert decided(replace(added, start=replace(start, low=-0.1))).sentences[1].endswith("(not significant).")
    assert "nothing better than learnt" in decided(replace(d, origin=Origin("learnt"))).sentences[1]
    assert "was not measured" in decided(replace(d, origin=Origin("learnt", 1))).sentences[1]
    assert len(decided(replace(d, origin=Origin("stock", 1))).sentences) == 1  # the test itself compares the two
    there = HeldOut("far", "nats", Mean(0.5, 0.1, 4, 0.3, 0.7), replace(start, name="stock"), 0.03, False)
    alike = HeldOut("near", "nats", None, None, None, False)
    tested, none = decided(replace(d, origin=None, held_out=(there, alike))).sentences[1:]
    gains = "gains 0.500 nats, stock 0.800: +0.200 [0.100, 0.300] (p = 0.03 after Holm)."
    assert tested == f"On the held-out task far it {gains}"
    assert none == "On the held-out task near it acts like stock, so it was not run."


def test_a_difference_that_is_not_shown_comes_with_the_runs_that_would_show_it(ahead: Ended) -> None:
    d = ahead[1].decision
    small = replace(d, state=OPEN, p=0.2, tested=replace(d.tested, difference=0.05, low=-0.1, high=0.2))
    last = decided(small).sentences[-1]
    assert re.fullmatch(r"To show this difference with 80% power, it takes about [\d,]+ runs of each\.", last)
    assert not worth_more(small, 1.0) and worth_more(small, 10_000.0)
    less = replace(small, tested=replace(small.tested, difference=-0.05))
    assert "80% power" not in decided(less).text and not worth_more(less, 10_000.0)
    config = StudyConfig.read(ahead[0] / "study.toml")
    assert longer(ahead[0], config, less) == []
    [more] = longer(ahead[0], config, replace(small, tested=replace(small.tested, difference=0.1)))
    assert f"metaloop evolve --from {ahead[0]}" in more and " times the device time, about " in more
    with open_study(ahead[0]) as con:
        assert con.execute(ELAPSED).fetchall()[0][0] > 0


def test_the_result_fits_on_a_screen_of_150_words(ahead: Ended, capsys: pytest.CaptureFixture[str]) -> None:
    then = present(Output(person=True), ahead[0])
    shown = capsys.readouterr().out
    assert len([word for word in shown.split() if "/" not in word]) + sum(len(one.split()) for one in then) < 150
    assert all(len(line) <= 80 or "/" in line for line in shown.splitlines())


def test_other_load_on_the_machine_is_a_caveat(study: Path, ahead: Ended, tmp_path: Path) -> None:
    crowned(measured(study, tmp_path / "busy", AHEAD, steps=(40, 90, 90, 91, 40)))
    for folder, loaded in ((tmp_path / "busy", True), (ahead[0], False)):
        with open_study(folder, views=VIEWS) as con:
            assert any("40 to 9" in caveat.text for caveat in verdict_of(con).caveats) == loaded


def test_the_time_of_a_training_is_stated_and_a_longer_one_named() -> None:
    def cost(now: float, before: float) -> str:
        new = SimpleNamespace(device_seconds_spent=now, status="ok")
        old = SimpleNamespace(device_seconds_spent=before, status="ok")
        harvested, baselines = {("t", "harvest"): {("measure", 0): new}}, {("t", "confirmation", 1): old}
        return training_cost(cast(StudyState, SimpleNamespace(harvested=harvested, baselines=baselines)), "t")

    assert cost(9.0, 10.0) == "Average training: 9 s of device time (untouched train.py: 10 s)."
    assert cost(30.0, 10.0).endswith("Part of the gain may come from longer training.")
    assert cost(0.0, 10.0) == ""  # not recorded


def improved(folder: Path, text: str) -> tuple[Path, Champion]:
    own, plan = Program.parse(text, "mine"), replace(PLAN, own_arm=1, generations=1, child_runs=2)
    return folder / "s", evolved(folder / "s", planted(folder / "law"), plan, own=[own], seed=2, command="improve")


@pytest.mark.slow
def test_improve_is_tested_against_the_users_own_program(tmp_path: Path) -> None:
    folder, champion = improved(tmp_path, OWN)
    decision = champion.decision
    gains = {
        row["role"]: row["gain"]
        for row in query(folder, "SELECT role, avg(verified_gain) AS gain FROM runs WHERE purpose = 'confirmation' "
                                 "GROUP BY 1")
    }  # fmt: skip
    assert decision.against_own and decision.tested.name == "mine" and decision.beside is not None
    assert decision.tested.difference == pytest.approx(gains["champion"] - gains["own"])
    assert all("your program mine" in text for text in outputs(folder).values())
    assert [row.role for row in decided(decision).rows if row.program == "stock"] == ["stock"]


@pytest.mark.slow
def test_an_own_program_that_behaves_like_stock_is_compared_with_stock_and_told_so(tmp_path: Path) -> None:
    folder, champion = improved(tmp_path, "# Mine\n\nTake care.\n")
    assert champion.decision.same_as == "stock" and not champion.decision.against_own
    roles = {row["role"] for row in query(folder, "SELECT role FROM runs WHERE purpose = 'confirmation'")}
    assert "own" not in roles and "control" in roles
    assert all(
        "Your program acts like stock" in text for name, text in outputs(folder).items() if name in ("page", "report")
    )


@pytest.mark.slow
def test_the_confirmation_compares_a_champion_with_the_program_it_started_from(study: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, generations=1, confirm_runs=4, ablation_runs=0)
    champion = evolved(tmp_path / "study", planted(tmp_path / "law"), plan, seed=3)
    runs = "SELECT name, count(*) AS n FROM runs WHERE role = 'start' GROUP BY name"
    assert query(tmp_path / "study", runs) == [{"name": "idea-queue", "n": 3}]
    assert query(study, runs) == []  # its champion was unchanged
    start, d = champion.decision.start, champion.decision
    assert start is not None and start.name == "idea-queue" and start.gain.n == 3 and d.tested.name == "stock"
    assert start.difference == pytest.approx((d.champion.mean or 0) - (start.gain.mean or 0))


def test_a_card_marks_what_is_cut() -> None:
    assert lines_of(["one two three", "four"], 9, 3) == ["one two", "three", "four"]
    assert lines_of(["one two three four", "five"], 9, 2) == ["one two", "three fo…"]
