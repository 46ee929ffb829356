"""What an entry's page says of its runs adds up."""

from __future__ import annotations

import re

from arena.contest.web.curve import curve


def test_the_kinds_of_experiments_add_up() -> None:
    kinds = [("ok", "baseline", 1.0), ("ok", "keep", 1.0), ("ok", "discard", 1.0), ("crash", "discard", 1.0),
             ("ok", "discard", 0.25)]  # fmt: skip
    rows = [
        {"number": at, "status": status, "metric": 1.0 if status == "ok" else None, "decision": decision,
         "fraction": fraction, "description": ""}
        for at, (status, decision, fraction) in enumerate(kinds)
    ]  # fmt: skip
    run = {"experiments": rows, "direction": "lower", "metric": "nll", "unit": "nats", "sd": None, "final": 0.5,
           "left_out": 0}  # fmt: skip
    total, within = re.match(r"(\d+) experiments \(([^)]*)\)", curve(run).caption).groups()  # type: ignore[union-attr]
    assert sum(map(int, re.findall(r"\d+", within))) == int(total) == len(rows), within
    assert "at the end on the search's data, 0.50000 on fresh seeds, where the gain is measured" in curve(run).caption
    assert "1 not drawn: screens and repeats" in within and "aside" not in str(curve(run))
