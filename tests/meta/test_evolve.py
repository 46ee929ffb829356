"""The whole circle on real training: race, evidence, children, confirmation, champion."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.executor import LocalExecutor
from arena.match import Entry, enter, play
from arena.race import Allocation
from meta.begin import champion_of, found, take_up
from meta.champion import Champion
from meta.evolve import Evolution, evolve
from meta.lineage import Lineage
from programs.program import Program
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import TINY, silent
from trainer.task import Task

Ended = tuple[Path, Champion]


def run_study(folder: Path, **settings: Any) -> Champion:
    study, starters = found(
        folder, task=Task.load(BLOBS), plan=TINY, workers=2, seed=1, fixed_steps=True, **settings
    )  # fmt: skip
    return evolve(study, TINY, starters, silent)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("evolve") / "study"
    return folder, run_study(folder)


def test_it_ends_with_a_champion_and_its_evidence(ended: Ended) -> None:
    folder, champion = ended
    assert (folder / "champion.md").read_bytes() == champion.program.raw
    page = (folder / "champion.evidence.md").read_text()
    assert (champion.verdict in page and "A/A" in page and "Without" in page) or "no ideas" in page


def test_the_claim_can_be_recomputed_from_the_runs(ended: Ended) -> None:
    folder, champion = ended
    rows = query(
        folder,
        "SELECT role, avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE stream = 'confirmation' GROUP BY 1",
    )
    gains = {row["role"]: (row["gain"], row["n"]) for row in rows}
    assert gains["champion"] == pytest.approx((champion.claim.champion.mean, 3))
    assert gains["control"] == pytest.approx((champion.claim.stock.mean, 3))


def test_confirmation_shares_no_run_seed_and_no_training_seed_with_the_search(ended: Ended) -> None:
    folder, _ = ended
    for column, view in (("run_seed", "runs"), ("seed", "verifications")):
        rows = query(folder, f"SELECT {column} AS seed, stream FROM {view}")
        search = {row["seed"] for row in rows if row["stream"] == "selection"}
        confirmation = {row["seed"] for row in rows if row["stream"] == "confirmation"}
        assert search and confirmation and not search & confirmation


def test_children_are_commits_whose_parents_are_their_parents(ended: Ended) -> None:
    folder, champion = ended
    git = ["git", "-C", str(folder / "programs.git")]

    def show(*words: str) -> str:
        return subprocess.run([*git, *words], capture_output=True, text=True, check=True).stdout

    children = query(folder, "SELECT child_id, parent_ids FROM mutations WHERE accepted")
    assert len(children) == TINY.children
    for child in children:
        parents = show("log", "-1", "--format=%P", child["child_id"]).split()
        assert parents == [show("rev-parse", p).strip() for p in child["parent_ids"]]
    assert show("show", "main:program.md").encode() == champion.program.raw


def test_the_first_child_is_written_from_evidence_that_it_cites(ended: Ended) -> None:
    folder, _ = ended
    (first,) = query(folder, "SELECT operator, evidence_ids FROM mutations WHERE accepted ORDER BY attempt LIMIT 1")
    known = {row["credit_id"] for row in query(folder, "SELECT credit_id FROM credit")}
    assert first["operator"] == "write-ideas"
    assert first["evidence_ids"] and set(first["evidence_ids"]) <= known


def test_a_study_that_has_ended_says_the_same_again(ended: Ended) -> None:
    folder, champion = ended
    events = query(folder, "SELECT count(*) AS n FROM events WHERE kind <> 'segment'")
    study, plan, starters = take_up(folder)
    again = evolve(study, plan, starters, silent)
    assert again == champion
    assert query(folder, "SELECT count(*) AS n FROM events WHERE kind <> 'segment'") == events
    assert (champion_of(folder) or {})["program_id"] == champion.program.program_id


@pytest.mark.parametrize("front", ["", "---\nmetaloop:\n  proposers: {local: 1.0}\n---\n"])
def test_improve_crowns_only_the_users_own_lineage(tmp_path: Path, front: str) -> None:
    """Also where it is prose alone, which a scripted researcher follows like stock."""
    own = Program.parse(f"{front}# Mine\n\nTake care.\n", "mine")
    champion = run_study(tmp_path / "study", own=[own], command="improve")
    rows = query(tmp_path / "study", "SELECT program_id, parent_ids FROM programs")
    parents = {row["program_id"]: row["parent_ids"] for row in rows}
    line, front = set(), [champion.program.program_id]
    while front:
        line.update(front)
        front = [p for child in front for p in parents[child]]
    assert own.program_id in line
    played = query(tmp_path / "study", "SELECT DISTINCT program_id FROM runs WHERE stream = 'selection'")
    assert (b"local" in own.raw) == (own.program_id in {row["program_id"] for row in played})  # a twin costs none


def test_the_champion_stays_once_its_confirmation_has_begun(tmp_path: Path) -> None:
    champion = run_study(tmp_path / "study")
    study, plan, _ = take_up(tmp_path / "study")
    other = next(p for p in ("idea-queue", "local-screen") if p != champion.program.name)
    with study, Lineage(study.folder / "programs.git", 0) as lineage, LocalExecutor(study.folder, 2, silent) as workers:
        late = enter(study, "late", [Entry(starter(other))], purpose="race", stream="selection")
        for row in play(study, workers, late, Allocation({late.arms[0].arm_id: 2}), silent):
            assert row.gains
        assert Evolution(study, plan, workers, lineage, silent).best() == champion.program
