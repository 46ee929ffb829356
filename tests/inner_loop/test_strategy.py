"""The charter's fields, each seen in what a run does."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

from inner_loop.events import Proposal
from inner_loop.scripted.confirm import confirm
from programs.charter import promoted
from tests.inner_loop.play import FULL, Event, Played, open_bench, play, program
from trainer.edits import Edit
from trainer.experiment import Trainer

NO_FAULTS = "focus: [optimizer, model]"


@pytest.fixture
def trainer(cached: Trainer) -> Trainer:
    """What a program does with its measurements is looked at here, and many of these runs measure the same."""
    return cached


def test_screening_promotes_the_best_of_a_wave_by_the_fraction(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nscreen: {{fraction: 0.25, promote: 0.34}}\nwave: 6"), 8)
    rows = played.experiments
    first = rows[1:7]
    assert {row["fraction"] for row in first} == {0.25}
    assert {row["parent_number"] for row in first} == {0}
    assert [row["decision"] for row in first] == ["screen"] * 6
    assert len({row["source_id"] for row in first}) == 6
    full = list(rows[7:9])
    assert {row["fraction"] for row in full} == {1.0}
    best = sorted(first, key=lambda row: row["metric"])[:2]
    assert [row["edit"] for row in full] == [row["edit"] for row in best]
    assert {row["decision"] for row in full} <= {"keep", "discard"}
    assert all(row["fraction"] == 1.0 for row in played.decided("keep"))
    kept = rows[7]["decision"] == "keep"
    assert rows[8]["parent_number"] == (7 if kept else 0), "the second is tried on top of what its wave kept"


def test_a_wave_that_cannot_end_is_made_smaller(trainer: Trainer) -> None:
    played = play(trainer, program("screen: {fraction: 0.5, promote: 0.2}\nwave: 10"), 4)
    screened = played.decided("screen")
    assert 1 < len(screened) < 10
    assert any(row["fraction"] == 1.0 and row["number"] > 0 for row in played.experiments)
    assert played.result.forfeited < FULL


def test_shares_of_a_wave_that_are_promoted() -> None:
    assert [promoted(*pair) for pair in [(12, 1 / 6), (6, 0.25), (3, 0.1), (4, 1.0)]] == [2, 2, 1, 4]


def test_a_wave_in_full_keeps_its_best_only(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nwave: 4"), 9)
    rows = played.experiments
    assert [row["parent_number"] for row in rows[1:5]] == [0] * 4
    kept = [row for row in rows[1:5] if row["decision"] == "keep"]
    best = min(rows[1:5], key=lambda row: row["metric"])
    assert [row["number"] for row in kept] == ([best["number"]] if best["metric"] < rows[0]["metric"] else [])
    assert len(kept) == 1


def test_replicates_decide_by_their_mean(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nreplicates: 3"), 15)
    metrics: dict[str, list[Any]] = defaultdict(list)
    for row in played.experiments:
        metrics[row["source_id"]].append(row["metric"])
    head = played.experiments[0]
    for row in played.experiments:
        if row["replicate"] == 0 and row["number"] > 0:
            mine, others = metrics[row["source_id"]][:3], metrics[head["source_id"]][:3]
            assert len(mine) == 3
            better = None not in mine and sum(mine) < sum(others)  # one replicate that diverged is enough to lose
            assert row["decision"] == ("keep" if better else "discard")
            head = row if better else head
    assert Counter(row["replicate"] for row in played.experiments) == {0: 5, 1: 5, 2: 5}


def test_no_repeat_never_trains_a_source_twice(trainer: Trainer) -> None:
    text = "proposers: {queue: 1, random: 1, local: 1, tpe: 1}\nwave: 2"
    played = play(trainer, program(text, ["`lr=0.1`", "`lr=0.1`"]), 20)
    sources = [row["source_id"] for row in played.experiments]
    assert len(set(sources)) == len(sources) == 20


def test_no_repeat_ends_when_there_is_nothing_left(trainer: Trainer) -> None:
    played = play(trainer, program("focus: [faults]"), 9)
    assert len(played.experiments) == 4
    assert played.result.forfeited == pytest.approx(5 * FULL)
    assert played.result.state == "finished"


def test_avoid_failures_tries_no_failed_value_again(trainer: Trainer) -> None:
    careless = play(trainer, program("focus: [faults]\nno_repeat: false"), 9)
    careful = play(trainer, program("focus: [faults]\nno_repeat: false\navoid_failures: true"), 9)
    assert len(careless.experiments) == 9
    values = [row["edit"]["set"]["FAULT"] for row in careful.experiments[1:]]
    assert sorted(values) == ["memory", "nan", "raise"]


def test_failing_candidates_are_discarded_and_the_run_goes_on(trainer: Trainer) -> None:
    played = play(trainer, program("proposers: {queue: 1}", ["`fault=raise`", "`fault=nan`", "`lr=0.1`"]), 4)
    assert [row["status"] for row in played.experiments] == ["ok", "crash", "invalid", "ok"]
    assert [row["device_seconds_charged"] for row in played.experiments] == [pytest.approx(FULL)] * 4
    assert list(played.decisions.values()) == ["baseline", "discard", "discard", "keep"]
    reasons = [event["reason"] for event in played.events if event["kind"] == "decision"]
    assert reasons[1].startswith("crash: ")
    assert "this source is broken" in reasons[1]


def test_focus_limits_all_proposers_and_an_unknown_group_none(trainer: Trainer) -> None:
    text = "proposers: {queue: 1, random: 1, local: 1, tpe: 1}\nfocus: [optimizer]"
    played = play(trainer, program(text, ["`init=zero`", "`lr=0.3`"]), 12)
    knobs = {name for row in played.experiments for name in (*row["edit"]["set"], *row["edit"]["apply"])}
    assert knobs <= {"LR", "MOMENTUM", "BATCH"}
    free = play(trainer, program("focus: [attention]"), 12)
    assert told_edits(free) == told_edits(play(trainer, program(), 12))


def test_simplicity_makes_added_lines_earn(trainer: Trainer) -> None:
    ideas = ["`+bias` `momentum=0.9`", "`lr=0.3`"]  # the first adds a line
    greedy = play(trainer, program("proposers: {queue: 1}", ideas), 3)
    frugal = play(trainer, program("proposers: {queue: 1}\nsimplicity: 5.0", ideas), 3)
    assert list(greedy.decisions.values())[:2] == ["baseline", "keep"]
    assert list(frugal.decisions.values()) == ["baseline", "discard", "keep"]


def test_paired_seeds_are_fresh_for_every_candidate(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nkeep: {{rule: paired, pairs: 1}}"), 14)
    by_seed: dict[int, set[str]] = defaultdict(set)
    for row in played.decided("replicate"):
        by_seed[row["seed"]].add(row["source_id"])
    assert by_seed
    assert all(len(sources) == 2 for sources in by_seed.values())


def test_confirmation_spends_its_share_on_fresh_seeds_of_best(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nconfirm: 0.4"), 20)
    confirmed = played.decided("confirm")
    assert len(confirmed) == 8
    assert played.experiments[-8:] == confirmed
    seeds = {row["seed"] for row in confirmed}
    assert not seeds & {row["seed"] for row in played.experiments[:-8]}
    fresh: dict[str, list[float]] = defaultdict(list)
    for row in confirmed:
        fresh[row["source_id"]].append(row["metric"])
    assert {len(values) for values in fresh.values()} == {2}
    assert played.result.final.source_id == min(fresh, key=lambda name: sum(fresh[name]))
    assert played.result.forfeited == pytest.approx(0.0)


@pytest.mark.parametrize(("left", "candidates"), [(20, 4), (6, 3), (4, 2), (3, 2), (1, 0)])
def test_at_most_four_candidates_are_confirmed_on_two_seeds(trainer: Trainer, left: int, candidates: int) -> None:
    """Six sources were measured; what is left buys so many experiments."""
    bench, _ = open_bench(trainer, 6 + left)
    for rate in (0.02, 0.03, 0.1, 0.2, 0.3):
        bench.decide(bench.experiment(Proposal(Edit({"LR": rate}))), "discard", "a test")
    before = len(bench.history)
    assert int(bench.remaining / bench.cost() + 1e-9) == left
    winner = confirm(bench)
    fresh = [record.source.source_id for record in bench.history[before:]]
    assert len(set(fresh)) == candidates and len(fresh) == (left // candidates * candidates if candidates else 0)
    assert (winner is bench.head) and (winner.source.source_id in fresh or not fresh)


def test_share_too_small_to_confirm_is_used_for_the_search(trainer: Trainer) -> None:
    played = play(trainer, program("confirm: 0.2"), 8)
    assert len(played.experiments) == 8
    assert not played.decided("confirm")


def test_directives_are_cited_for_what_they_led_to(trainer: Trainer) -> None:
    text = "proposers: {queue: 3, local: 1}\nscreen: {fraction: 0.5}\nwave: 3\nconfirm: 0.3"
    source = program(text, ["`lr=0.1`", "`momentum=0.9`"])
    played = play(trainer, source, 14)
    ids = {d.text.partition(":")[0]: d.directive_id for d in source.directives if d.kind == "charter"}
    ideas = {idea.directive_id for idea in source.ideas}
    for row in played.experiments[1:]:
        cited, decision = set(row["directive_ids"]), row["decision"]
        assert (ids["screen.fraction"] in cited) is (decision == "screen")
        assert (ids["confirm"] in cited) is (decision == "confirm")
        assert bool(cited & ideas) is (row["proposer"] == "queue")
        assert (ids["proposers"] in cited) is (row["proposer"] == "local")
    assert played.experiments[0]["directive_ids"] == []


def told_edits(played: Played) -> list[Event]:
    return [row["edit"] for row in played.experiments]
