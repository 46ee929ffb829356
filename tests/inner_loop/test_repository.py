"""The run's git repository and its results.tsv, read by git itself."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from inner_loop import results_tsv
from inner_loop.events import DecisionEvent, Experiment
from inner_loop.repository import RunRepository
from inner_loop.stored_sources import StoredSources
from programs.common.errors import Corrupt, EnvironmentProblem
from tests.events import example
from tests.inner_loop.play import Played, open_bench, play, program
from trainer.experiment import Trainer
from trainer.source import Source

IDEAS = ["`lr=0.1`, a larger step", "`fault=raise`", "`+bias`", "`lr=0.001`"]


@pytest.fixture(scope="module")
def played(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Played, Path]:
    folder = tmp_path_factory.mktemp("runs") / "r0"
    return play(trainer, program("proposers: {queue: 1}", IDEAS), 5, folder=folder), folder


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_repository_has_a_commit_per_kept_experiment(played: tuple[Played, Path]) -> None:
    run, folder = played
    kept = run.decided("keep")[::-1]
    shown = git(folder, "log", "main", "--format=%s%x00%(trailers:only,unfold)%x01").split("\x01\n")[:-1]
    assert len(kept) == 2 and len(shown) == 3
    for text, row in zip(shown, kept, strict=False):
        subject, trailers = text.split("\x00")
        assert subject == row["description"] and 'Edit: {"apply":' in trailers
        assert f"Metric: nll {row['metric']:.6f}" in trailers and "Cost: 0.2 s" in trailers
        assert f"Experiment: {row['experiment_id']}" in trailers
        assert f"Directives: {row['directive_ids'][0]}" in trailers


def test_repository_is_whole_and_its_diffs_apply_to_a_clone(played: tuple[Played, Path], tmp_path: Path) -> None:
    run, folder = played
    assert git(folder, "fsck", "--strict") == git(folder, "status", "--porcelain") == ""
    git(tmp_path, "clone", "--quiet", str(folder), "copy")
    copy = tmp_path / "copy"
    assert (folder / "train.py").read_text() == (copy / "train.py").read_text() == run.result.final.text()
    diffs = [folder / "diffs" / f"{row['number']:04d}.diff" for row in run.experiments[1:]]
    assert [path.read_text() for path in diffs] == [row["diff"] for row in run.experiments[1:]] and len(diffs) == 4
    git(copy, "apply", "--check", str(diffs[3]))  # what was discarded
    git(copy, "checkout", "--quiet", "HEAD~2")
    assert "LR = 0.01" in (copy / "train.py").read_text()
    assert "this source is broken" in (folder / "logs" / "0002.log").read_text()


def test_table_of_results_has_the_original_format(played: tuple[Played, Path]) -> None:
    run, folder = played
    head, *rows = (folder / "results.tsv").read_text().splitlines()
    assert head == "commit\tnll\tmemory_gb\tstatus\tdescription"
    commits, values, _, statuses, texts = zip(*(row.split("\t") for row in rows), strict=True)
    assert statuses == ("keep", "keep", "crash", "keep", "discard")
    assert values[1:3] == (f"{run.experiments[1]['metric']:.6f}", "0.000000")
    assert texts[1] == run.experiments[1]["description"] and {len(commit) for commit in commits} == {7}
    kept = [commit for commit, status in zip(commits, statuses, strict=True) if status == "keep"]
    assert kept == git(folder, "log", "--format=%h", "--abbrev=7").split()[::-1]


def test_row_of_what_is_measured_again_says_so() -> None:
    again = example(Experiment, metric=1.0, description="it")
    for decision, fraction, told in (("screen", 0.5, "screen at 0.5 of the budget"), ("confirm", 1.0, "confirm")):
        event = DecisionEvent(run_id="r", experiment_id=again.experiment_id, decision=decision)
        assert results_tsv.row(replace(again, fraction=fraction, decided=event)).endswith(f"\tit ({told})\n")


def test_lock_of_killed_git_does_no_harm_and_refusal_is_one_line(trainer: Trainer, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    RunRepository(folder, "nll").close()
    for lock in ("index.lock", "config.lock", "HEAD.lock", "refs/heads/main.lock"):
        (folder / ".git" / lock).touch()
    play(trainer, program("proposers: {queue: 1}", IDEAS), 2, folder=folder)
    assert git(folder, "status", "--short") == ""
    (folder / ".git" / "index").write_bytes(b"DIRC" + bytes(40))
    with pytest.raises(EnvironmentProblem, match="git reset failed") as caught:
        play(trainer, program("proposers: {queue: 1}", IDEAS), 2, folder=folder)
    assert "\n" not in caught.value.message and caught.value.hint


AWKWARD = (
    ("a\nb\nc\n", "a\nB\nc\nd\n"), ("", "x\n"), ("x\n", ""), ("a\nb", "a\nb\n"),
    ("a\n" * 50, "a\n" * 20 + "z\n" + "a\n" * 29),
    ("-- a/train.py\n++ b/train.py\n@@ -1 +1 @@\n", "q\n"), ("a\rb\n", "a\nb\n"), ("a\x0cb\n", "a\x0cc\n"),
    ("x\n\n\n", "x\n"), ("k\n", "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-k\n+j\n"),
)  # fmt: skip


@pytest.mark.parametrize(("old", "new"), AWKWARD)
def test_source_that_no_edit_gives_is_read_back(trainer: Trainer, tmp_path: Path, old: str, new: str) -> None:
    bench, _ = open_bench(trainer, 4)
    parent, after = (Source((('a b/"train".py', text), ("z.py", "same\n"))) for text in (old, new))
    record = replace(
        bench.baseline, number=1, parent_number=0, parent_source_id=parent.source_id, source_id=after.source_id,
        source=after,
    )  # fmt: skip
    RunRepository(tmp_path, "nll").write(record)
    row = Experiment.parse(record.to_record())
    edits = bench.task.edits
    with StoredSources(tmp_path) as sources, StoredSources(tmp_path / "elsewhere") as missing:
        assert sources.source_of(row, parent, edits) == after
        with pytest.raises(Corrupt, match="the source of experiment 1 is not in its repository"):
            missing.source_of(row, parent, edits)
        for wrong in (replace(row, source_id="s0"), replace(row, number=7)):
            with pytest.raises(Corrupt):
                sources.source_of(wrong, parent, edits)
