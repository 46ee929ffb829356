"""`metaloop power`: from a study's ledger, and from a stated noise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .cli_study import cli, write_study


def test_a_stated_noise_is_answered_with_runs_hours_and_dollars(tmp_path: Path) -> None:
    words = ("--sd", "2", "--mean", "4", "--ratio", "1.25", "-b", "1h", "--usd-per-hour", "3")
    told = json.loads(cli("power", *words, "--json", cwd=tmp_path).stdout)
    (item,) = told["items"]
    assert (item["difference"], item["ratio"], item["runs"]) == (1.0, 1.25, 64)
    assert item["device_hours"] == pytest.approx(128) and item["usd"] == pytest.approx(384)
    assert told["noise"]["interval"] is None and "Welch" in told["method"]


def test_an_unknown_price_is_not_zero(tmp_path: Path) -> None:
    done = cli("power", "--sd", "2", "--difference", "2", "-t", "strokes", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    head, line = (row.split("\t") for row in done.stdout.splitlines())
    assert dict(zip(head, line, strict=True))["usd"] == "not priced"
    told = json.loads(cli("power", "--sd", "2", "--difference", "2", "--json", cwd=tmp_path).stdout)
    assert (
        told["price"] == "not priced" and told["items"][0]["usd"] is None and told["items"][0]["device_hours"] is None
    )


def test_a_study_answers_from_its_ledger_and_says_what_it_can_tell(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study")
    told = json.loads(cli("power", str(folder), "-n", "5", "--json").stdout)
    assert told["tells"]["runs"] == 5 and told["tells"]["detectable_ratio"] > 1
    assert told["matches"][0]["comparison"] == "any two" and "11 runs of strokes" in told["noise"]["from"]
    shown = cli("power", str(folder))
    assert shown.stdout.startswith("difference\tratio\truns") and "noise: standard deviation (SD)" in shown.stderr
