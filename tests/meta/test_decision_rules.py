"""The A/A difference by itself, and the sentence on a champion's origin: what needs no study."""

from __future__ import annotations

from dataclasses import astuple, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from analysis import decision_text
from analysis.decision import BETTER, OPEN, ArmGain, ArmsDifference, OnOneTask, twins
from analysis.found_scripts import FoundScript
from analysis.origin import ChangeCredit, Origin, in_words
from analysis.statistics import Mean, mean_interval
from meta.claim import Against, claim
from meta.cli.study_result import counted as by_heading
from meta.cli.study_result import worth_applying
from meta.evidence_page import written_from
from meta.verdict import decide
from programs.program import Program
from tests.meta.test_decision import AHEAD
from trainer.task import Task


def drawn(rng: np.random.Generator, shift: float = 0.0) -> dict[str, list[float]]:
    sizes = {"champion": 10, "control": 10, "a/a": 4}
    return {role: rng.normal(shift if role == "a/a" else 0.0, 0.3, n).tolist() for role, n in sizes.items()}


def test_the_interval_of_stock_s_arms_covers_zero_in_95_percent_and_no_claim_depends_on_it() -> None:
    rng = np.random.default_rng(20)
    made = [claim(drawn(rng)) for _ in range(2000)]
    outside = sum(aa.low is not None and aa.high is not None and aa.low * aa.high > 0 for one in made for aa in one.aa)
    assert 0.035 < outside / len(made) < 0.065
    assert 0.015 < sum(one.holds for one in made) / len(made) < 0.035
    apart = claim({"champion": [9.0, 9.1, 9.2, 8.9], "control": [0.1, 0.2, 0.15, 0.12], "a/a": [5.0, 5.1, 5.2, 5.1]})
    (aa,) = apart.aa
    assert aa.low is not None and aa.low > 4 and apart.holds and apart.p < 0.025


def test_the_interval_of_stock_s_arms_is_that_of_a_t_test_with_one_variance() -> None:
    few = {"champion": [1.0, 1.2], "control": [0.1, 0.2, 0.15, 0.12], "a/a": [5.0, 5.1, 5.2]}
    (aa,) = claim(few).aa
    arms = [ArmGain("p", role, "", "", len(few[role]), *(astuple(mean_interval(few[role]))[:2])) for role in few]
    assert aa == twins([replace(arms[1], role="control"), arms[2]])
    squares = sum(float(np.var(few[role])) * len(few[role]) for role in ("control", "a/a"))  # pooled, over 5 df
    half = 2.570582 * (squares / 5 * (1 / 4 + 1 / 3)) ** 0.5
    assert aa.difference == pytest.approx(5.1 - 0.1425)
    assert (aa.low, aa.high) == (pytest.approx(aa.difference - half), pytest.approx(aa.difference + half))


def test_the_difference_of_stock_s_arms_names_unit_and_task_only_where_there_are_such() -> None:
    aa = ArmsDifference("strokes", "nats", 0.0123, -0.02, 0.05, 4, 4)
    text = "A/A: two arms of stock on strokes differ by +0.012 nats (95% interval −0.020 to 0.050)."
    assert decision_text.aa_text(aa) == text
    assert decision_text.aa_text(aa, named=False) == text.replace(" on strokes", "")
    one_run = replace(aa, task="", unit="", difference=0.0, low=None, high=None, n=1, n_other=1)
    assert decision_text.aa_text(one_run) == "A/A: two arms of stock differ by +0.000 (too few runs for an interval)."


def test_apply_is_offered_only_for_a_script_of_the_task_that_it_commits_to() -> None:
    found = [FoundScript(task, "u", 1.0, 30, 0.2, low, 0.3, 8, "verified") for task, low in
             (("first", -0.1), ("second", 0.1))]  # fmt: skip
    tasks = [OnOneTask(one.task, "u", 1.0, True, *2 * (Mean(0.0, 0.1, 4, None, None),), None, None, claim(AHEAD).ratio)
             for one in found]  # fmt: skip
    program = Program.parse("# A\n", "a")
    of_two = replace(decide(program, claim(AHEAD), [Task.load("strokes")]), state=OPEN, scripts=tuple(found))
    assert worth_applying(of_two) and not worth_applying(replace(of_two, tasks=tuple(tasks)))
    assert worth_applying(replace(of_two, tasks=tuple(tasks[::-1])))
    assert worth_applying(replace(of_two, state=BETTER, tasks=tuple(tasks)))


