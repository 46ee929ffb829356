"""Tasks whose metric is a time: one experiment runs at a time."""

from __future__ import annotations

import json
from pathlib import Path

from tests.meta.cli_study import Call
from trainer.laws.planted import random_law, simulated_task


def test_one_experiment_runs_at_a_time_and_more_are_refused(call: Call, tmp_path: Path) -> None:
    task = simulated_task(random_law(2), tmp_path / "law", experiments=6)
    toml = task / "task.toml"
    toml.write_text(toml.read_text().replace("[task]\n", "[task]\ntimed = true\n"))
    for words in (("match", "stock", "local", "-n", "4"), ("evolve", "--quick")):
        given = (*words, "-t", str(task))
        code, out, err = call(*given, "--dry-run", "--json")
        assert code == 0 and json.loads(out)["workers"] == 1, err
        for more in (("-j", "2"), ("--set", "devices_per_run=2")):
            code, _, err = call(*given, *more, "--dry-run")
            assert code == 2 and "its metric is a time, so only one experiment runs at a time" in err
