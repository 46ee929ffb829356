"""Exactly-once: a run cut at any event and continued ends as if nothing had happened."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inner_loop.replay import RunReplay
from programs.common.errors import Corrupt
from tests.events import typed
from tests.inner_loop.play import Played, play, program, told
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


@pytest.fixture(scope="module")
def wholes() -> dict[str, Played]:
    """Runs of the charters that were not cut."""
    return {}


@settings(max_examples=settings().max_examples // 2)
@given(name=st.sampled_from(sorted(CHARTERS)), share=st.floats(0, 1))
def test_run_that_is_cut_ends_as_the_whole(cached: Trainer, wholes: dict[str, Played], name: str, share: float) -> None:
    text = program(CHARTERS[name], IDEAS)
    whole = wholes.setdefault(name, wholes.get(name) or play(cached, text, 12))
    before = whole.events[: round(share * len(whole.events))]
    after = play(cached, text, 12, recorded=before)
    assert told([*before, *after.events]) == told(whole.events)
    ends = [(r.final, r.charged, r.forfeited, r.experiments) for r in (after.result, whole.result)]
    assert ends[0] == ends[1]


def test_resumed_run_without_a_cache_trains_the_same_bits(trainer: Trainer) -> None:
    whole = play(trainer, program(), 5)
    after = play(trainer, program(), 5, recorded=whole.events[:7])
    assert told([*whole.events[:7], *after.events]) == told(whole.events)


def test_resumed_run_that_has_ended_emits_nothing(metered: Trainer) -> None:
    """Its charges, which were measured, are those of before."""
    whole = play(metered, program("focus: [optimizer]"), 1)
    after = play(metered, program("focus: [optimizer]"), 1, recorded=whole.events)
    assert after.events == [] and after.result.experiment_wall_seconds == 0.0
    ends = [(r.charged, r.overshoot, pytest.approx(r.spent)) for r in (after.result, whole.result)]
    assert ends[0] == ends[1]
    assert (
        RunReplay("r0", typed(whole.events)).recorded(0) and RunReplay("other", typed(whole.events)).recorded(0) is None
    )


def test_repository_of_a_resumed_run_has_the_same_commits(cached: Trainer, tmp_path: Path) -> None:
    text, cut = program("confirm: 0.3"), 7

    def state(name: str) -> tuple[str, list[list[str]]]:
        table = (tmp_path / name / "results.tsv").read_text().splitlines()
        refs = subprocess.run(["git", "-C", tmp_path / name, "show-ref"], capture_output=True, text=True, check=True)
        return refs.stdout, [line.split("\t")[1:] for line in table]

    whole = play(cached, text, 9, folder=tmp_path / "a")
    first = play(cached, text, 9, folder=tmp_path / "b", recorded=whole.events[:cut])
    recorded = [*whole.events[:cut], *first.events]
    assert play(cached, text, 9, folder=tmp_path / "b", recorded=recorded).events == []
    play(cached, text, 9, folder=tmp_path / "c", recorded=recorded)
    assert state("b") == state("c") and state("a")[1] == state("b")[1]


def test_resumed_run_of_another_program_is_refused(cached: Trainer) -> None:
    whole = play(cached, program(), 5)
    other = program("proposers: {queue: 1}", ["`init=zero`"])
    with pytest.raises(Corrupt, match=r"experiment 1 was recorded with source_id"):
        play(cached, other, 5, recorded=whole.events)