def test_the_evidence_counts_what_a_copy_of_the_users_program_changed_by_its_diff() -> None:
    old = Program.parse("# A\n\n## Ideas\n\n- One: `a=1`.\n- Another: `b=2`.\n", "old")
    ideas = "".join(f"- {said}: `@x={n}`.\n" for n, said in enumerate(("All at once", "Use less", "Turn it on")))
    new = Program.parse(f"---\nmetaloop:\n  doubt_ideas: true\n---\n# A\n\n## Ideas\n\n{ideas}", "new")
    row = SimpleNamespace(operator="knowledge", parent_ids=(old.program_id,))
    study: Any = SimpleNamespace(state=SimpleNamespace(programs={new.program_id: row}), program=lambda _: old)
    made = written_from(study, new)
    assert made and made.counts == "1 setting added, 3 ideas added, 2 ideas removed" and made.learnt
    row.operator = "other-search"
    made = written_from(study, new)
    assert made and not made.learnt
    row.operator = "starter"
    assert written_from(study, new) is None


def test_shares_of_untouched_runs_are_pooled_by_their_runs() -> None:
    gains = {"champion": [0.3, 0.4, 0.5], "control": [0.0, 0.2, 0.1], "a/a": [0.1]}
    against = Against((1.0, 1.2, 0.9), {"champion": 1.0, "control": 1.0, "a/a": 0.0})
    alone = claim({"champion": gains["champion"], "control": [0.0, 0.2, 0.1, 0.1]},
                  Against(against.baseline, {"champion": 1.0, "control": 0.75}))  # fmt: skip
    assert replace(claim(gains, against), aa=()) == alone


def test_the_origin_says_what_was_changed_and_whether_it_was_shown_to_help() -> None:
    old = Program.parse("---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# A\n\n## Ideas\n\n- One: `a=1`.\n", "old")
    text = old.text.replace("queue: 1.0}", "queue: 0.9, local: 0.1}") + "- Two: `b=2`.\n"
    changes = tuple(in_words(old, Program.parse(text, "new")))
    assert changes == ("1 setting changed", "1 idea added")
    replaced = old.text.replace("metaloop:\n", "metaloop:\n  no_repeat: true\n").replace("# A", "# A\n\n- Never twice.")
    counted = tuple(in_words(Program.parse(replaced), Program.parse(f"{old.text}\n## More\n\n- Any code again.\n")))
    assert counted == ("1 setting removed", "1 statement added", "1 statement removed")  # as the diff lists them
    credit = ChangeCredit("strokes", 0.064, -0.097, 0.226, "nats", helps=False, hurts=False)
    made = Origin("learnt", "shipped", ("letters", "strokes"), ("strokes",), changes, 1, 1, (credit,))
    short = (
        "The champion was evolved from the shipped program learnt (its ideas were measured on strokes tasks like this "
        "one): 1 setting changed and 1 idea added. The confirmation did not test these changes, and the search did not "
        "show that they help"
    )
    assert made.sentence(["stock"]) == f"{short} (difference +0.064 nats [−0.097 to 0.226])."
    assert made.sentence(["learnt"]).endswith("1 idea added. The announced test compares the two.")
    helped = replace(made, credits=(replace(credit, helps=True), credit))
    assert helped.sentence(["stock"]).endswith("and the search showed that they help on 1 of 2 tasks.")
    assert "0.226], compared with one of its parents)" in replace(made, parents=2).sentence([])
    given = Origin("mine-learnt", "given", ("letters",))
    assert given.sentence([]) == (
        "The champion is the program mine-learnt with learnt ideas (measured on letters tasks), as the study began "
        "with it."
    )
    rows = [{"heading": heading, "change": change} for heading, change in
            (("Ideas", "added"), ("charter", "changed"), ("charter", "added"), ("Ideas", "added"))]  # fmt: skip
    assert by_heading(rows) == "Ideas: 2 added; settings: 1 changed, 1 added"
    assert replace(made, credits=()).sentence(["stock"]).endswith("the search did not measure them alone.")
