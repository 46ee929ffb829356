"""The league: a lineage is played with a model, recorded, played again from its recording, and figures are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import league
from tests.llm import crowd, fixtures
from tests.llm.kits import environment
from tests.llm.server import LlmServer

litellm_loaded = fixtures.litellm_loaded
PROGRAMS = len(league.league())


def test_an_unknown_word_is_refused_and_computes_nothing() -> None:
    with pytest.raises(SystemExit, match="plya: no command of the league"):
        league.main("plya")


@pytest.mark.slow
def test_a_lineage_is_recorded_and_goes_on_without_a_model(
    litellm_loaded: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(league, "BLOCKS", 2)
    monkeypatch.setattr(league, "RECORDINGS", tmp_path / "recordings")
    with LlmServer(crowd.answer) as server:
        environment(monkeypatch, server.url)
        played = league.play(tmp_path, "strokes", 2)
        asked = len(server.seen)
    assert [turn.block for turn in played.turns] == [0] * PROGRAMS + [1] * PROGRAMS
    assert len({turn.program_id for turn in played.turns}) == PROGRAMS and asked >= 2 * PROGRAMS
    assert played.experiments[2].description == "main of the night before"
    league.pack(tmp_path)
    [one] = league.recorded()
    assert one.events == played.events
    assert league.play(tmp_path, "strokes", 2, one.events).events == one.events
    league.report([one, one])
    shown = capsys.readouterr().out
    assert (
        "three-roles" in shown and "all programs alike: p: " in shown and f"turns and calls: {4 * PROGRAMS}, " in shown
    )


def table(difference: float) -> np.ndarray:
    """Scores of eight lineages in which the first program differs by so much."""
    scores = np.random.default_rng(7).normal(0, 1, (8, league.BLOCKS, PROGRAMS))
    scores[:, :, 0] += difference
    return scores


def test_the_test_sees_a_program_that_differs_and_no_other() -> None:
    assert league.block_p(table(2.0), 999) < 0.01 < 0.1 < league.block_p(table(0.0), 999)
    seen, half = league.largest(table(2.0))
    assert seen - half > 0 and 1.0 < seen < 3.5
    seen, half = league.largest(table(0.0))
    assert seen - half < 0 < half


def test_lineages_begin_at_different_scripts() -> None:
    task = league.Task.load("tinylm")
    starts = [league.start_of(task, number) for number in range(1, 6)]
    assert starts[0] is None and len({one.source_id for one in starts[1:]}) == 4
    own = task.edits.config(task.baseline())
    assert all(sum(task.edits.config(one)[name] != own[name] for name in own) == league.CHANGED for one in starts[1:])
