"""The charter's fields, each seen in what a run does."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.audit.verify import How, Sample
from inner_loop.behaviour import behaviour_id, inert_directives
from inner_loop.events import Proposal
from inner_loop.scripted.confirm import confirm
from programs.charter import promoted
from programs.shelf import starter
from tests.inner_loop.play import FULL, Event, open_bench, play, program
from tests.trainer import foreign_repos
from trainer.edits import Edit
from trainer.experiment import Trainer
from trainer.streams import Streams

NO_FAULTS = "focus: [optimizer, model]"


@pytest.fixture
def trainer(cached: Trainer) -> Trainer:
    """What a program does with its measurements is looked at here, and many of these runs measure the same."""
    return cached


def test_screening_promotes_the_best_of_a_wave_by_the_fraction(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nscreen: {{fraction: 0.25, promote: 0.34}}\nwave: 6"), 8)
    rows = played.experiments
    first, full = rows[1:7], rows[7:9]
    assert {(row["fraction"], row["parent_number"], row["decision"]) for row in first} == {(0.25, 0, "screen")}
    assert len({row["source_id"] for row in first}) == 6
    best = sorted(first, key=lambda row: row["metric"])[:2]
    assert [(row["fraction"], row["edit"]) for row in full] == [(1.0, row["edit"]) for row in best]
    assert {row["decision"] for row in full} <= {"keep", "discard"}
    assert all(row["fraction"] == 1.0 for row in played.decided("keep"))
    kept = full[0]["decision"] == "keep"
    assert full[1]["parent_number"] == (7 if kept else 0), "the second is tried on top of what its wave kept"


@pytest.mark.parametrize(
    ("charter", "budget"), [("screen: {fraction: 0.5, promote: 0.2}\nwave: 10", 4), ("confirm: 0.2", 8)]
)
def test_budget_too_small_for_a_charter_is_used_for_the_search(trainer: Trainer, charter: str, budget: int) -> None:
    """A wave that could not end is made smaller; a share that confirms nothing is searched with."""
    played = play(trainer, program(charter), budget)
    assert any(row["fraction"] == 1.0 and row["number"] > 0 for row in played.experiments)
    assert played.result.forfeited < FULL and not played.decided("confirm")
    assert (1 < len(played.decided("screen")) < 10) == ("screen" in charter)


def test_screen_on_a_command_without_a_budget_trains_in_full(tmp_path: Path) -> None:
    task = foreign_repos.made(foreign_repos.shell(tmp_path / "task"), replace(foreign_repos.SHELL, budget=1.0))
    screened, plain = (
        program(f"{text}wave: 3\nproposers: {{local: 1.0}}") for text in ("screen: {fraction: 0.25}\n", "")
    )
    played = play(foreign_repos.trainer_of(task, fixed_steps=True), screened, 8, full=task.cost_seconds)
    assert not task.scales and len(played.experiments) > 4
    charged = [(event["fraction"], event["device_seconds_charged"]) for event in played.experiments]
    assert charged == [(1.0, pytest.approx(task.cost_seconds))] * len(charged) and not played.decided("screen")
    assert behaviour_id(screened, task) == behaviour_id(plain, task)
    assert "screen.promote: 0.16" in [directive.text for directive in inert_directives(starter("local-screen"), task)]
    sample = Sample("source", task.baseline(), 3, ablate=True)
    assert [job.fraction for job in sample.jobs(task, How(Streams.from_seed(1)))] == [1.0] * 3, "none untrained"


def test_shares_of_a_wave_that_are_promoted() -> None:
    assert [promoted(*pair) for pair in [(12, 1 / 6), (6, 0.25), (3, 0.1), (4, 1.0)]] == [2, 2, 1, 4]


def test_wave_in_full_keeps_its_best_only(trainer: Trainer) -> None:
    rows = play(trainer, program(f"{NO_FAULTS}\nwave: 4"), 9).experiments
    assert [row["parent_number"] for row in rows[1:5]] == [0] * 4
    best = min(rows[1:5], key=lambda row: row["metric"])
    assert best["metric"] < rows[0]["metric"]
    assert [row["number"] for row in rows[1:5] if row["decision"] == "keep"] == [best["number"]]


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


def test_no_repeat_trains_no_source_twice_and_then_ends(trainer: Trainer) -> None:
    text = "proposers: {queue: 1, random: 1, local: 1, tpe: 1}\nwave: 2"
    sources = [row["source_id"] for row in play(trainer, program(text, ["`lr=0.1`", "`lr=0.1`"]), 12).experiments]
    assert len(set(sources)) == len(sources) == 12
    ended = play(trainer, program("focus: [faults]"), 9)
    assert len(ended.experiments) == 4 and ended.result.state == "finished"
    assert ended.result.forfeited == pytest.approx(5 * FULL)


def test_avoid_failures_tries_no_failed_value_again(trainer: Trainer) -> None:
    careless = play(trainer, program("focus: [faults]\nno_repeat: false"), 9)
    careful = play(trainer, program("focus: [faults]\nno_repeat: false\navoid_failures: true"), 9)
    assert len(careless.experiments) == 9
    values = [row["edit"]["set"]["FAULT"] for row in careful.experiments[1:]]
    assert sorted(values) == ["memory", "nan", "raise"]


def test_candidates_that_fail_are_discarded_and_charged(trainer: Trainer) -> None:
    played = play(trainer, program("proposers: {queue: 1}", ["`fault=raise`", "`fault=nan`", "`lr=0.1`"]), 4)
    rows = [(row["status"], row["decision"], row["device_seconds_charged"]) for row in played.experiments]
    outcomes = [("ok", "baseline"), ("crash", "discard"), ("invalid", "discard"), ("ok", "keep")]
    assert rows == [(*outcome, pytest.approx(FULL)) for outcome in outcomes]
    reason = [event["reason"] for event in played.events if event["kind"] == "decision"][1]
    assert reason.startswith("crash: ") and "this source is broken" in reason


def test_focus_limits_all_proposers_and_an_unknown_group_none(trainer: Trainer) -> None:
    def edits(text: str, *ideas: str) -> list[Event]:
        return [row["edit"] for row in play(trainer, program(text, ideas), 9).experiments]

    mixed = "proposers: {queue: 1, random: 1, local: 1, tpe: 1}\nfocus: [optimizer]"
    focused = edits(mixed, "`init=zero`", "`lr=0.3`")
    assert {name for edit in focused for name in (*edit["set"], *edit["apply"])} <= {"LR", "MOMENTUM", "BATCH"}
    assert edits("focus: [attention]") == edits("")


def test_simplicity_makes_added_lines_earn(trainer: Trainer) -> None:
    ideas = ["`+bias` `momentum=0.9`", "`lr=0.3`"]  # the first adds a line
    greedy, frugal = (
        play(trainer, program(f"proposers: {{queue: 1}}{more}", ideas), 3) for more in ("", "\nsimplicity: 5.0")
    )
    assert list(greedy.decisions.values())[:2] == ["baseline", "keep"]
    assert list(frugal.decisions.values()) == ["baseline", "discard", "keep"]


def test_paired_seeds_are_fresh_for_every_candidate(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nkeep: {{rule: paired, pairs: 1}}"), 14)
    by_seed: dict[int, set[str]] = defaultdict(set)
    for row in played.decided("replicate"):
        by_seed[row["seed"]].add(row["source_id"])
    assert by_seed and all(len(sources) == 2 for sources in by_seed.values())


def test_confirmation_spends_its_share_on_fresh_seeds_of_best(trainer: Trainer) -> None:
    played = play(trainer, program(f"{NO_FAULTS}\nconfirm: 0.4"), 20)
    confirmed, fresh = played.decided("confirm"), defaultdict[str, list[float]](list)
    assert len(confirmed) == 8 and played.experiments[-8:] == confirmed
    assert not {row["seed"] for row in confirmed} & {row["seed"] for row in played.experiments[:-8]}
    for row in confirmed:
        fresh[row["source_id"]].append(row["metric"])
    assert {len(values) for values in fresh.values()} == {2}
    assert played.result.final.source_id == min(fresh, key=lambda name: sum(fresh[name]))
    assert played.result.forfeited == pytest.approx(0.0)


@pytest.mark.parametrize(("left", "candidates"), [(9, 4), (6, 3), (3, 2), (1, 0)])
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
