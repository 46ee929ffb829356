"""What `contest status` and `contest init --dry-run` print at a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arena.contest.stored import MeasuredRow
from meta.cli.main import run
from tests.arena.contest.hosting import founded
from trainer.scaffold import init_simulated


def winner(gain: float) -> MeasuredRow:
    return {
        "entry_id": "e3", "number": 3, "entrant": "Ada", "name": "Ada 1", "arm_id": "a", "program_id": "p", "n": 28,
        "se": 0.01, "low": gain - 0.02, "high": gain + 0.02, "claimed": gain, "words": 5, "role": "program",
        "trust": "verified", "failed_seeds": 0.0, "device_seconds_charged": 70.0, "tokens": None, "usd": None,
        "gain": gain, "rank_low": 1, "rank_high": 1, "state": "verified",
    }  # fmt: skip


def test_after_the_decision_the_deciding_runs_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contest = founded(tmp_path).contest
    command = ["contest", "status", str(contest.folder)]
    contest.database.set_fact("pulse", at="2026-01-01T00:00:00+00:00")
    assert run(command) == 0
    before = capsys.readouterr()
    assert "the queue is not running, last active" in before.err and "0.691" not in before.out
    contest.database.set_fact("announcement", headline="Ada wins", rows=[winner(0.691)], unit="nats")
    contest.state(decided="2026-01-01T00:00:00+00:00")
    assert run(command) == 0
    after = capsys.readouterr()
    assert "Ada: Ada 1\t0.691" in after.out and "confirming runs" in after.err
    assert "no runs are left" in after.err and "not running" not in after.err


def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    law, folder = init_simulated(tmp_path / "law", 3), tmp_path / "c"
    command = ["contest", "init", str(folder), "-t", str(law), "--dry-run", "--confirm-runs", "9", "--json"]
    assert run([*command, "--expect-entries", "4"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["runs"], plan["leaders"]) == (9, 4) and plan["run_seconds"] > 0 and not folder.exists()
    folder.mkdir()
    (folder / "mine").touch()
    assert run(command) == 2 and "is not empty" in capsys.readouterr().err
