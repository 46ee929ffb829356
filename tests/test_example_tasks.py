"""The tasks of examples/tasks: their check finds no error, and a short run improves their script."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.meta.cli_study import cli
from tests.studies import Snapshot
from trainer.cards.check import check
from trainer.task import Task

TASKS = Path(__file__).parents[1] / "examples" / "tasks"
#: Of each script, in the order in which a run tests them.
IDEAS = {"microgpt": ("LR=0.03", "INIT=0.1"), "kernel": ("batch", "gemm")}
PROGRAM = "---\nmetaloop:\n  proposers: {queue: 1.0}\n---\n# Queue\n\n## Ideas\n\n"


@pytest.mark.parametrize("name", sorted(IDEAS))
def test_its_edits_apply_and_the_negative_control_has_no_role(name: str) -> None:
    task = Task.load(TASKS / name)
    config = task.edits.config(task.baseline())
    assert all(config[knob.name] in knob.values for knob in task.edits.knobs)
    assert any(knob.role for knob in task.edits.knobs) == (name != "kernel")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(IDEAS))
def test_it_keeps_the_contract_and_there_is_something_to_gain(name: str, tmp_path: Path) -> None:
    found = {finding.clause: finding for finding in check(TASKS / name, knobs=False)}
    assert not [finding for finding in found.values() if finding.level == "error"]
    assert found["baseline"].level == "ok" and found["trust"].message.startswith("scored")
    task, program = Task.load(TASKS / name), tmp_path / "program.md"
    program.write_text(PROGRAM + "".join(f"- `{idea}`.\n" for idea in IDEAS[name]))
    words = f"-n 1 --no-controls -b {3 * task.cost_seconds}s --seed 1 -j 1 -y".split()
    done = cli("match", str(program), "-t", str(task.folder), "-s", str(tmp_path / "study"), *words)
    assert done.returncode == 0, done.stderr
    ask = Snapshot(tmp_path / "study")
    listed = f"WHERE number <= {len(IDEAS[name])}"  # what follows is any edit, also one that gives wrong results
    experiments = ask.con.execute(f"SELECT status, trust FROM experiments {listed}").fetchall()
    assert len(experiments) >= 2 and set(experiments) == {("ok", "scored")}
    [(gain,)] = ask.con.execute("SELECT verified_gain FROM runs").fetchall()
    assert gain > 0.05
