"""Every method of attribution on one small study; what a child gained over its parents; planned ablations, by hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from analysis.effects import designs
from analysis.effects.attribution import METHODS
from analysis.effects.designs import FactorialDesign, estimate, hadamard, least_squares, order_of, plan
from analysis.effects.mutation import Family, moderated
from analysis.effects.support import support
from analysis.ledger import Ledger
from analysis.statistics import Estimate, bh, mean_interval, welch_difference
from analysis.study import open_study, query, read_study
from analysis.views.tables import rows, statement, typed_rows
from bench.planted_events import Population, mutation
from bench.planted_laws import DirectiveLaw, RunLaw
from tests.analysis import synthetic
from tests.conformance import AttributionConformance

EFFECTS = {"d0": 1.0, "d1": -0.8, "d2": 0.0, "d3": 0.5}
LAW = DirectiveLaw(EFFECTS, runs=RunLaw(sd=0.4, common=0.5, drift=1.0))


@pytest.fixture(scope="module")
def ablated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A child, a planned ablation of its parent, and searches of a program that cite its lines."""
    folder, factors = tmp_path_factory.mktemp("ablated"), list(EFFECTS)
    with Ledger(folder / "ledger", "main") as ledger:
        people = Population(ledger, LAW, np.random.default_rng(1))
        people.add("parent", factors)
        people.add("child", factors[:3], ["parent"], 1)
        people.play("m1", ["parent", "child"], 8)
        design = designs.plan(factors, 64, 1)
        variants = [f"v{i}" for i in range(len(design.arms))]
        for name, (row, runs) in zip(variants, design.arms, strict=True):
            people.add(name, [d for d, yes in zip(factors, row, strict=True) if yes])
            assert runs == 64 // len(variants)
        plan = {"blocks": design.blocks, "order": design.order, "runs": design.runs}
        ledger.append({"kind": "ablation", "ablation_id": "x1", "method": "factorial", "match_id": "m2",
                       "program_id": "parent", "task": "strokes", "stream": "selection", "factors": factors,
                       "plan": plan})  # fmt: skip
        people.play("m2", variants, 64 // len(variants), purpose="ablation")
        synthetic.match(ledger, "m3", {"a3": "child"})
        for seed in range(4):
            synthetic.start(ledger, f"r{seed}", "m3", "a3", "child", seed)
            rng = np.random.default_rng(seed)
            synthetic.search(ledger, synthetic.SMALL, f"r{seed}", rng, tries=4, seed=seed, directives=factors[:2])
    return folder


@pytest.mark.parametrize("name", METHODS.built_in)
class TestEveryMethod(AttributionConformance):
    @pytest.fixture(autouse=True)
    def some_may_have_no_rows(self, name: str) -> None:
        self.expects_rows = name != "leave-one-out"  # it needs trainings of kept changes

    @pytest.fixture
    def con(self, ablated: Path) -> Iterator[duckdb.DuckDBPyConnection]:
        with read_study(ablated, views=()) as con:
            yield con


@pytest.fixture
def people(tmp_path: Path) -> Iterator[Population]:
    with Ledger(tmp_path / "ledger", "main") as ledger:
        yield Population(ledger, LAW, np.random.default_rng(1))


def credit(folder: Path, method: str) -> dict[str, dict[str, Any]]:
    found = query(folder, f"SELECT * FROM credit WHERE method = '{method}'")
    return {row["directive_id"]: row for row in found}


@pytest.mark.parametrize(("generation", "compared"), [(0, "good"), (1, "weak")])
def test_parent_that_was_better_in_earlier_matches_is_compared(
    people: Population, tmp_path: Path, generation: int, compared: str
) -> None:
    """The child has the directives of `good`. A match of its own generation was not known when it was bred."""
    people.add("weak", [])
    people.add("good", ["d0"])
    people.add("child", ["d0"], ["weak", "good"], 1)
    people.add("refused", ["d0"])
    people.play("m0", ["weak", "good"], 9, generation)
    people.play("m1", ["weak", "good", "child", "refused"], 9, 1)
    mutation(people.ledger, "refused", ["weak"], 1, accepted=False)
    [row] = query(tmp_path, "SELECT * FROM credit WHERE method = 'mutation'")
    assert (row["child_id"], row["n"], row["design"], row["causal"]) == ("child", 9, "paired", True)
    assert (row["low"] > 0 and row["q"] < 0.05) == (compared == "weak")
    assert row["estimate"] == pytest.approx(EFFECTS["d0"] if compared == "weak" else 0.0, abs=0.5 * EFFECTS["d0"])


def test_a_planned_ablation_is_read_off_the_ledger(ablated: Path) -> None:
    found = credit(ablated, "factorial")
    assert set(found) == set(EFFECTS)
    for directive, row in found.items():
        assert row["design"] == "randomised" and row["n"] == 64 and row["program_id"] == "parent"
        assert row["estimate"] == pytest.approx(EFFECTS[directive], abs=0.3) and row["match_id"] == "m2"
    [plan] = query(ablated, "SELECT method, program_id, factors, plan FROM ablations")
    assert plan["factors"] == list(EFFECTS) and plan["plan"]["runs"] == 64


def test_every_row_leads_back_to_what_it_rests_on(ablated: Path) -> None:
    with open_study(ablated) as con:
        for row in rows(con.execute("SELECT * FROM credit")):
            found, sql = support(con, row)
            assert found and "$" not in sql, row["method"]
            assert rows(con.execute(sql)) == found
            if row["method"] == "factorial":
                held, without = ([r["verified_gain"] for r in found if r["held"] is yes] for yes in (True, False))
                assert np.mean(held) - np.mean(without) == pytest.approx(row["estimate"])


def test_each_method_has_a_false_discovery_rate_of_its_own(ablated: Path) -> None:
    for method in ("factorial", "mutation"):
        found = query(ablated, f"SELECT p, q FROM credit WHERE method = '{method}' AND q IS NOT NULL")
        assert [row["q"] for row in found] == pytest.approx(bh([row["p"] for row in found]))


Run = tuple[str, str, int, str, float, bool]  # child, match, run seed, program, gain, whether the match was earlier
COLUMNS = """
CREATE TABLE family_runs (child_id VARCHAR, match_id VARCHAR, run_seed BIGINT, program_id VARCHAR, gain DOUBLE,
    is_earlier BOOLEAN, child BOOLEAN, operator VARCHAR, name VARCHAR, parent_ids VARCHAR[])
"""


def families(runs: Sequence[Run]) -> list[Family]:
    with duckdb.connect() as con:
        con.execute(COLUMNS)
        columns = [list(column) for column in zip(*runs, strict=True)]
        rows = f"SELECT {', '.join(['unnest(?)'] * len(columns))}"
        con.execute(
            f"INSERT INTO family_runs SELECT *, a = d, '', a, ['first', 'good'] FROM ({rows}) AS t(a, b, c, d, e, f)",
            columns,
        )
        return typed_rows(con.execute(statement("effects/family_pairs")), Family)


def of(match: str, who: str, gains: Iterable[float], is_earlier: bool = False, child: str = "child") -> list[Run]:
    """Runs of a program of the family on the seeds 0, 1, 2 …"""
    return [(child, match, seed, who, gain, is_earlier) for seed, gain in enumerate(gains)]


def family(pairs: list[float]) -> Family:
    return Family("child", "write-ideas", "", ["first"], pairs, [0.0, 0.0], pairs)


def test_seeds_of_the_parents_are_one_difference_each() -> None:
    """Differences 1, 2, 3: mean 2, sd 1, two degrees of freedom."""
    runs = of("m", "child", [6.0, 7.0, 8.0]) + of("m", "first", [5.0] * 3)
    [found] = families(runs)
    assert (found.design, found.difference) == ("paired", mean_interval([1.0, 2.0, 3.0]))


def test_one_pair_is_no_pairing() -> None:
    children, parents = [3.0, 4.0], [1.0, 2.5, 2.0]
    runs = of("m", "child", children) + of("m", "first", parents[:1]) + of("old", "first", parents[1:])
    [found] = families(runs)
    assert found.design == "observational"
    assert astuple(found.difference) == pytest.approx(astuple(welch_difference(children, parents)))


def test_the_same_seed_of_another_match_is_no_pair() -> None:
    [found] = families(of("new", "child", [0.0, 1.0, 2.0]) + of("old", "first", [0.0] * 3))
    assert found.design == "observational" and found.difference.se == pytest.approx(mean_interval([0.0, 1.0, 2.0]).se)


def test_without_runs_of_both_sides_nothing_is_said() -> None:
    assert families(of("m", "child", [1.0])) == [] == families(of("m", "first", [1.0]))
    [found] = families(of("m", "child", [1.0]) + of("m", "first", [0.0]))
    assert (found.design, found.difference) == ("observational", Estimate(1.0, n=1))


def test_two_pairs_that_agree_are_no_precise_difference() -> None:
    """Of five children with two pairs each, one has a hundredth of the others' SE: it gets nearly theirs."""
    agreeing, other = family([0.497, 0.503]), family([-0.2, 0.4])
    first, *rest = moderated([agreeing, *[other] * 4])
    assert first.se == pytest.approx(0.3 * math.sqrt(4 / 5), rel=0.01) and first.df == 5
    assert all(gain.se == pytest.approx(first.se) for gain in rest)
    many = family([0.1 + math.sqrt(1.8 * 19 / 20) * sign for sign in (-1, 1) * 10])
    odd, _ = moderated([family([-2.5, 3.5]), many])
    assert odd.se == pytest.approx(math.sqrt((1 * 18.0 + 8 * 1.8) / 9 / 2)) and odd.df == 9  # variances of their pairs
    unpaired = replace(other, pairs=[])
    assert moderated([agreeing, unpaired]) == [agreeing.difference, unpaired.difference]


def test_child_of_two_is_compared_with_formerly_better_parent() -> None:
    """In the child's match the first parent is luckier; the child only equals the good one."""
    runs = of("m", "child", [5, 6, 7, 8]) + of("m", "good", [6, 5, 8, 7]) + of("m", "first", [9, 9])
    before = of("old", "good", [3.0], True) + of("old", "first", [1.0], True)
    for more, gain, n in (([], -3.5, 2), (before, 0.0, 4), ([*before, *of("new", "first", [9.0] * 9)], 0.0, 4)):
        [found] = families([*runs, *more])
        assert (found.difference.value, found.difference.n, found.design) == (gain, n, "paired")


def test_parent_that_ran_beside_the_child_goes_first() -> None:
    """The child gained .5 more on each of four seeds; the other parent has two better runs in another match."""
    runs = of("m", "child", [1.5, 2.5, 3.5, 4.5]) + of("m", "good", [1, 2, 3, 4])
    [found] = families([*runs, *of("old", "first", [6, 7], True)])
    assert (found.difference.value, found.difference.n, found.design) == (0.5, 4, "paired")


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("earlier", [0, 3])
def test_equal_programs_help_and_hurt_in_fortieth_of_cases_each(paired: bool, earlier: int) -> None:
    """Three runs of each; the parent that is the better one in them would hurt in 4.5%, and help in 1%."""
    rng, runs, found = np.random.default_rng(1), list[Run](), []
    for number in range(2000):
        child = f"c{number:04}"
        runs += of("m", child, rng.standard_normal(3).tolist(), child=child)
        for parent in ("first", "good"):
            runs += of("m" if paired else "other", parent, rng.standard_normal(3).tolist(), not paired, child)
            runs += of("old", parent, rng.standard_normal(earlier).tolist(), True, child)
    for each in families(runs):
        low, high = each.difference.interval()
        assert low is not None and high is not None
        found.append((low > 0, high < 0))
    helps, hurts = np.mean(found, axis=0)
    assert len(found) == 2000 and 0.016 < helps < 0.034 and 0.016 < hurts < 0.034, (helps, hurts)


FACTORS = tuple(f"d{i}" for i in range(11))


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 60, 76])
def test_hadamard_matrices_are_orthogonal_and_normalised(order: int) -> None:
    matrix = hadamard(order).astype(int)
    assert set(np.unique(matrix)) <= {-1, 1}
    assert (matrix @ matrix.T == order * np.eye(order)).all()
    assert (matrix[0] == 1).all() and (matrix[:, 0] == 1).all()


