"""The page of facts: every fact with id, design, interval and n, and causal words only where the design allows them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.effects.final_scripts import dispensable, on_top
from analysis.effects.rows import CreditRow
from analysis.evidence.over_tasks import over_tasks
from analysis.evidence.page_text import RowIds, label, page, quoted, task_brief
from analysis.evidence.task_evidence import Evidence, evidence
from analysis.ledger import Ledger
from analysis.statistics import POOLED_DF, mean_interval
from analysis.study import open_study, query
from analysis.views.scales import UNIT, GainScale
from tests.analysis import synthetic
from tests.analysis.test_attribution import WORLD
from tests.planted_evidence import edit, idea
from tests.planted_evidence import evidence as evidence_of

IDEAS = [("muon", True), ("trap", True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    rng = np.random.default_rng(8)
    kinds = {"d-muon": "idea", "d-trap": "idea", "d-ghost": "idea", "d-prose": "paragraph"}
    listed = [{"directive_id": d, "heading": "Ideas", "kind": kind, "text": f"text of `{d}`\n# not a heading",
               "position": i} for i, (d, kind) in enumerate(kinds.items())]  # fmt: skip
    with Ledger(folder / "ledger", "arena") as ledger:
        synthetic.program(ledger, "stock")
        synthetic.program(ledger, "queue", directives=listed, generation=1)
        event = {"child_id": "queue", "parent_ids": ["stock"], "operator": "reorder_ideas", "accepted": True}
        ledger.append({"kind": "mutation", **event})
        for number, purpose in enumerate(["race", "generation", "confirmation"]):
            config = {"direction": "lower", "metric": "nll", "unit": "nats"}
            arms = {"a-stock": "stock", "a-queue": "queue"}
            synthetic.match(ledger, f"m{number}", arms, purpose=purpose, generation=number, config=config)
            for who in ("stock", "queue"):
                for seed in range(3):
                    run_id = f"r{number}-{who}-{seed}"
                    synthetic.start(ledger, run_id, f"m{number}", f"a-{who}", who, seed)
                    ideas = IDEAS if who == "queue" else []
                    final = synthetic.search(ledger, WORLD, run_id, rng, tries=6, seed=seed, ideas=ideas,
                                             directives=["d-muon", "d-trap"])  # fmt: skip
                    synthetic.end(ledger, run_id, final_source_id=synthetic.sid(final))
                    gain = WORLD.gain(final)
                    synthetic.verify(ledger, run_id, f"a-{who}", who, list(gain + rng.normal(0, 0.02, 2)))
    return folder


@pytest.fixture(scope="module")
def facts(folder: Path) -> Evidence:
    with open_study(folder, views=()) as con:
        return evidence(con, "strokes")


def test_evidence_agrees_with_the_view(folder: Path, facts: Evidence) -> None:
    told = "SELECT * FROM credit WHERE method IN ('edit', 'directive', 'mutation')"
    rows = {row["credit_id"]: row for row in query(folder, told)}
    credits = [*facts.edits, *facts.directives, *facts.mutations]
    assert {credit.credit_id for credit in credits} == rows.keys()
    for credit in credits:
        row = rows[credit.credit_id]
        assert (credit.estimate, credit.se, credit.q, credit.n, credit.design) == (
            row["estimate"], row["se"], row["q"], row["n"], row["design"])  # fmt: skip
        assert row["causal"] == (row["design"] in ("randomised", "paired"))
    assert {c.design for c in facts.mutations} == {"paired"}
    assert facts.runs == 18 and facts.unit == "nats"


def test_programs_have_posteriors(facts: Evidence) -> None:
    assert {score.program_id for score in facts.programs} == {"stock", "queue"}
    best, other = facts.programs
    assert best.shrunk.or_zero >= other.shrunk.or_zero and best.gain.n == other.gain.n == 9
    gain = best.gain.or_zero
    assert abs(best.shrunk.or_zero - gain) <= abs(gain - other.gain.or_zero)
    assert best.gain.df == 8 + min(POOLED_DF, 8)


def test_matches_and_generations_can_be_set_aside(folder: Path) -> None:
    with open_study(folder, views=()) as con:
        fewer = evidence(con, "strokes", exclude_matches=["m2"])
        first = evidence(con, "strokes", until_generation=0)
        nothing = evidence(con, "strokes", exclude_matches=["m0", "m1", "m2"])
    assert fewer.runs == 12 and {score.gain.n for score in fewer.programs} == {6}
    assert first.runs == 6 and {score.gain.n for score in first.programs} == {3}
    assert nothing.edits == nothing.programs == () and nothing.runs == 0
    assert "No edit has been tried yet." in page(nothing, RowIds())


def test_the_page_for_people_has_the_ids_of_the_view(facts: Evidence) -> None:
    text = page(facts, RowIds(whole=True))
    assert any(f"[{edit.credit_id}]" in text for edit in facts.edits) and f"[{facts.finals[0].run_ids[0]}]" in text
    assert "\n# not a heading" not in text and quoted("a `b`\n# c") == "`a 'b' # c`" and len(quoted("x" * 500)) == 162


def test_brief_opens_with_the_best_scripts_and_what_is_new(facts: Evidence) -> None:
    ids = RowIds()
    text = page(facts, ids, {"strokes": ["`lr=7`"]})
    best = facts.finals[0]
    assert best.mean == max(script.mean for script in facts.finals) and best.edits
    assert text.index("## Best final scripts") < text.index("## Edits on top of b1")
    opening, rows = ([line for line in text.splitlines() if line.startswith(start)] for start in ("- [b1]", "- [e"))
    assert all(label(key) in opening[0] for key in best.edits) and ids.by_short["b1"] == best.run_ids[0]
    near = replace(best, edits=(*best.edits[:-1], ("new", "7")), run_ids=("r-near",))
    shown = page(replace(facts, finals=(best, near)), RowIds())
    assert f": b1 with `new=7`, without {label(best.edits[-1])}\n" in shown
    assert not any(f" {label(key)}:" in line for line in rows for key in best.edits)
    assert text.count("on the untouched script, n=") == sum("untouched" in line for line in rows)
    assert ("(new)" in text) == ('"new" means' in text) and bool(rows) == ("Rows are in the order" in text)
    assert "in no experiment yet: `lr=7`" in text
    every = {c.credit_id for c in (*facts.edits, *facts.directives)} | {run for s in facts.finals for run in s.run_ids}
    assert set(ids.by_short.values()) <= every


def test_predictions_on_top_count_what_was_tried_there(facts: Evidence) -> None:
    assert facts.effects is not None and facts.effects.fitted is not None
    script, effects = facts.finals[0], facts.effects
    held = effects.held.toarray() > 0
    for row in on_top(effects, script):
        kept = [c for c, key in zip(script.columns, script.edits, strict=True) if key[0] != row.key[0]]
        both = held[:, [*kept, effects.column[row.key]]].all(axis=1)
        assert row.tried == both.sum() and row.sd > 0 and row.key not in script.edits
    halves = task_brief(replace(facts, scale=GainScale("strokes", UNIT, 2.0, True, mean_interval([2.0]))), ()).parts
    wholes = task_brief(facts, ()).parts
    assert [(row.mean, row.sd) for row in halves] == [(row.mean / 2, row.sd / 2) for row in wholes] != []
    assert task_brief(replace(facts, finals=()), ()).parts == []  # nothing to leave out
    bundle = effects.bundle(script.edits)
    [last, *_] = dispensable(effects, script)
    rest = effects.bundle([key for key in script.edits if key != last.key])
    assert bundle is not None and rest is not None
    assert last.mean == pytest.approx(rest.or_zero - bundle.or_zero, rel=0.05)


def test_brief_has_one_row_per_edit_and_none_near_zero() -> None:
    ids = RowIds()
    known = evidence_of(
        edit("LR", 2, 0.3), edit("LR", 3, 0.001, se=0.1), edit("WD", 0, 0.0, se=None),
        edit("WD", 1, -0.4), edit("muon", True, 0.0, failures=16),
        ideas=(idea("d1", "Use `lr=2`.", 0.3), idea("d2", "Both `lr=2` `wd=1`.", -0.2)),
    )  # fmt: skip
    text = page(known, ids)
    assert "- [e1] `lr=2`: caused a gain of +0.3 ± 0.01 on the untouched script, n=16" in text
    assert "unclear: [e3] `lr=3` +0.001 ± 0.1\n" in text and "lower: [e2] `wd=1` -0.4" in text
    assert "failed every time: `muon`" in text
    assert "Use 'lr=2'." not in text and "[d1] `Both 'lr=2' 'wd=1'.`" in text  # one figure for one thing
    assert ids.by_short == {"e1": "c-LR-2", "e2": "c-WD-1", "e3": "c-LR-3", "d1": "c-d2"}


def test_large_uncertain_prediction_is_behind_a_small_sure_one() -> None:
    text = page(evidence_of(edit("LR", 2, 0.9, se=0.85), edit("WD", 1, 0.2), edit("LR", 5, 0.3, se=0.9)), RowIds())
    assert text.index("`wd=1`: ") < text.index("`lr=2`: ") and "] `lr=5` +0.3 ± 0.9\n" in text


def test_clear_gain_is_never_unclear_and_every_edit_is_counted() -> None:
    many = [edit("LR", value, 1.0, se=0.1) for value in range(20)]
    text = page(evidence_of(*many, *(edit("WD", v, 0.0, se=0.1) for v in range(8)), edit("X", 1, -1.0)), RowIds())
    assert text.count("- [e") == 10
    [better] = [line for line in text.splitlines() if line.startswith("- also better: ")]
    [unclear] = [line for line in text.splitlines() if line.startswith("- unclear: ")]
    assert better.count("`lr=") == 6 and "lr" not in unclear and unclear.count("`wd=") == 6
    assert "- 6 further edits are only counted: 4 better, 2 unclear\n" in text
    failing = evidence_of(*(edit("LR", value, 0.0, failures=16) for value in range(50)))
    named = page(failing, RowIds(), {failing.task: [f"`wd={value}`" for value in range(40)]})
    assert "- 26 further edits are only counted: 18 failed every time, 8 in no experiment yet\n" in named
    short = page(evidence_of(*many[:4]), RowIds(), rows=0.2)
    assert "unclear" not in short and "- also better: " in short


def test_uses_count_runs_that_tried_and_kept(folder: Path, facts: Evidence) -> None:
    held = {d.directive_id: d.runs for d in facts.directives}
    uses = [use for use in facts.uses if use.directive_id in held]
    assert uses and all(0 <= use.kept <= use.tried <= use.runs and 1 < use.experiments < 100 for use in uses)
    counts = "SELECT count(DISTINCT run_id) AS n FROM experiments WHERE decision = 'keep'"
    for name, tried in held.items():
        [row] = query(folder, f"{counts} AND list_contains(directive_ids, '{name}')")
        own = [use for use in uses if use.directive_id == name]
        assert (sum(use.tried for use in own), sum(use.kept for use in own)) == (tried, row["n"])


def test_edits_and_directives_have_their_mean_over_their_tasks() -> None:
    """The gains 1 and 8 are 0.5 and 2 in the scales of their tasks, their standard errors 0.2 and 0.1."""
    north, south = edit("LR", 2, 1.0, se=0.4, df=15), edit("lr", 2.0, 8.0, se=0.4, df=15)
    told = [replace(idea("d", "", 1.0), program_ids=programs) for programs in (("a", "b"), ("b", "c"))]
    parts = [
        Evidence("north", "nats", (north,), (told[0],), (), (), 3, 30),
        Evidence("south", "nats", (south, edit("WD", 0, 4.0)), (told[1],), (), (), 3, 30),
    ]
    scales = [in_scale(size) for size in (2.0, 4.0)]
    found = over_tasks(parts, scales)
    assert [(row.knob, row.estimate, row.n) for row in found.edits] == [("LR", 1.25, 32), ("WD", 1.0, 16)]
    assert {row.unit for row in (*found.edits, *found.directives)} == {UNIT}
    assert found.edits[0].se == pytest.approx(math.hypot(0.2, 0.1) / 2) and found.edits[0].of == ("c-LR-2", "c-lr-2.0")
    assert [(row.estimate, row.program_ids) for row in found.directives] == [(0.375, ("a", "b", "c"))]


def test_mean_of_an_edit_counts_its_failures_on_a_task_once() -> None:
    """Its gain where it ran is 0.5 in the scale of the task; on the other task all 16 tries failed."""
    ran = edit("LR", 2, 1.0, se=0.4, df=15, p=0.02)
    failed = replace(edit("LR", 2, 0.0, se=None), failures=16, estimate=None)
    for parts in ((ran, failed), (failed, ran)):
        [row] = over_tasks([one_edit(part) for part in parts], [in_scale(2.0)] * 2).edits
        assert (row.estimate, row.se, row.n, row.failures) == (0.5, 0.2, 32, 16)
        assert row.score == pytest.approx(0.25) and row.low is not None and row.p is not None
    [none] = over_tasks([one_edit(failed)] * 2, [in_scale(2.0)] * 2).edits
    assert (none.estimate, none.score, none.low) == (None, 0.0, None)


def test_mean_of_an_edit_not_isolated_on_a_task_has_no_interval() -> None:
    clear = edit("LR", 2, 1.0, se=0.4, df=15, p=0.02)
    repair = replace(clear, is_isolated=False, p=None)
    for parts in ((clear, repair), (repair, clear)):
        [row] = over_tasks([one_edit(part) for part in parts], [in_scale(2.0)] * 2).edits
        assert (row.low, row.high, row.p, row.q, row.is_isolated) == (None, None, None, None, False)


def one_edit(row: CreditRow) -> Evidence:
    return Evidence("t", "nats", (row,), (), (), (), 3, 30)


def in_scale(size: float) -> GainScale:
    return GainScale("t", "nats", size, True, mean_interval([size]))
