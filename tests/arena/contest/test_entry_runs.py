"""What an entry's page says of its runs adds up."""

from __future__ import annotations

import re

import pytest

from arena.contest.web.best_run import IdeaUse, KeptEdit
from arena.contest.web.curve import curve
from arena.contest.web.render import own_reason


def test_the_kinds_of_experiments_add_up() -> None:
    kinds = [("ok", "baseline", 1.0), ("ok", "keep", 1.0), ("ok", "discard", 1.0), ("crash", "discard", 1.0),
             ("ok", "discard", 0.25)]  # fmt: skip
    rows = [
        {"number": at, "status": status, "metric": 1.0 if status == "ok" else None, "decision": decision,
         "fraction": fraction, "description": ""}
        for at, (status, decision, fraction) in enumerate(kinds)
    ]  # fmt: skip
    run = {"experiments": rows, "direction": "lower", "metric": "nll", "unit": "nats", "sd": None, "final": None,
           "left_out": 0}  # fmt: skip
    total, within = re.match(r"(\d+) experiments \(([^)]*)\)", curve(run).caption).groups()  # type: ignore[union-attr]
    assert sum(map(int, re.findall(r"\d+", within))) == int(total) == len(rows), within
    assert "1 not drawn: screens and repeats" in within and "aside" not in str(curve(run))


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("", False),
        ("better: +0.500000 nats", False),
        ("not better: +0.500000", False),
        ("better: +0.500000 %", False),
        ("better: +0.500000 bits/byte", False),
        ("better: +0.400000 nats", True),  # than another script than its parent
        ("better: +0.500000 nats, within the margin", True),
        ("crash: TypeError", True),
    ],
)
def test_a_reason_that_repeats_the_figure_beside_it_is_left_out(reason: str, shown: bool) -> None:
    row = {"number": 2, "reason": reason}
    assert own_reason(row, {2: 0.5000001}) is shown  # type: ignore[arg-type]
    assert own_reason(row, {}) is bool(reason)  # type: ignore[arg-type]


def test_only_a_script_has_to_cite_what_it_tries() -> None:
    own, other = (KeptEdit(1, "lr=1", 0.0, 0.0, of_idea=one) for one in (True, False))
    script, model, silent = IdeaUse(1, 1, 2), IdeaUse(1, 1, 2, scripted=False), IdeaUse(0, 0, 4, scripted=False)
    assert "kept 1 of the program’s 4 ideas; 1 more was tried but not kept, 2 not tried." in script.said
    assert "kept cite 1 of the program’s 4 ideas; its other experiments cite 1 more" in model.said
    assert [use.origin(one) for use in (script, model) for one in (own, other)] == [
        "from an idea",
        "from its search",
        "cites an idea",
        "cites no idea",
    ]
    assert silent.said == silent.origin(other) == ""
