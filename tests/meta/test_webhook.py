"""Commands that send their result to an address at the end, and refuse a bad address before anything runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arena.contest.contest import Contest
from tests.arena.contest.hosting import founded
from tests.arena.contest.test_card import announced
from tests.meta.cli_study import metaloop
from tests.meta.test_night import listening
from trainer.variants import init_simulated

SMALL = ("-b", "0.4s", "-y")


def sent(words: list[str]) -> dict[str, Any]:
    with listening() as (url, got):
        metaloop(*words, "--webhook", url)
    assert len(got) == 1
    body: dict[str, Any] = json.loads(got[0])
    return body


@pytest.fixture
def law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    init_simulated(tmp_path / "law", 7)
    init_simulated(tmp_path / "other", 8)
    (tmp_path / "a.md").write_text("# A\n\n## Ideas\n\n- Try one thing.\n- Try another thing.\n")
    return str(tmp_path / "law")


def test_match_sends_its_standings(law: str) -> None:
    body = sent(["match", "stock", "local", "-t", law, "-n", "2", "--no-controls", *SMALL])
    assert body["command"] == "match" and "/" not in body["study"] and body["study"] in body["text"]
    assert {(row["name"], row["n"]) for row in body["rows"]} == {("stock", 2), ("local", 2)}
    assert all(row["low"] <= row["gain"] <= row["high"] for row in body["rows"])


def test_match_on_several_tasks_sends_the_standings_of_each(law: str) -> None:
    body = sent(["match", "local", "-t", f"{law},{Path(law).with_name('other')}", "-n", "2", *SMALL])
    assert len({row["task"] for row in body["rows"]}) == 2 and " on other" in body["text"]


def test_ablate_sends_its_effects(law: str) -> None:
    body = sent(["ablate", "local", "-t", law, *SMALL])
    assert body["command"] == "ablate" and body["rows"] and all(row["method"] == "factorial" for row in body["rows"])


def test_contest_close_sends_the_announcement_without_the_secret(tmp_path: Path) -> None:
    contest: Contest = founded(tmp_path).contest
    announced(contest, "won", 1)
    body = sent(["contest", "close", str(contest.folder)])
    assert body["outcome"] == "won" and body["winners"][0]["entrant"] == "Ada" and "secret" not in body
    contest.database.close()
