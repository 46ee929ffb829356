"""Exactly-once: a run cut at any event and continued ends as if nothing had happened."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from inner_loop.replay import RunReplay
from programs.common.errors import Corrupt
from tests.events import typed
from tests.inner_loop.play import play, program, told
from trainer.experiment import Trainer

CHARTERS = {
    "stock": "",
    "screen": "proposers: {local: 1, elite: 1}\nscreen: {fraction: 0.25, promote: 0.3}\nwave: 6",
    "careful": "replicates: 2\nkeep: {rule: margin}\nno_repeat: true",
    "paired": "keep: {rule: paired, pairs: 1}\nconfirm: 0.3",
    "tpe": "proposers: {queue: 1, tpe: 1}\navoid_failures: true",
    "elite": "proposers: {queue: 1, elite: 1}\nwave: 2",
}
IDEAS = ("try `fault=raise`", "try `lr=0.3` with `+bias`", "then `momentum=0.9`")


@pytest.mark.parametrize("name", CHARTERS)
def test_cut_anywhere(cached: Trainer, name: str) -> None:
    text = program(CHARTERS[name], IDEAS)
    whole = play(cached, text, 12)
    for cut in range(0, len(whole.events), 1 if name == "stock" else 3):
        before = whole.events[:cut]
        after = play(cached, text, 12, recorded=before)
        assert told([*before, *after.events]) == told(whole.events)
        assert after.result.final == whole.result.final
        assert after.result.charged == whole.result.charged
        assert after.result.forfeited == whole.result.forfeited


def test_without_a_cache_the_rest_is_trained_to_the_same_bits(trainer: Trainer) -> None:
    whole = play(trainer, program(), 7)
    after = play(trainer, program(), 7, recorded=whole.events[:9])
    assert told([*whole.events[:9], *after.events]) == told(whole.events)


def test_nothing_recorded_is_run_or_emitted_again(trainer: Trainer) -> None:
    whole = play(trainer, program(), 5)
    after = play(trainer, program(), 5, recorded=whole.events)
    assert after.events == []
    assert after.result.experiment_wall_seconds == 0.0
    assert after.result.spent == pytest.approx(whole.result.spent)


def test_measured_charges_are_replayed_as_they_were(metered: Trainer) -> None:
    whole = play(metered, program("focus: [optimizer]"), 1)
    after = play(metered, program("focus: [optimizer]"), 1, recorded=whole.events)
    assert after.events == []
    assert after.result.charged == whole.result.charged
    assert after.result.overshoot == whole.result.overshoot


def test_the_repository_is_rebuilt_to_the_same_commits(cached: Trainer, tmp_path: Path) -> None:
    text = program("confirm: 0.3")
    whole = play(cached, text, 9, folder=tmp_path / "a")
    first = play(cached, text, 9, folder=tmp_path / "b", recorded=whole.events[:7])
    after = play(cached, text, 9, folder=tmp_path / "b", recorded=[*whole.events[:7], *first.events])
    assert after.events == []
    play(cached, text, 9, folder=tmp_path / "c", recorded=[*whole.events[:7], *first.events])
    assert _state(tmp_path / "b") == _state(tmp_path / "c")
    assert [line.split("\t")[1:] for line in _table(tmp_path / "a")] == [
        line.split("\t")[1:] for line in _table(tmp_path / "b")
    ]


def _state(folder: Path) -> tuple[list[str], list[str]]:
    refs = subprocess.run(["git", "-C", str(folder), "show-ref"], capture_output=True, text=True, check=True)
    return refs.stdout.splitlines(), _table(folder)


def _table(folder: Path) -> list[str]:
    return (folder / "results.tsv").read_text().splitlines()


def test_another_program_under_the_same_run_is_noticed(cached: Trainer) -> None:
    whole = play(cached, program(), 5)
    other = program("proposers: {queue: 1}", ["`init=zero`"])
    with pytest.raises(Corrupt, match=r"experiment 1 was recorded with source_id"):
        play(cached, other, 5, recorded=whole.events)


def test_events_of_other_runs_are_passed_over(cached: Trainer) -> None:
    whole = play(cached, program(), 3, run_id="ra")
    replay = RunReplay("rb", typed(whole.events))
    assert replay.recorded(0) is None and RunReplay("ra", typed(whole.events)).recorded(0)
