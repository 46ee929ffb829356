"""What weakens a result: one query, fixed texts, the most serious first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from analysis.verdict.decision import Caveat, Decision
from analysis.views.tables import statement
from analysis.wording import clean
from trainer.freshness import SENTENCES

if TYPE_CHECKING:
    import duckdb

MOST = 5
STOP, MIND, NOTE = "stop", "mind", "note"
#: Code → (level, title, text), the most serious first. ``{n}`` and ``{detail}`` are the query's columns.
TEXTS = {
    "contradicted": (STOP, "Contradicted", "metaloop verify measured the lead again and did not find it."),
    "claims": (
        STOP,
        "Nothing was verified",
        "No final script was trained again: figures are the runs' claims.",
    ),
    "self-reported": (STOP, "Self-reported scores", "Scores that the edited script itself printed: {n}."),
    "unverified": (STOP, "Unverified scores", "Verifications without a sandbox, where code can change a score: {n}."),
    "undecided": (STOP, "No verdict yet", "These runs chose the programs, so the best one's gain is too high."),
    "metric line": (
        MIND,
        "The metric's own lines changed",
        "The new train.py prints or computes its metric in another way: {detail}. Read its diff first.",
    ),
    "reads": (MIND, "Other files are read", "The new train.py names files that the untouched one does not: {detail}."),
    "seed": (MIND, "A seed changed", "Another value of a seed is part of the change: {detail}. Its luck is no gain."),
    "race": (MIND, "A race", "Close contenders got more runs, so the leader's gain is too high on average."),
    "added": (
        MIND,
        "Runs of an earlier study",
        "The difference and its p count those of {detail}, too; ranks and the gain of each program do not. "
        "Who adds runs after a look at them tests twice, so p is too small.",
    ),
    "goes on": (
        MIND,
        "All nights together",
        "The gain counts from the untouched script on: what this night added to the main it began with is not tested.",
    ),
    "simulated": (MIND, "Nothing was trained", "Formulas give the results of {detail}. Test it on a real task."),
    "nothing": (MIND, "No fresh data and no fresh training seeds", SENTENCES["nothing"]),
    "seeds": (MIND, "Only seeds are fresh", SENTENCES["seeds"]),
    "drift": (
        MIND,
        "The machine's speed changed",
        "At the end, the untouched files took {detail}.",
    ),
    "load": (
        MIND,
        "Other load on the machine",
        "A training of the untouched script {detail}, so gains differ from an idle machine's.",
    ),
    "collapsed": (MIND, "Gains that collapsed", "Runs that lost over half of a large claim when trained again: {n}."),
    "few runs": (MIND, "Few runs", "Programs with fewer than 5 runs: {n} (the fewest: {detail}). Intervals are wide."),
    "trust differs": (
        MIND,
        "Trust differs",
        "Kinds of scores that are compared: {n}. A difference may come from the scoring.",
    ),
    "gpu": (NOTE, "The GPU's driver", "Trainings with a remark of it: {n}, such as: {detail}."),
    "findings": (MIND, "The referee noticed something", "Suspicions: {n} ({detail}). They change no score."),
    "failed seeds": (
        MIND,
        "Failed seeds",
        "Fresh seeds under which a final script failed: {n}. Each counts as a gain of 0.",
    ),
    "unscored": (MIND, "Runs without a score", "Finished runs without a verified gain: {n}."),
    "running": (MIND, "Unfinished runs", "Runs that had not ended: {n}."),
    "hardware": (MIND, "Different hardware", "Kinds of hardware: {n}. Compare matches on the same one only."),
    "writers": (
        MIND,
        "No program of a model was raced",
        "All {n} proposals of models were refused, the last one: {detail}.",
    ),
    "left open": (
        NOTE,
        "Undecided scripts",
        "Scripts that scored better than those kept, by less than noise can do: {n}; the best has {detail}.",
    ),
    "as stock": (NOTE, "Your program acts like stock", "This researcher runs {detail} as it runs stock."),
    "as champion": (NOTE, "Nothing better was found", "The champion acts like {detail}, so the test is against stock."),
    "failures": (MIND, "Failed experiments", "Experiments that crashed, ran out of time or memory: {detail}."),
}


def caveats(con: duckdb.DuckDBPyConnection, decision: Decision | None = None) -> tuple[Caveat, ...]:
    """Those that apply to an open study (with the view `standings`), the most serious first, at most MOST.
    ``decision``: where it is not in the ledger yet."""
    record = json.dumps(decision.record()) if decision else None
    answer = con.execute(statement("verdict/caveats"), {"decision": record})
    counts = {code: (n, detail) for code, n, detail in answer.fetchall()}
    known = [
        Caveat(level, title, clean(text.format(n=counts[code][0], detail=counts[code][1])))
        for code, (level, title, text) in TEXTS.items()
        if code in counts
    ]
    return tuple(known[:MOST])
