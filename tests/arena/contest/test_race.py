"""The race of a contest's leaders, on gains that are given or drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from arena.contest.plan import closes, plan_close
from arena.contest.ranking.announced import (
    headline,
    look_lines,
    outcomes,
    race_places,
    race_result,
    race_results,
    sentences,
)
from arena.contest.ranking.decision import decide, losses, race_rows
from arena.contest.ranking.race import Loss, Race, follow, looks_until, runs_to_separate, samples_of
from arena.contest.stored import Announcement, MeasuredRow, NamedEntry
from arena.contest.tables import ContestEntry, Person
from tests.arena.contest.hosting import decided, winner

LOOKS = looks_until(20)
CONTROL, TWIN = 8, 9


def entries(*programs: int) -> list[ContestEntry]:
    roles = [*((n, "program") for n in programs), (CONTROL, "control"), (TWIN, "a/a")]
    return [
        ContestEntry(number=n, role=role, entry_id=f"e{n}", name="x", person=Person(name=f"P{n}")) for n, role in roles
    ]


def drawn(gains: Mapping[int, float], sd: float = 0.3, seed: int = 1) -> dict[int, list[float]]:
    rng = np.random.default_rng(seed)
    return {n: (gain + sd * rng.standard_normal(LOOKS[-1])).tolist() for n, gain in gains.items()}


def raced(who: Sequence[ContestEntry], runs: Mapping[int, Sequence[float]]) -> tuple[Race, dict[int, int]]:
    """The race to its end, and the runs that each entry was given."""
    had = dict.fromkeys(runs, 0)
    while (race := follow(who, {n: runs[n][:k] for n, k in had.items()}, LOOKS)).wanted:
        assert all(runs > had[n] for n, runs in race.wanted.items())
        had |= race.wanted
    return race, had


def test_looks_grow_and_end_at_the_most_runs() -> None:
    for most in (2, 5, 6, 12, 72, 1000):
        looks = looks_until(most)
        assert looks[-1] == most and looks == sorted(set(looks)) and looks[0] == min(5, most)
    assert looks_until(6) == [5, 6] and looks_until(20) == [5, 7, 10, 14, 20]
    assert looks_until(21) == [5, 7, 10, 14, 21]  # a look at 20 would waste level


def test_the_best_is_left_and_the_others_get_few_runs() -> None:
    who = entries(3, 4, 5)
    race, had = raced(who, drawn({3: 1.0, 4: 2.0, 5: -1.0, CONTROL: 0.0, TWIN: 0.0}))
    assert race.entries == [4] and 4 in race.above_stock and race.settled
    assert had[5] < had[4] and race.out[3].to == 4 and had[4] < LOOKS[-1]
    told = decide(who, race, {n: [0.0] * k for n, k in had.items()}, 3.0)
    assert told["outcome"] == "won" and [w["number"] for w in told["winners"]] == [4] and "separate" not in told
    assert told["race"]["runs"] == sum(had.values()) < told["race"]["equal_runs"]


def test_it_goes_on_where_it_was_whatever_runs_were_cut_off() -> None:
    runs = drawn({3: 1.0, 4: 1.4, 5: 0.2, CONTROL: 0.0, TWIN: 0.0})
    race, had = raced(entries(3, 4, 5), runs)
    again = follow(entries(3, 4, 5), {n: runs[n][:k] for n, k in had.items()}, LOOKS)
    assert (again.entries, again.out, again.looked, again.wanted) == (race.entries, race.out, race.looked, {})
    cut = {n: runs[n][: min(k, 6)] for n, k in had.items()}
    assert all(runs == 7 for runs in follow(entries(3, 4, 5), cut, LOOKS).wanted.values())


def test_who_left_because_of_a_void_entry_comes_back() -> None:
    """The host declares entry 4 void in the middle: what it had beaten races again."""
    runs = drawn({3: 1.0, 4: 3.0, CONTROL: 0.0, TWIN: 0.0})
    race, had = raced(entries(3, 4), runs)
    assert {number: loss.to for number, loss in race.out.items()} == {3: 4}
    names = {3: "Ada 1", 4: "Ben 1", CONTROL: "stock"}
    left = f"out after {had[3]} runs: {race.out[3].by:.2f} below Ben 1"
    assert race_places(race, names, 2, had) == {3: left, 4: f"in the race; {had[4]} of {had[4]} runs"}
    assert f"Ada 1 is out, {race.out[3].by:.2f} below Ben 1; 1 entry still in" in look_lines(race, names, 2)[0]
    begun = follow(entries(3, 4), {number: [] for number in runs}, LOOKS)
    assert (
        race_places(begun, names, 2, {3: 2, 4: 5})[3] == ("in the race; 2 of 5 runs")
        and look_lines(begun, names, 2) == []
    )
    without = follow(entries(3), {n: runs[n][: had[n]] for n in (3, CONTROL, TWIN)}, LOOKS, leaders=2)
    assert without.entries == [3] and (without.settled or without.wanted)


def test_two_alike_share_the_win_and_the_price_is_told() -> None:
    who = entries(3, 4)
    runs = drawn({3: 1.0, 4: 1.0, CONTROL: 0.0, TWIN: 0.0}, seed=4)
    race, had = raced(who, runs)
    assert sorted(race.entries) == [3, 4] and had[3] == had[4] == LOOKS[-1]
    assert had[CONTROL] == had[TWIN] < LOOKS[-1]  # stock stops once both are above it
    gains = {n: runs[n][:k] for n, k in had.items()}
    names = {3: "Ada 1", 4: "Ben 1", CONTROL: "stock"}
    assert look_lines(race, names, 2)[-1].endswith(": none is out; 2 entries still in the race")
    told = decide(who, race, gains, 3.0)
    assert told["outcome"] == "shared" and told["separate"]["runs"] is not None
    assert told["separate"]["device_seconds"] == 6.0 * told["separate"]["runs"]
    rows = [row(n, gains[n]) for n in gains]
    shown = race_rows(rows, told, race, samples_of(who, gains))
    assert {each["number"]: (each["rank_low"], each["rank_high"]) for each in shown} == {
        3: (1, 4), 4: (1, 4), CONTROL: (2, 4), TWIN: (2, 4),
    }  # fmt: skip
    assert all(each["low"] < each["gain"] < each["high"] for each in shown)  # type: ignore[operator]
    said: Announcement = {**told, "rows": shown, "unit": "nats"}
    text = " ".join(sentences(said))
    assert race_results(said) == {3: "shares the win", 4: "shares the win", CONTROL: "–", TWIN: "–"}
    assert f"about {told['separate']['runs']:,} runs of each (" in text
    assert f"took {sum(had.values())} runs of 2 leaders and stock; at most {4 * LOOKS[-1]} were planned; " in text
    assert f"; stock stopped after {had[CONTROL]} in each arm, when every leader left was significantly above" in text


def row(number: int, gains: Sequence[float]) -> MeasuredRow:
    mean, se = float(np.mean(gains)), float(np.std(gains, ddof=1) / np.sqrt(len(gains)))
    return {"number": number, "role": "program" if number < CONTROL else "control",
            "entrant": "Ben", "name": str(number), "entry_id": f"n{number}", "gain": mean, "se": se,
            "n": len(gains)}  # type: ignore[typeddict-item]  # fmt: skip


def test_who_left_early_is_told_with_its_runs() -> None:
    who = entries(3, 4)
    race, had = raced(who, runs := drawn({3: 3.0, 4: 1.0, CONTROL: 0.0, TWIN: 0.0}))
    gains = {n: runs[n][:k] for n, k in had.items()}
    told = decide(who, race, gains, 3.0)
    rows = [{**row(n, each), "n": len(each) - 1 if n == 4 else len(each)} for n, each in gains.items()]
    said: Announcement = {**told, "rows": rows, "unit": "nats"}  # type: ignore[typeddict-item]
    assert said["outcome"] == "won" and race_results(said)[3] == "won"
    left = rf"out after {had[4]} runs: [.\d]+ below Ben 3"
    assert re.match(left, race_results(said)[4])
    assert outcomes(said) == {3: "won", 4: race_results(said)[4]}


def test_each_loser_has_one_reason_with_whom_and_how_much() -> None:
    """4 and the winner end at the same look: 4 is above stock and below 3. 5 is never separated from stock; 6 is below
    stock; 7 leaves before it is above stock."""
    who = entries(3, 4)
    race = Race(LOOKS, 0.01, [3], {3, 4}, {4: Loss(3, 0.189, 20)}, 20)
    race.samples = samples_of(who, gains := drawn({3: 0.9, 4: 0.7, CONTROL: 0.4, TWIN: 0.4}, sd=0.1))
    told = decide(who, race, gains, 3.0)
    said: Announcement = {**told, "rows": [row(n, each) for n, each in gains.items()], "unit": "nats"}
    reason = "out after 20 runs: 0.189 below Ben 3"
    assert race_results(said)[4] == outcomes(said)[4] == reason
    assert sentences({**said, "aa_difference": "A/A in these runs: …"})[-1].startswith("A/A in these runs")
    lost = {"number": 4, "by": 0.189, "runs": 7, "above_stock": False}
    for below, words in (
        (3, "out after 7 runs: 0.189 below Ben 3"),
        (CONTROL, "out after 7 runs: 0.189 below stock"),
        (None, "not significantly better than stock after 7 runs: +0.189"),
    ):
        assert race_result(said["rows"][1], {**said, "lost": [{**lost, "below": below}]}) == words  # type: ignore[list-item]


def test_entry_at_the_end_not_above_stock_has_that_reason() -> None:
    race, _ = raced(entries(3, 4), runs := drawn({3: 0.0, 4: 1.0, CONTROL: 0.0, TWIN: 0.0}, sd=2.0, seed=5))
    assert race.samples is not None and losses(race, CONTROL) == [
        {"number": n, "below": None, "by": fmean(race.samples[n]) - fmean(race.samples[CONTROL]), "runs": LOOKS[-1],
         "above_stock": False} for n in race.entries
    ] != []  # fmt: skip
    assert set(race.entries) == {3, 4} and len(runs) == 4


def test_headline_names_each_entry_once_and_a_tied_group_as_one() -> None:
    named = {3: ("Ben", "3"), 4: ("Ben", "4"), 5: ("Ada", "wide")}
    ben, again, ada = (
        NamedEntry(number=n, entry_id=f"e{n}", entrant=who, name=name) for n, (who, name) in named.items()
    )
    tied = "the runs do not separate them"
    assert headline([ben, again], ben) == f"Ben 3 and Ben 4 share the win: {tied}"
    assert headline([ben, again, ada], ben) == f"Ben 3, Ben 4 and Ada: wide share the win: {tied}"
    assert headline([ada], ada) == "Ada: wide won" and "entry, Ada: wide, is" in headline([], ada)


def test_the_winners_figures_are_told_beside_stocks() -> None:
    figures = {"looks": [5, 10], "looked": 5, "level": 0.01, "leaders": 2, "runs": 18, "equal_runs": 20}
    best = row(3, [3.0, 3.1])
    said: Any = {
        "outcome": "won", "winners": [best], "best": best, "gain": 3.0, "n": 5, "low": 2.0, "high": 4.0,
        "over_stock": 2.5, "over_low": 2.0, "over_high": 3.0, "unit": "nats", "race": figures, "rows": [best],
    }  # fmt: skip
    gained, spent = sentences(said)
    assert gained == (
        "Over 5 fresh runs, Ben 3 gains 3.000 nats on average (95% interval 2.000 to 4.000), stock 0.500. "
        "The difference is +2.500 (95% interval 2.000 to 3.000)."
    )
    assert spent.startswith("The decision took 18 runs of 2 leaders and stock; at most 40 were planned. ")
    once = sentences({**said, "race": figures | {"looks": [10], "looked": 10}})
    assert once[-1].endswith("were planned.")  # there is nothing to allow for


def test_below_stock_nobody_wins_and_no_run_is_wasted() -> None:
    race, had = raced(entries(3, 4), drawn({3: -2.0, 4: -3.0, CONTROL: 0.0, TWIN: 0.0}))
    assert race.entries == [] and race.settled and max(had.values()) < LOOKS[-1]
    told = decide(entries(3, 4), race, {n: [0.0] * k for n, k in had.items()}, 3.0)
    assert told["outcome"] == "none" and "No winner" in told["headline"]


def test_a_draw_of_equals_rarely_names_anybody() -> None:
    named = 0
    for seed in range(150):
        race, _ = raced(
            entries(3, 4, 5, 6), drawn(dict.fromkeys((3, 4, 5, 6), 1.0) | {CONTROL: 1.0, TWIN: 1.0}, seed=seed)
        )
        named += bool(race.above_stock & set(race.entries))
    assert named <= 15  # 5% are promised at most; 15 of 150 has a chance below 1 in 200 then


def test_plan_of_a_close_takes_the_fewest_runs_that_suffice() -> None:
    assert closes(0.33, 12)[0] < closes(0.33, 40)[0] < closes(0.33, 128)[0]
    plan, few = plan_close(0.33), plan_close(0.33, entries=4)
    assert plan.power >= 0.8 and plan_close(0.1).runs < plan.runs
    assert few.leaders == 4 and few.runs < plan.runs
    assert plan_close(0.33, entries=40).leaders == plan.leaders == 12
    usual, most = few.seconds(3.0)
    assert most == 6 * few.runs * 3.0 and usual == few.usual * 3.0
    assert 0.3 * most < usual < 0.9 * most  # most leaders leave early; stock, which gains as much as others, stays
    assert plan_close(0.01, runs=20, entries=4).usual == 6 * 5  # one look is enough
    assert plan_close(3.0, runs=20, entries=4).usual == 6 * 20  # nobody leaves


def test_plan_of_a_close_with_too_few_runs_is_warned_of() -> None:
    plan, few = plan_close(0.33), plan_close(0.33, entries=4)
    assert plan_close(0.33, runs=12).runs == 12 and plan.warning() == ""
    low = plan_close(0.33, runs=12, entries=4)
    assert f"named in {low.power:.0%} of" in low.warning(4)
    assert f"the least that names it in 80% is {few.runs}: leave confirm_runs out" in low.warning(4)
    none = plan_close(0.33, runs=2, entries=4)
    assert none.power == 0 and "2 runs of a leader, which are too few unless" in none.warning(4)
    assert "larger --run-budget" in plan_close(3.0, runs=12).warning()


def test_the_price_needs_a_difference() -> None:
    race, _ = raced(entries(3, 4), drawn({3: 1.5, 4: 1.0, CONTROL: 0.0, TWIN: 0.0}, sd=1.5, seed=2))
    assert race.samples is not None
    second, first = sorted((race.samples[3], race.samples[4]), key=np.mean)
    assert (runs_to_separate(first, second, race.level) or 0) > LOOKS[-1]
    assert runs_to_separate(second, first, race.level) is None


def test_shared_win_shows_its_difference_from_stock() -> None:
    rows = [winner(0.5), winner(0.45, number=4, entrant="Bob", name="1", entry_id="e4")]
    rows += [winner(0.3, number=1, role="control", entrant="host", name="stock", n=5)]
    said: Announcement = decided(rows, outcome="shared", winners=rows[:2], lost=[])  # type: ignore[assignment]
    text = " ".join(sentences(said))
    assert "the winners gain 0.450 to 0.500 nats on average, stock 0.300" in text
    assert "Each is significantly better than stock; the difference of Ada 1 is +0.200 (95% interval" in text
    assert "stock stopped after 5 in each arm, when every leader left was significantly above it" in text
