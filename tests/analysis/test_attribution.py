"""Attribution against planted effects: recovered, ordered, covered by their intervals, each with its design."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.effects.attribution import credit as credit_rows
from analysis.effects.attribution import credits as credits_of
from analysis.effects.experiments import edit_effects
from analysis.effects.rows import CreditRow, DirectiveUse
from analysis.effects.support import support
from analysis.ledger import Ledger
from analysis.study import open_study, query
from analysis.views.scope import Scope
from bench.planted_events import experiment
from tests.analysis import synthetic

EFFECTS = {
    ("LR", 0.002): 0.30, ("LR", 0.004): 0.10, ("OPT", "adamw"): 0.20, ("WIDTH", 64): 0.05, ("muon", True): 0.40,
    ("flip", True): -0.20, ("WD", 0.1): 0.0, ("BATCH", 1024): -0.10, ("trap", True): 0.0,
}  # fmt: skip
BASELINE = {"LR": 0.001, "OPT": "sgd", "WIDTH": 32, "muon": False, "flip": False, "WD": 0.0, "BATCH": 256,
            "trap": False}  # fmt: skip
WORLD = synthetic.World(EFFECTS, BASELINE, crashes=frozenset({("trap", True)}), noise=0.02)


def edits(folder: Path) -> dict[tuple[str, Any], CreditRow]:
    with open_study(folder, views=()) as con:
        return {credit.change: credit for credit in credits_of(Scope(con, "strokes")).of("edit")}


@pytest.fixture(scope="module", params=["lower", "higher"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = synthetic.World(EFFECTS, BASELINE, crashes=WORLD.crashes, noise=0.02, direction=request.param)
    return synthetic.study(tmp_path_factory.mktemp(request.param), world, runs=8, tries=12, seed=3)


def test_planted_edits_are_recovered_and_ordered(folder: Path) -> None:
    credits = edits(folder)
    for key in [("muon", True), ("OPT", "adamw"), ("WIDTH", 64), ("flip", True), ("BATCH", 1024), ("WD", 0.1)]:
        assert credits[key].estimate == pytest.approx(EFFECTS[key], abs=0.06)
        assert credits[key].design == "randomised" and credits[key].causal and credits[key].unit == "nats"
    ordered = sorted([k for k in credits if k[0] != "LR"], key=lambda k: -credits[k].score)
    assert ordered[:2] == [("muon", True), ("OPT", "adamw")] and ordered[-1] == ("flip", True)
    assert credits["muon", True].significant and not credits["WD", 0.1].significant
    muon = credits["muon", True]
    assert not replace(muon, q=0.05).significant and not replace(muon, q=None).significant
    assert not replace(muon, low=-1.0).significant and replace(muon, low=-2.0, high=-1.0).significant
    assert credits["muon", True].label == "+muon" and credits["LR", 0.002].label == "lr=0.002"


def test_failures_earn_nothing_and_are_counted(folder: Path) -> None:
    trap = edits(folder)["trap", True]
    assert trap.failures == trap.n > 3 and trap.score == 0.0 and trap.low is trap.q is None
    [shown] = query(folder, "SELECT estimate FROM credit WHERE method = 'edit' AND knob = 'trap'")
    assert not trap.significant and shown["estimate"] is None


def test_nothing_is_significant_where_nothing_works(tmp_path: Path) -> None:
    """The runs keep what is lucky, and what follows falls back: neither shows, though the tries were not planned, and
    though half of the tries, which undo what was kept, cite one statement."""
    effects = {(f"K{i}", v): 0.0 for i in range(8) for v in (1, 2)}
    world = synthetic.World(effects, {f"K{i}": 0 for i in range(8)}, noise=0.05)
    outside, total, cited = 0, 0, [""] * 8 + ["later"] * 7
    for seed in range(4):
        place = tmp_path / str(seed)
        folder = synthetic.study(place, world, runs=12, tries=15, changes=2, seed=seed, directives=cited)
        rows = query(folder, "FROM credit")
        [later], found = ([row for row in rows if row["method"] == method] for method in ("directive", "edit"))
        assert later["n"] > 70 and later["p"] > 0.05
        assert len(found) == 16 and min(row["q"] for row in found if row["q"] is not None) > 0.05
        outside += sum((row["low"] or 0.0) > 0.0 or (row["high"] or 0.0) < 0.0 for row in found)
        total += len(found)
    assert outside <= 0.07 * total


def test_few_runs_that_agree_prove_nothing(tmp_path: Path) -> None:
    world = synthetic.World({("A", 1): 1.0, ("B", 1): 0.5}, {"A": 0, "B": 0}, noise=0.001)
    folder = synthetic.study(tmp_path, world, runs=2, tries=6)
    rows = query(folder, "SELECT * FROM credit WHERE method = 'edit'")
    assert {row["runs"] for row in rows} == {2} and {row["q"] for row in rows} == {None}
    assert all(row["low"] < row["estimate"] < row["high"] for row in rows)


def test_interaction_of_edits_and_worth_of_a_bundle(tmp_path: Path) -> None:
    values = {("A", 1): 0.3, ("B", 1): 0.2, ("C", 1): 0.1, **{(f"K{i}", 1): 0.0 for i in range(6)}}
    pair = (("A", 1), ("B", 1))
    world = synthetic.World(values, {knob: 0 for knob, _ in values}, {pair: -0.2}, noise=0.01)
    folder = synthetic.study(tmp_path, world, runs=16, tries=16, changes=2, seed=1)
    with open_study(folder, views=()) as con:
        known = edit_effects(Scope(con, "strokes"))
    alone = known.bundle([("b", "1")])
    assert known.fitted is not None
    pair, _ = known.fitted.weights([known.column["a", "1"], known.column["c", "1"]])
    parts = known.fitted.answers(np.diag(pair)[pair != 0])
    both, free = known.bundle([("a", "1"), ("b", "1")]), known.bundle([("a", "1"), ("c", "1")])
    assert alone and both and free and known.bundle([("b", "7")]) is None
    assert alone.value == pytest.approx(0.2, abs=0.08)
    assert sum(part.or_zero for part in parts) == pytest.approx(free.value)  # the parts of a sum add up
    for found, gain in ((both, 0.3), (free, 0.4)):
        assert found.low is not None and found.high is not None and found.low <= gain <= found.high


def test_repair_of_an_edit_is_no_gain_on_the_untouched_script(tmp_path: Path) -> None:
    """One optimizer needs a small learning rate, which was never tried without it."""
    base: dict[str, Any] = {"LR": 0.5, "OPT": "sgd", "centre": False}
    repaired, rng = base | {"OPT": "adamw", "LR": 0.003}, np.random.default_rng(0)
    with synthetic.played(tmp_path, "stock") as ledger:
        for k in range(8):
            synthetic.start(ledger, f"r{k}", "m1", "a1", "stock", k)
            tried = [(base, {}, 0.0), (base, {"OPT": "adamw"}, -1.0), (base, {"centre": True}, 0.2)]
            tried += [(base, {"OPT": "adamw", "LR": 0.003}, 0.4)]
            tried += [(repaired, {"LR": 0.01}, 0.3)] * (k < 5)
            for number, (parent, edit, gain) in enumerate(tried):
                metric, above = 2.0 - gain + rng.normal(0, 0.01), synthetic.sid(parent) if number else None
                at, how = (3 if parent is repaired else 0) if number else None, "discard" if number else "baseline"
                synthetic._experiment(ledger, f"r{k}", number, at, edit, parent | edit, above, k, metric, (), "random",
                                      how)  # fmt: skip
            synthetic.end(ledger, f"r{k}")
    rate, alone = edits(tmp_path)["LR", 0.01], edits(tmp_path)["OPT", "adamw"]
    assert not rate.is_isolated and not rate.significant and rate.low is rate.q is None and rate.runs == 5
    assert alone.is_isolated and alone.significant and alone.gain < -0.5 and edits(tmp_path)["centre", True].significant


@pytest.mark.parametrize("diverged", [0.0, 1e6])
def test_screens_count_with_a_level_and_an_error_of_their_own(tmp_path: Path, diverged: float) -> None:
    """A short look, far below a full training, says less of an edit, and nothing of the level. One that diverges drowns
    no other estimate."""
    rng = np.random.default_rng(0)
    values = {f"K{i}": 0.1 * (i % 3) for i in range(9)}
    with synthetic.played(tmp_path, "p1") as ledger:
        for run in range(8):
            synthetic.start(ledger, f"r{run}", "m1", "a1", "p1", run)
            about: dict[str, Any] = {"seed": run, "proposer": "random", "parent_source_id": "s0"}
            base = dict.fromkeys(values, 0)
            experiment(ledger, f"r{run}", 0, decision="baseline", metric=2.0 + rng.normal(0, 0.02), source_id="s0",
                       config=base, seed=run, edit={"set": {}, "apply": []})  # fmt: skip
            for number, (knob, effect) in enumerate(values.items(), 1):
                full = number % 2
                metric = 2.0 - effect + rng.normal(0, 0.02) + (0.0 if full else 0.5)
                metric += diverged if run == 0 and number == 2 else 0.0
                experiment(ledger, f"r{run}", number, decision="discard", metric=metric, source_id=f"s{number}",
                           config=base | {knob: 1}, fraction=1.0 if full else 0.25, parent_number=0,
                           edit={"set": {knob: 1}, "apply": []}, **about)  # fmt: skip
    with open_study(tmp_path, views=()) as con:
        credits = edit_effects(Scope(con, "strokes")).edits()
    for i, (knob, effect) in enumerate(values.items()):
        if diverged and knob == "K1":
            continue
        told = credits[knob.lower(), "1"]
        assert told.se and abs(told.or_zero - effect) < 4 * told.se < 0.8, (knob, told)
        assert (i % 2 == 0) == (told.se < 0.03)  # what was only looked at is known less well


@pytest.mark.parametrize(("gain", "noise", "diverged"), [(0.01, 1e-4, 0.0), (0.0, 0.0, -1e6), (0.01, 1e-4, -1e6)])
def test_losses_where_hardly_anything_gains_keep_their_size(
    tmp_path: Path, gain: float, noise: float, diverged: float
) -> None:
    """A mature script: 2 of 200 trainings gain, or none; one that diverges must not drown the others."""
    losses = {(f"K{i}", 1): -0.1 * (i + 1) for i in range(5)}
    rare = {("gain", 1): gain, ("broken", 1): diverged}
    world = synthetic.World({**losses, **rare}, {knob: 0 for knob, _ in (*losses, *rare)}, noise=noise)
    with synthetic.played(tmp_path, "p1") as ledger:
        for seed in range(33):
            synthetic.start(ledger, f"r{seed}", "m1", "a1", "p1", seed)
            ideas = [*losses, *([("gain", 1)] if seed < 2 else [("broken", 1)] if seed == 2 and diverged else [])]
            synthetic.search(ledger, world, f"r{seed}", np.random.default_rng(seed), tries=len(ideas), ideas=ideas,
                             seed=seed)  # fmt: skip
    found = edits(tmp_path)
    assert [found[key].estimate for key in losses] == pytest.approx(list(losses.values()), rel=0.1)


def test_chosen_tries_are_observational_and_cached_count_once(tmp_path: Path) -> None:
    with synthetic.played(tmp_path, "p1", "p2") as ledger:
        for arm, who in (("a1", "p1"), ("a2", "p2")):  # both arms get the very same results, as out of the cache
            rng = np.random.default_rng(4)
            synthetic.start(ledger, f"r-{who}", "m1", arm, who, 0)
            synthetic.search(ledger, WORLD, f"r-{who}", rng, tries=1, ideas=[("muon", True)], directives=["d1"])
    with open_study(tmp_path, views=()) as con:
        [found] = [row for row in credit_rows(con) if row.method == "edit"]
        assert len(support(con, asdict(found))[0]) == found.n == 1
    credits = edits(tmp_path)["muon", True]
    assert credits.design == "observational" and not credits.causal
    assert (credits.n, credits.runs, credits.q) == (1, 1, None)


def test_directives_gain_per_experiment_and_compliance_is_known(tmp_path: Path) -> None:
    listed = [{"directive_id": d, "heading": "Ideas", "kind": "idea", "text": d, "position": i}
              for i, d in enumerate(["d-muon", "d-trap", "d-never"])]  # fmt: skip
    rng = np.random.default_rng(5)
    with synthetic.played(tmp_path, "p1") as ledger:
        synthetic.program(ledger, "p1", directives=listed)
        for run in range(6):
            synthetic.start(ledger, f"r{run}", "m1", "a1", "p1", run)
            synthetic.search(ledger, WORLD, f"r{run}", rng, tries=2 if run else 1, seed=run,
                             ideas=[("muon", True), ("trap", True)], directives=["d-muon", "d-trap"])  # fmt: skip
    rows = {row["directive_id"]: row for row in query(tmp_path, "SELECT * FROM credit WHERE method = 'directive'")}
    muon, trap = rows["d-muon"], rows["d-trap"]
    assert muon["estimate"] == pytest.approx(0.4, abs=0.05) and muon["unit"] == "nats"
    assert (muon["runs"], muon["runs_held"], muon["program_id"]) == (6, 6, "p1")
    assert (trap["estimate"], trap["failures"], trap["runs"], trap["runs_held"]) == (0.0, 5, 5, 6)
    assert muon["design"] == "observational" and muon["causal"] is False and "d-never" not in rows


def test_trainings_of_a_candidate_again_are_no_tries_of_its_idea(tmp_path: Path) -> None:
    """As in a night: every script is trained with a second seed, with itself as the parent; one crashes there."""
    base: dict[str, Any] = {"A": 0, "B": 0}
    scripts = [base, base | {"A": 1}, base | {"A": 1, "B": 1}]
    with synthetic.played(tmp_path, "p1") as ledger:
        for run in range(4):
            rng = np.random.default_rng(run)
            synthetic.start(ledger, f"r{run}", "m1", "a1", "p1", run)
            for at, (config, gain) in enumerate(zip(scripts, (0.0, 0.5, 0.8), strict=True)):
                cited = [f"d{at}"] if at else []
                above = 2 * at - 2 if at else None
                edit = {"A": 1} if at == 1 else {"B": 1} if at else {}
                for seed, (parent, change) in enumerate(((above, edit), (2 * at, {}))):
                    source = synthetic.sid(scripts[at if seed else max(at - 1, 0)]) if parent is not None else None
                    metric = 2.0 - gain + 0.1 * seed + rng.normal(0, 0.01)
                    synthetic._experiment(
                        ledger, f"r{run}", 2 * at + seed, parent, change, config, source, 10 * run + seed,
                        None if (run, at, seed) == (0, 2, 1) else metric, cited, "night" if seed else "queue",
                        "replicate" if seed else "keep",
                    )  # fmt: skip
    found = "SELECT * FROM credit WHERE method = 'directive' ORDER BY directive_id"
    first, second = query(tmp_path, found)
    assert first["estimate"] == pytest.approx(0.5, abs=0.05) and (first["n"], first["failures"]) == (4, 0)
    assert second["estimate"] == pytest.approx(0.3 * 3 / 4, abs=0.05) and (second["n"], second["failures"]) == (4, 1)
    with open_study(tmp_path, views=()) as con:
        (tries, _), (failed, _) = support(con, first), support(con, second)
        uses = {use.directive_id: use for use in Scope(con, "strokes").rows("evidence/idea_use", DirectiveUse)}
    assert len(tries) == 4 and all(one["over_parent"] == pytest.approx(0.5, abs=0.05) for one in tries)
    assert sorted(one["over_parent"] for one in failed) == pytest.approx([0.0, 0.3, 0.3, 0.3], abs=0.05)
    assert uses["d1"].gain == pytest.approx(0.5, abs=0.05) and (uses["d1"].tried, uses["d1"].kept) == (4, 4)


def test_the_view_leaves_the_confirmation_out(tmp_path: Path) -> None:
    folder = synthetic.study(tmp_path / "study", WORLD, runs=2, tries=3)
    tries = "SELECT count(*) AS n, sum(n) AS tries FROM credit WHERE method = 'edit'"
    before = query(folder, tries)
    with Ledger(folder / "ledger", "late") as ledger:
        for at, purpose in (("8", "confirmation"), ("9", None)):
            synthetic.match(ledger, f"m{at}", {f"a{at}": "stock"}, stream="confirmation", purpose=purpose)
            synthetic.start(ledger, f"r{at}", f"m{at}", f"a{at}", "stock", 9, stream="confirmation")
            synthetic.search(ledger, WORLD, f"r{at}", np.random.default_rng(9), tries=3)
    assert query(folder, tries) == before


def test_intervals_cover_planted_effects(tmp_path: Path) -> None:
    hits, total = 0, 0
    for seed in range(5):
        for key, credit in edits(synthetic.study(tmp_path / str(seed), WORLD, runs=6, tries=12, seed=seed)).items():
            if credit.low is not None and credit.high is not None and key not in WORLD.crashes:
                hits, total = hits + (credit.low <= EFFECTS[key] <= credit.high), total + 1
    assert total > 30 and 0.88 <= hits / total <= 0.995
