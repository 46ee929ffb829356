"""A resumed study gives the same bits: the order and the segments in which records came must not show."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.evidence import evidence
from analysis.ledger import Ledger, read
from analysis.study import open_study
from analysis.tables import rows
from tests.analysis import synthetic
from tests.analysis.test_attribution import WORLD


def results(folder: Path) -> tuple[str, str]:
    with open_study(folder, views=("standings",)) as con:
        table = rows(con.execute("SELECT * FROM standings ORDER BY match_id, arm_id"))
        return json.dumps(table), json.dumps(asdict(replace(evidence(con, "strokes"), effects=None)))


def test_order_of_records_does_not_show(tmp_path: Path) -> None:
    whole = synthetic.study(tmp_path / "whole", WORLD, runs=5, tries=8, programs=("stock", "p2", "p3"))
    events = [{k: v for k, v in r.items() if k not in ("seq", "at", "prev", "hash", "schema")}
              for r in read(whole / "ledger") if r["kind"] != "segment"]  # fmt: skip
    early = [e for e in events if e["kind"] in ("study", "program", "match")]
    late = [e for e in events if e not in early]
    by_run: dict[str, list[dict[str, Any]]] = {}
    for event in late:
        by_run.setdefault(event["run_id"], []).append(event)
    order = np.random.default_rng(0).permutation(sorted(by_run))
    for number, part in enumerate(np.array_split(order, 3)):  # three workers, each writing its runs as they come
        with Ledger(tmp_path / "parts" / "ledger", f"worker{number}") as ledger:
            for event in (early if number == 0 else []) + [e for run in part for e in by_run[run]]:
                ledger.append(event, sync=False)
    assert results(tmp_path / "parts") == results(whole)
