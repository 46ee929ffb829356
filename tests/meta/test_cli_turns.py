"""Programs that take turns on one train.py: the ablation of prose and the league, with a reader of known obedience."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from analysis.study import query
from bench import league
from tests.llm import followers
from tests.llm.fixtures import close_connections, dropped, litellm_loaded
from tests.llm.kits import environment
from tests.llm.server import LlmServer

from .cli_study import cli, metaloop

__all__ = ["litellm_loaded"]
pytestmark = dropped
HOW = ("-t", "task", "-m", "openai/test", "--seed", "5", "-j", "1", "--set", "fixed_steps=true", "--set", "lineages=2")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, litellm_loaded: None) -> Path:
    followers.steps_task(tmp_path / "task")
    (tmp_path / "rules.md").write_text(followers.PROGRAM)
    monkeypatch.chdir(tmp_path)
    with LlmServer(followers.answer) as server:
        environment(monkeypatch, server.url)
        yield tmp_path
        close_connections()


def effects(folder: str) -> dict[str, dict[str, Any]]:
    return {row["label"]: row for row in query(Path(folder), "FROM credit WHERE method = 'factorial'")}


def test_an_ablation_of_prose_shows_the_sentence_that_helps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = metaloop("ablate", "rules.md", *HOW, "-s", "s", "--json").json
    rows, [played] = effects("s"), query(here / "s", "SELECT count(*) AS turns, max(block) AS block FROM night_turns")
    assert (played["turns"], played["block"]) == (64, 3) and {row["n"] for row in rows.values()} == {64}
    helpful, null, visible = (rows[text] for text in (followers.HELPFUL, followers.NULL, followers.VISIBLE))
    assert helpful["low"] > 0.5 and helpful["p_holm"] < 0.01
    talk = rows[followers.TALK]
    assert max(row["low"] for row in (null, visible, talk)) < 0 and talk["is_followed"]
    assert (helpful["is_followed"], null["is_followed"], visible["is_followed"]) == (True, False, True)
    assert {row["stream"] for row in rows.values()} == {"search"} and made["items"][0]["label"] == followers.HELPFUL
    shown = metaloop("show", helpful["credit_id"], "-s", "s", "--json").json
    assert shown["rests_on_rows"] == 64 and query(here / "s", shown["sql"])[0]["held"]
    assert metaloop("resume", "s", "--json").json["items"] == made["items"]
    capsys.readouterr()
    league.main(["sentences", "s", "s", "s.svg"])  # the figures of a season, over several studies
    told = capsys.readouterr().out
    assert "turns, sentences: 128, 5" in told and f"{followers.HELPFUL}: {helpful['estimate']:.2f} [" in told
    metaloop("report", "s", "-o", "report.html")
    page = (here / "report.html").read_text()
    verdict = "1 of 5 directives of rules has a significant effect"
    assert followers.HELPFUL in page and verdict in page
    assert page.count("<figcaption>How main, the best train.py so far, improved") == 2  # a picture for each lineage


@pytest.mark.slow
def test_an_ablation_that_was_killed_ends_as_if_it_had_not(here: Path) -> None:
    words = ("ablate", "rules.md", *HOW)
    metaloop(*words, "-s", "whole")
    kill_after(here / "cut", 150, *words, "-s", "cut")
    assert 0 < query(here / "cut", "SELECT count(*) AS n FROM night_turns")[0]["n"] < 64
    metaloop("resume", "cut")
    columns = ("estimate", "low", "high", "p_holm", "is_followed", "n")
    whole, cut = (
        {label: [row[c] for c in columns] for label, row in effects(name).items()} for name in ("whole", "cut")
    )
    assert whole == cut


def kill_after(folder: Path, records: int, *words: str) -> None:
    """Start a command and kill it when the study has so many records."""
    command = [sys.executable, "-m", "meta.cli.start", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    segments = folder / "ledger"
    while sum(file.read_bytes().count(b"\n") for file in segments.glob("*.jsonl")) < records:
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_plan_says_turns_power_and_price_and_refuses_too_few(here: Path) -> None:
    plan = metaloop("ablate", "rules.md", *HOW, "--dry-run", "--json").json
    assert (plan["directives"], plan["lineages"], plan["turns"], plan["runs"]) == (5, 2, 64, 2)
    assert plan["tokens"] > 64 * 1000 and "not priced" in plan["price"]
    half = f"± {stats.t.ppf(0.975, 16 - 2 - 5) * 2 / 64**0.5:.2f} SD between turns"  # 16 programs in 2 groups of blocks
    assert half in plan["power"] and "after Holm" in plan["power"]
    of_agent = ("-t", "task", "-r", "command", "--set", "agent=cat", "--dry-run", "--json")
    agent = metaloop("ablate", "rules.md", *of_agent).json
    assert agent["turns"] == 128 and agent["runs"] == 4  # four lineages, of six experiments a turn
    assert agent["charged_seconds"] / 4 == pytest.approx(6 * plan["charged_seconds"] / 2, rel=0.1)
    small = cli("ablate", "rules.md", *HOW, "--budget", "2s", "--dry-run")
    assert small.returncode == 2 and "need at least 32 turns" in small.stderr
    one = metaloop("ablate", "rules.md", *HOW, "--only", plan["factors"][1]["directive_id"], "--dry-run", "--json").json
    assert one["factors"][0]["text"] == followers.HELPFUL and one["directives"] == 1


def test_a_league_shows_the_program_that_helps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("bold", followers.HELPFUL), ("calm", followers.NULL), ("plain", "Lower the loss.")):
        (here / f"{name}.md").write_text(f"# {name}\n\n{text}\n")
    turns = ("--set", "unit=turn", "-n", "2", "--set", "blocks=10")
    words = ("match", "bold.md", "calm.md", "plain.md", *HOW[:-2], *turns)
    plan = metaloop(*words, "--dry-run", "--json").json
    assert (plan["turns"], plan["runs"]) == (60, 2) and "corrected for 3 pairs" in plan["power"]
    made = metaloop(*words, "-s", "s", "--json").json
    first, *others = made["items"]
    assert [row["turns"] for row in made["items"]] == [20, 20, 20] and first["tokens"] > 500
    assert first["name"] == "bold" and first["low"] > 0 and made["p"] < 0.01
    assert all(row["high"] < first["low"] for row in others) and made["verdict"] == "the programs differ"
    assert metaloop("resume", "s", "--json").json["items"] == made["items"]
    standings = metaloop("standings", "s", "--json").json
    assert standings["league"]["p"] == made["p"] and len(standings["turns"]) == 3
    assert "The programs took turns" in standings["found"][0]
    starts = query(here / "s", "SELECT DISTINCT source_id FROM experiments WHERE proposer = 'night' AND replicate = 0")
    assert len(starts) == 1  # the second lineage begins at another script
    assert cli(*words[:2], *words[4:], "-s", "one").returncode == 2
    capsys.readouterr()
    league.main(["against", "s", "vs", "s"])
    assert "nights over the plain loop: 1.00 [" in capsys.readouterr().out
