"""Small studies of every shape that reports are made of, through the real ledger; one is full of hostile text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from analysis.ledger import Ledger
from analysis.ledger.events import BaselineEvent
from analysis.report import page
from analysis.report.source import ReportSource
from analysis.statistics import Estimate
from analysis.study import open_study
from analysis.verdict.decision import BETTER, Compared, Decision
from analysis.verdict.verdict import verdict_of
from bench.planted_events import mutation
from programs.program import Program
from tests.analysis import synthetic

WORLD = synthetic.World(
    effects={("lr", 0.1): 0.3, ("lr", 0.5): -0.2, ("width", 64): 0.2, ("depth", 3): 0.1, ("muon", True): 0.15},
    baseline={"lr": 0.01, "width": 32, "depth": 2, "muon": False},
    crashes=frozenset({("depth", 3)}),
)
HOSTILE = '</script><img src=x onerror="alert(1)">\u2028<!--\u202egnp.exe & {{ 7 * 7 }}'
TEXT = """---
metaloop:
  proposers: {queue: 0.9, random: 0.1}
---
# Champion <b>bold</b>

A paragraph that is read by nobody.

## Ideas

- Raise the rate: `lr=0.1`.
- Wider: `width=64` </div><script>alert(2)</script>
"""


def finished(folder: Path, *, hostile: bool = False) -> Path:
    """Two programs and an A/A arm race, a child is made, a confirmation follows and a champion is named."""
    name = HOSTILE if hostile else "champion"
    parsed = Program.parse(TEXT, "champion")
    keys = ("directive_id", "heading", "kind", "text", "position")
    directives = [{key: getattr(directive, key) for key in keys} for directive in parsed.directives]
    ideas = [idea.directive_id for idea in parsed.ideas]
    with Ledger(folder / "ledger", "main") as ledger:
        config: dict[str, Any] = {
            "kind": "evolve", "task": "strokes", "researcher": "scripted", "workers": 2, "run_budget": 3.0,
            "versions": {"metaloop": "0.1.0", "python": "3.11"},
        }  # fmt: skip
        study = {"kind": "study", "study_id": "y1", "config": config, "version": "0.1.0", "started_at": ""}
        ledger.append(study, sync=False)
        synthetic.program(ledger, "stock")
        born: dict[str, Any] = {"operator": "write-ideas", "generation": 1}
        synthetic.program(ledger, "p-best", directives, name=name, text=TEXT, parent_ids=["stock"], **born)
        mutation(ledger, "p-best", ["stock"], reason=HOSTILE if hostile else "written", **born)
        for match, stream, purpose in (("m1", "selection", "race"), ("m2", "confirmation", "confirmation")):
            play(ledger, match, stream, purpose, ideas, hostile=hostile)
        ledger.append({"kind": "champion", "program_id": "p-best", "name": name, **claim(name)}, sync=False)
    return folder


def play(ledger: Ledger, match: str, stream: str, purpose: str, ideas: list[str], *, hostile: bool) -> None:
    """A match of the champion, stock and stock again, every run with its experiments and two verifications."""
    best, stock, twin = (f"{match}-{arm}" for arm in ("best", "stock", "twin"))
    arms = {best: "p-best", stock: "stock", twin: "stock"}
    roles = {best: "champion" if purpose == "confirmation" else "program", stock: "control", twin: "a/a"}
    config = {"direction": "lower", "metric": "nll", "unit": "nats"}
    synthetic.match(ledger, match, arms, roles, config=config, stream=stream, purpose=purpose)
    rng = np.random.default_rng(len(match + stream))
    for seed in range(4):
        told: dict[str, Any] = {"seed": seed, "metric": 2.0 + 0.01 * seed, "stream": stream, "trust": "scored"}
        event = BaselineEvent(match_id=match, task="strokes", status="ok", device_seconds_spent=0.1, **told)
        ledger.append(event.to_record(), sync=False)
    for arm, who in arms.items():
        for number in range(6):
            run_id = f"r-{arm}-{number}"
            synthetic.start(ledger, run_id, match, arm, who, number, stream=stream)
            queue = [("lr", 0.1), ("width", 64)] if who == "p-best" else []
            final = synthetic.search(ledger, WORLD, run_id, rng, tries=12, directives=ideas, ideas=queue)
            synthetic.end(ledger, run_id, claimed=WORLD.gain(final) + 0.05)
            gains = WORLD.gain(final) + rng.normal(0, 0.01, 2)
            synthetic.verify(ledger, run_id, arm, who, list(gains), stream=stream, trust="scored")
            if hostile:
                ledger.append({"kind": "finding", "run_id": run_id, "finding": "leak", "text": HOSTILE}, sync=False)
    ledger.append({"kind": "match_ended", "match_id": match, "state": "finished"}, sync=False)


def claim(name: str) -> dict[str, Any]:
    """A champion's record; the figures are given, for what is tested is how they are told."""
    mean, stock = Estimate(0.52, 0.02, 5.0, n=6), Estimate(0.30, 0.03, 5.0, n=6)
    tested = Compared("stock", stock, mean.minus(stock), 0.52 / 0.30)
    decision = Decision(BETTER, name, "nats", (), mean, tested, 0.0004, trust="scored", match_ids=("m2",))
    return {"holds": True, "trust": "scored", "decision": decision.record()}


def race_only(folder: Path, gains: dict[str, tuple[float, float]]) -> Path:
    """A match of ready-made runs without experiments, no champion."""
    with Ledger(folder / "ledger", "main") as ledger:
        ledger.append({"kind": "study", "study_id": "y1", "config": {"kind": "match"}, "version": "0"}, sync=False)
        for who in gains:
            synthetic.program(ledger, who)
        synthetic.race(ledger, "m1", gains, 5, np.random.default_rng(1))
    return folder


def just_begun(folder: Path) -> Path:
    """A study whose first run is at work."""
    with Ledger(folder / "ledger", "main") as ledger:
        ledger.append({"kind": "study", "study_id": "y1", "config": {}, "version": "0"}, sync=False)
        synthetic.program(ledger, "stock")
        synthetic.match(ledger, "m1", {"a1": "stock"})
        synthetic.start(ledger, "r1", "m1", "a1", "stock", 0)
        synthetic.search(ledger, WORLD, "r1", np.random.default_rng(0), tries=3)
    return folder


def written(folder: Path) -> str:
    """The report of a study."""
    with open_study(folder) as con:
        return page.report(con, str(folder))


def page_of(folder: Path) -> page.Page:
    """With all that its template asks for."""
    with open_study(folder) as con:
        found = page.Page(ReportSource(con, str(folder)), verdict_of(con))
        _ = found.parts, found.experiments, found.identity, found.program
    return found
