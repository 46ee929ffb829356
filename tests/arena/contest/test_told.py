"""What a host has done is told wherever a person or an agent reads of the contest: an early close, a void entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.cli.main import run
from tests.arena.contest.hosting import Browser, founded, served

READ = ("/", "/index.md", "/queue", "/queue.md", "/rules", "/llms.txt")


def test_why_it_was_closed_early_is_told_on_every_page_and_ever_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contest = founded(tmp_path).contest
    with served(contest) as port:
        assert not any("early" in Browser(port).get(path).text.split("<main")[0] for path in READ[:4])
        contest.state(early="heavy rain", close_asked="2026-01-01T00:00:00+00:00")
        for phase, state in (("closing", {}), ("deciding", {"deciding": "x"}), ("decided", {"decided": "x"})):
            contest.state(**state)
            assert contest.phase() == phase
            for path in READ:
                assert "early: heavy rain" in Browser(port).get(f"{path}?unshared").text, (phase, path)
    assert run(["contest", "status", str(contest.folder)]) == 0
    assert "closed early by the host: heavy rain" in capsys.readouterr().err
