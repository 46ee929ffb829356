"""Facts that a study is made to have, and the screens that state them: each has the ledger's figures, and no screen
has others or states the contrary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from analysis.study import query
from analysis.verdict.decision import ArmRuns, EarlierRuns
from bench.contradiction.laws import HIGH, WIDE, Plant
from bench.contradiction.plants import match_only, night_study
from bench.contradiction.rules import flat

RESULT = ("end", "end, piped", "json", "evidence", "report", "window page")  # screens that state a whole result
MATCH = ("standings", "standings, json", "status, json", "report", "window", "window page")
A_NUMBER = r"([−-]?[\d.]+)"


@dataclass(frozen=True)
class Fact:
    """``study``: of STUDIES. ``pattern``: matches it on a screen, with a group for each figure; ``figures``: a query of
    the study, whose one row has these figures; empty: all screens have the same. ``on``: the screens that have to state
    it. ``never``: what no screen may state."""

    study: str
    pattern: str
    on: tuple[str, ...]
    figures: str = ""
    never: str = ""


#: Name → makes the study in a folder.
STUDIES: dict[str, Callable[[Path], Path]] = {
    "the untouched script used the budget up": partial(night_study, cost=0.02, gain=0.0),
    "a night that ends in its first block": partial(night_study, cost=0.04, gain=0.0),
    "a night without a win": partial(night_study, cost=0.1, gain=0.0),
    "a night with a win": partial(night_study, cost=0.1, gain=0.5),
    "a match whose added program has no run": lambda folder: match_only(
        Plant("match", {"first": HIGH, "third": WIDE}),
        folder,
        [EarlierRuns("early", (ArmRuns("first", "first", "nats", HIGH), ArmRuns("second", "second", "nats", WIDE)))],
    ),
    "a match of two, with --add": lambda folder: match_only(
        Plant("match", {"first": [1.0, 1.3, 0.9, 1.1], "second": [0.4, 0.6, 0.9, 0.3]}),
        folder,
        [EarlierRuns("early", (ArmRuns("first", "first", "nats", HIGH), ArmRuns("second", "second", "nats", WIDE)))],
    ),
}
FACTS: dict[str, Fact] = {
    "no change was tried": Fact(
        "the untouched script used the budget up", "no change was tried", (*RESULT, "standings", "status, json"),
        never="no change was kept|one-sided p",
    ),
    "no change was kept": Fact(
        "a night without a win", "no change was kept", (*RESULT, "standings", "status, json"),
        never="no change was tried",
    ),
    "no test was possible": Fact(
        "a night that ends in its first block", "No test of .* against .* was possible", (*RESULT, "standings"),
        never="no change was tried|one-sided p|does not show which",
    ),
    "main gains nothing": Fact(
        "the untouched script used the budget up", rf'"gain": {A_NUMBER}, "low": null', ("standings, json",),
        "SELECT 0.0",
    ),
    "start and end": Fact(
        "a night with a win", rf"loss {A_NUMBER} → {A_NUMBER}", RESULT, "SELECT start, end_ FROM harvest"
    ),
    "seconds charged": Fact(
        "a night with a win", r"charged to the runs(?:, without verification)?\s*([\d.]+) ?s\b",
        ("status", "window page"), "SELECT sum(device_seconds_charged) FROM runs",
    ),
    "seconds unused": Fact(
        "a night without a win", r"([\d.]+) ?s of it unused", ("status", "window page", "window"),
        "SELECT sum(forfeited) FROM runs",
    ),
    "one p of a difference": Fact(
        "a match of two, with --add",
        rf"two-sided p = {A_NUMBER}, (\d+) runs against (\d+), (\d+) and (\d+) of them in early", MATCH,
    ),
    "runs that --add counts weaken it": Fact(
        "a match of two, with --add", "count those of early, too", ("standings", "report", "window page")
    ),
    "runs of other programs do not count": Fact(
        "a match whose added program has no run", "first minus third", ("standings", "report", "window page"),
        never="count those of early|of them in early",
    ),
    "the better one": Fact(
        "a match of two, with --add", "first (?:is better|by 0)", (*MATCH, "list"),
        never="second (?:is better|by 0)|which is better is not shown",
    ),
}  # fmt: skip


def of_fact(fact: Fact, folder: Path, shown: Mapping[str, str]) -> Iterator[str]:
    """Screens that lack the fact, have other figures or state the contrary."""
    [row] = query(folder, fact.figures) if fact.figures else [{}]
    known = [*row.values()]
    for screen, text in shown.items():
        stated = [match.groups() for match in re.finditer(fact.pattern, flat(text))]
        if screen in fact.on and not stated:
            yield f"{screen}: does not state {fact.pattern!r}"
        known = known or [float(number) for figures in stated[:1] for number in figures]
        for figures in stated:
            if not all(map(is_rounded, figures, known)):
                yield f"{screen}: states {figures}, the ledger has {known}"
        if fact.never and (found := re.search(fact.never, flat(text))):
            yield f"{screen}: states {found[0]!r}"


def is_rounded(text: str | None, value: Any) -> bool:
    """Whether a screen's figure is this value, as far as it has digits; a figure that is left out is 0."""
    text = (text or "0").replace("−", "-").rstrip(".")
    return abs(float(text) - float(value or 0.0)) <= 0.501 * 10.0 ** -len(text.partition(".")[2])