def test_orders_that_are_not_known_are_passed_over() -> None:
    assert [order_of(n) for n in (1, 2, 3, 4, 11, 12, 20, 48)] == [2, 4, 4, 8, 12, 16, 24, 56]
    unsupported = []
    for order in range(4, 120, 4):
        try:
            assert len(hadamard(order)) == order
        except ValueError:
            unsupported.append(order)
    assert unsupported == [52, 92, 100, 116]
    with pytest.raises(ValueError, match="1 to 500"):
        order_of(501)


def test_block_is_balanced_and_the_mirror_clears_interactions() -> None:
    design = plan(FACTORS, 50, 1)
    assert (design.order, design.blocks, design.runs, design.clear) == (12, 4, 48, True)
    assert [count for _, count in design.arms] == [2] * 24 and design.se == pytest.approx(0.2887, abs=1e-4)
    for half in (design.plain, design.mirror):
        assert (np.array(half).sum(axis=0) == 6).all()
    signs = 2 * np.array(design.plain + design.mirror) - 1
    assert (signs.T @ signs == 24 * np.eye(11)).all()
    pairs = [signs[:, i] * signs[:, j] for i in range(11) for j in range(i)]
    assert all((signs.T @ pair == 0).all() for pair in pairs)


def test_more_runs_continue_a_design_and_too_few_are_refused() -> None:
    small, large = plan(FACTORS, 24, 7), plan(FACTORS, 60, 7)
    assert small.plain == large.plain != plan(FACTORS, 24, 8).plain
    assert large.blocks == 5 and [count for _, count in large.arms] == [3] * 12 + [2] * 12 and not large.clear
    seeds = [k // 2 for k in range(large.blocks) for _ in range(large.order)]  # every two blocks share one
    found = estimate(*gains(large, np.zeros(11), np.random.default_rng(1)), seeds)[0]
    assert found is not None and found.df == pytest.approx(large.df, rel=0.02) and large.df == 60 - 3 - 11
    with pytest.raises(ValueError, match="11 factors need at least two blocks of 12 runs"):
        plan(FACTORS, 23, 7)


def test_programs_are_counted_once_where_the_mirror_repeats_them() -> None:
    designs = [plan(FACTORS[:n], 32, 1) for n in (1, 2, 3)]
    assert [(design.programs, len(design.arms)) for design in designs] == [(2, 4), (4, 8), (8, 8)]


def gains(
    design: FactorialDesign, effects: np.ndarray, rng: np.random.Generator
) -> tuple[list[list[bool]], list[float]]:
    held = [list(row) for k in range(design.blocks) for row in (design.mirror if k % 2 else design.plain)]
    drift = np.repeat(rng.normal(0, 3, design.blocks), design.order)
    return held, list(np.array(held) @ effects + drift + rng.standard_normal(design.runs))


def test_planted_effects_have_the_promised_error_and_coverage() -> None:
    rng = np.random.default_rng(2)
    effects = np.array([1.0, 0.9, 0.8, 0.4, 0.3, 0.2, 0, 0, 0, 0, 0])
    design, errors, inside = plan(FACTORS, 48, 3), [], []
    blocks = [k for k in range(design.blocks) for _ in range(design.order)]
    for _ in range(100):
        for truth, found in zip(effects, estimate(*gains(design, effects, rng), blocks), strict=True):
            assert found is not None and found.se is not None and found.df == pytest.approx(33)
            errors.append(found.or_zero - truth)
            inside.append((found.low or 0) <= truth <= (found.high or 0))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(design.se, rel=0.06)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_factors_that_fall_together_have_no_effect_of_their_own() -> None:
    held = [[True, True, False], [False, False, True], [True, True, True], [False, False, False]] * 3
    rng = np.random.default_rng(4)
    found = estimate(held, [float(row[2]) + rng.normal(0, 0.1) for row in held], [0] * 12)
    assert found[0] is None and found[1] is None
    assert found[2] is not None and found[2].value == pytest.approx(1.0, abs=0.2)
    saturated = estimate([[True], [False]], [1.0, 0.0], [0, 0])[0]
    assert saturated is not None and saturated.value == 1.0 and saturated.se is None


def test_one_child_beside_its_parent_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(1)
    y, block = rng.standard_normal(16), np.repeat(np.arange(8), 2)
    x = np.tile([0.0, 1.0], 8)[:, None]
    differences = y[1::2] - y[::2]
    found = least_squares(x, y, block, np.arange(16))[0]
    assert found is not None and found.value == pytest.approx(differences.mean())
    assert found.se == pytest.approx(differences.std(ddof=1) / np.sqrt(8))


def test_two_groups_have_the_error_of_welch() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(1, 2, 7), rng.normal(0, 1, 5)
    [found] = estimate([[True]] * 7 + [[False]] * 5, [*a.tolist(), *b.tolist()], [0] * 12)
    welch = welch_difference(a.tolist(), b.tolist())
    assert found is not None and (found.value, found.se) == pytest.approx((welch.value, welch.se))


def test_rows_of_one_unit_have_the_error_of_its_mean() -> None:
    design, rng = plan(["a", "b", "c"], 8, 1), np.random.default_rng(5)
    held = [*design.plain, *design.mirror]
    scores = rng.standard_normal((8, 1)) + 0.1 * rng.standard_normal((8, 6))  # turns of one program are alike
    rows = [row for row in held for _ in range(6)]
    of_units = estimate(rows, scores.ravel().tolist(), [0] * 48, rows)
    of_means = estimate(held, scores.mean(axis=1).tolist(), [0] * 8)
    alone = estimate(rows, scores.ravel().tolist(), [0] * 48)
    for unit, mean, turn in zip(of_units, of_means, alone, strict=True):
        assert unit is not None and mean is not None and turn is not None
        assert (unit.value, unit.se, unit.df) == pytest.approx((mean.value, mean.se, mean.df))
        assert unit.se is not None and turn.se is not None and unit.se > 2 * turn.se


@pytest.mark.parametrize("factors", [1, 3, 5, 12])
def test_turns_have_each_factor_in_half_of_each_block(factors: int) -> None:
    design = plan([f"d{i}" for i in range(factors)], 2 * order_of(factors), 1)
    assert sorted(row for block in design.turn_blocks for row in block) == sorted(design.plain + design.mirror)
    for block in design.turn_blocks:
        assert len(block) <= 8 and [sum(held) for held in zip(*block, strict=True)] == [len(block) / 2] * factors
