"""When a line and the change that added it contradict each other, and what is said then."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from analysis.credit import DirectiveCredit, MutationCredit, of_verdict, row
from analysis.opposite import line_and_edit, opposites, tried_and_had
from analysis.writing_events import MutationEvent
from meta.evidence_page import LineageStep, contradictions
from programs.program import Program


@dataclass(frozen=True)
class Known:
    method: str | None
    estimate: float | None
    low: float | None
    high: float | None
    task: str | None = "strokes"
    design: str | None = "paired"
    unit: str | None = "nats"
    q: float | None = 0.001
    credit_id: str = "c1"


WHOLE = Known("mutation", 0.245, 0.11, 0.38)
OWN = Known("directive", -0.047, -0.072, -0.021, design="observational", unit="nats per experiment")


def test_the_remark_has_both_figures_and_what_each_compares() -> None:
    [text] = opposites(WHOLE, 2, [("proposers: queue", OWN)])
    assert text.startswith(
        "proposers: queue has an estimate of -0.047 nats per experiment, but the whole change that added it has one of "
        "+0.245 nats of a run's gain (paired). Both can be true"
    )
    assert "averages all experiments that cite the line" in text and "those of one of its 2 parents" in text
    [text] = opposites(WHOLE, 1, [("x" * 200, Known("following", -0.1, -0.2, -0.05))])
    assert text.startswith("x" * 77 + "... has") and "compares runs that followed" in text and "its parent:" in text


@pytest.mark.parametrize(
    "own",
    [
        Known("directive", 0.047, 0.021, 0.072),  # the same direction
        Known("directive", -0.047, -0.1, 0.01),  # not significant
        Known("directive", -0.047, None, None),
        Known("having", -0.047, -0.072, -0.021),  # itself a comparison of whole runs
        Known("directive", -0.047, -0.072, -0.021, task="letters"),
    ],
)
def test_there_is_no_remark_without_a_contradiction(own: Known) -> None:
    assert opposites(WHOLE, 1, [("a line", own)]) == []
    assert opposites(Known("mutation", 0.2, -0.1, 0.5), 1, [("a line", OWN)]) == []


def test_trying_a_line_and_having_it_are_two_estimates() -> None:
    had, loss = Known("having", 0.04, -0.1, 0.18), replace(OWN, estimate=-0.397, low=-0.499, high=-0.294)
    [text] = tried_and_had([("norm=none", had, loss)])
    assert "Trying it: -0.397 nats per experiment" in text and "Having it: +0.04" in text
    assert "Both can be true: a run discards a change that makes its script worse" in text
    worse = replace(had, estimate=-0.2, low=-0.3, high=-0.1)
    assert not tried_and_had([("x", worse, loss), ("x", replace(had, task="letters"), loss), ("x", loss, loss)])


def test_the_evidence_page_compares_a_step_with_the_lines_that_it_added() -> None:
    parent = Program.parse("# Loop\n\n## Ideas\n\n- Use `a=1`.\n", "parent")
    child = Program.parse("# Loop\n\n## Ideas\n\n- Use `a=1`.\n- Use `b=2`.\n", "child")
    old, new = (next(d for d in child.directives if name in d.text) for name in ("a=1", "b=2"))
    rate = DirectiveCredit(
        credit_id="c1", task="strokes", estimate=-2.0, se=0.2, low=-3.0, high=-1.0, n=10, q=0.01,
        design="observational", unit="nats per device-second", directive_id=new.directive_id, text=new.text, heading="",
        kind="idea", program_ids=(), device_seconds=5.0, failures=0, runs_held=9, runs_followed=9,
    )  # fmt: skip
    best = [of_verdict(row(rate)), of_verdict(row(replace(rate, directive_id=old.directive_id, text=old.text)))]
    whole = MutationCredit(
        credit_id="c2", task="strokes", estimate=0.2, se=0.02, low=0.1, high=0.3, n=8, q=0.01, design="paired",
        unit="nats", child_id=child.program_id, name="child", operator="take", parent_ids=(parent.program_id,),
    )  # fmt: skip
    made = MutationEvent(
        child_id=child.program_id, parent_ids=(parent.program_id,), operator="take", generation=1, attempt=0,
        accepted=True, reason="",
    )  # fmt: skip
    [text] = contradictions([LineageStep(child, [parent], made, [], [row(whole)], [])], best)
    assert text.startswith(f"{new.text} has an estimate of -1.00 nats per experiment, but the whole change")


def test_a_line_and_its_edit_have_a_remark_each_where_only_one_is_significant_or_they_are_opposite() -> None:
    line, edit = Known("directive", 0.131, 0.08, 0.18, credit_id="c-line"), Known("edit", -0.002, -0.06, 0.05)
    both = line_and_edit(line, edit)
    assert both is not None and both[0].startswith("Row c1 of the same change is -0.002 nats: this row is the average")
    assert both[1] == (
        "Row c-line of the same change is +0.131 nats: this row is the edit alone on the untouched script; that row is "
        "the average of its tries, each on the script that a run had by then."
    )
    assert line_and_edit(line, replace(edit, low=-0.06, high=-0.01))
    assert line_and_edit(replace(line, q=0.3), edit) is None  # neither is significant
    assert line_and_edit(line, Known("edit", 0.2, 0.1, 0.3)) is None
    assert line_and_edit(line, replace(edit, task="letters")) is None
