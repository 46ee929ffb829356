"""A contest by its commands alone: found, serve, join, submit, status, close, export."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from meta.cli.contest import noise_of
from meta.cli.output import Output
from programs.shelf import starter
from tests.analysis import synthetic
from tests.arena.contest.hosting import founded
from tests.meta.cli_study import cli
from tests.studies import drawn_law

STOCK = starter("stock").program_id


def metaloop(folder: Path, *words: str, code: int = 0, **surroundings: str) -> dict[str, Any]:
    """One command with --json: its answer, or the error that it ended with."""
    done = cli(*words, "--json", cwd=folder, env={**os.environ, **surroundings})
    assert done.returncode == code, done.stderr
    said = done.stdout if code == 0 else next(line for line in done.stderr.splitlines() if line.startswith("{"))
    answer: dict[str, Any] = json.loads(said)
    return answer if code == 0 else answer["error"]


def test_noise_of_a_study_is_the_spread_over_the_mean_of_stock(tmp_path: Path) -> None:
    with synthetic.played(tmp_path, STOCK, "p1", purpose="race") as ledger:
        for arm, program, gains in (("a1", STOCK, (0.5, 0.7)), ("a2", "p1", (2.0, 2.2, 2.4))):
            for number, gain in enumerate(gains):
                synthetic.run(ledger, f"{arm}-{number}", "m1", arm, program, number, [gain])
    (tmp_path / "study.toml").touch()
    assert noise_of(str(tmp_path), Output()) == pytest.approx(math.sqrt((0.02 + 0.08) / 3) / 0.6)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """`contest serve` beside the test; yields its address, ends it as Ctrl-C would."""
    command = [sys.executable, "-m", "meta.cli.main", "contest", "serve", "c", "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        process.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_contest_by_its_commands(tmp_path: Path) -> None:
    drawn_law(tmp_path / "law", 3)
    options = ("--set", "confirm_runs=6", "--set", "texts_after_close=true")
    made = metaloop(tmp_path, "contest", "init", "c", "-t", "law", "-n", "2", *options)
    (tmp_path / "a.md").write_text("# Mine\n\n## Ideas\n\n- Try one thing.\n")
    (tmp_path / "bad.md").write_text("---\nmetaloop:\n  wave: many\n---\n# A\n")
    with serving(tmp_path) as url:
        wrong = metaloop(tmp_path, "contest", "join", "--to", url, "--name", "Eve", "--code", "no", code=2)
        assert "code" in wrong["message"]
        joined = metaloop(tmp_path, "contest", "join", "--to", url, "--name", "Ada", "--code", made["join_code"])
        token = {"METALOOP_TOKEN": joined["token"]}
        assert metaloop(tmp_path, "contest", "submit", "a.md", "--to", url, code=4)["kind"] == "credential"
        assert "wave" in metaloop(tmp_path, "contest", "submit", "bad.md", "--to", url, code=2, **token)["message"]
        entry = metaloop(tmp_path, "contest", "submit", "a.md", "--to", url, **token)
        assert entry["new"] and not metaloop(tmp_path, "contest", "submit", "a.md", "--to", url, **token)["new"]
        assert [m["code"] for m in entry["lint"]] == ["no-edit"]
        early = metaloop(tmp_path, "contest", "close", "c", code=2)
        assert "closes at" in early["message"]
        unasked = metaloop(tmp_path, "contest", "close", "c", "--early", "a trial", code=2)
        assert "no terminal to ask" in unasked["message"]
        told = metaloop(tmp_path, "contest", "close", "c", "--early", "a trial", "-y")  # beside the server
        assert told["outcome"] in ("won", "shared", "none")
        status = metaloop(tmp_path, "contest", "status", "--to", url, **token)
        assert status["contest"]["phase"] == "decided" and status["contest"]["closed_early"] == "a trial"
        assert status["me"]["entries"][0]["state"] == "verified"
        late = metaloop(tmp_path, "contest", "submit", str(Path(__file__).with_name("hosting.py")), "--to", url,
                        code=2, **token)  # fmt: skip
        assert "closed for entries" in late["message"]
    assert metaloop(tmp_path, "contest", "close", "c")["secret"] == told["secret"]  # told again, not run again
    page = (tmp_path / "c/report.html").read_text()
    assert "Closed early by the host: a trial." in page and "Runs without a score" not in page
    assert "The intervals of the race are wider than these" in page
    assert metaloop(tmp_path, "export", "c", "-o", "out")["entries"] == 3
    assert (tmp_path / "out" / "entries" / "00003-Ada.md").read_text() == (tmp_path / "a.md").read_text()
    rows = query(tmp_path / "out", "SELECT purpose, count(*) n FROM standings WHERE gain IS NOT NULL GROUP BY ALL")
    assert {row["purpose"]: row["n"] for row in rows} == {"contest": 3, "confirmation": 3}


def test_status_of_a_folder_ignores_the_address_in_environment(tmp_path: Path) -> None:
    founded(tmp_path).contest.database.close()
    host = {"METALOOP_TO": "http://127.0.0.1:9"}
    assert metaloop(tmp_path, "contest", "status", "contest", **host)["health"]
    both = metaloop(tmp_path, "contest", "status", "contest", "--to", host["METALOOP_TO"], code=2)
    assert both["message"] == "a folder and --to exclude each other"
