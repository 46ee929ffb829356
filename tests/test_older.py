"""A simulated evolve gives the runs that tests/simulated_runs.json holds, to the last bit.

Where a rule is changed on purpose, record them again in the commit that changes it, and say so in LOG.md:
``python -m bench.older record tests/simulated_runs.json``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.older import simulated

RECORDED = Path(__file__).with_name("simulated_runs.json")


@pytest.mark.slow
def test_simulated_runs_are_those_on_file(tmp_path: Path) -> None:
    recorded, made = json.loads(RECORDED.read_text("utf-8")), json.loads(json.dumps(simulated(tmp_path)))
    both = recorded.keys() & made.keys()
    # What rules write follows from estimates, whose last bits depend on the processor: such programs may differ.
    assert len(both) > len(recorded) / 2
    assert {key: made[key] for key in both} == {key: recorded[key] for key in both}
