"""Kept rows get their commits and diffs; nothing that a stranger's repository asks for is run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.imports.columns import Stated
from analysis.imports.repository import LARGEST_DIFF, opened
from analysis.imports.study import import_logs
from analysis.imports.table import UnreadableLog
from arena.after.replay import commits_of_import
from programs.common.errors import UsageError
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import ask, bring_in, git, repository, rows
from tests.analysis.imports.samples import tsv
from trainer.task import Task

STATES = ["LR = 1\nWD = 0\n", "LR = 2\nWD = 0\n", "LR = 2\nWD = 3\n"]


def loop(folder: Path) -> list[str]:
    """A repository of a loop with its log untracked beside the source."""
    hashes = repository(folder, STATES)
    log = tsv(
        "commit|val_bpb|memory_gb|status|description",
        f"{hashes[0]}|1.2|1|keep|baseline",
        f"{hashes[1]}|1.1|1|keep|double the learning rate",
        f"{hashes[1]}|1.3|1|discard|thrown away, with the hash of what it began from",
        f"{hashes[2]}|1.0|1|keep|weight decay",
        "0123abc|1.4|1|discard|lost",
    )
    (folder / "results.tsv").write_text(log)
    return hashes


def test_kept_rows_are_joined_to_their_commits(tmp_path: Path) -> None:
    hashes = loop(tmp_path / "logs")
    [run] = bring_in(tmp_path, {})
    assert run["commits_joined"] == 3
    commits, times, diffs = zip(*rows(tmp_path, "r.full_commit", "r.committed_at", "e.diff"), strict=True)
    assert [(commit or "")[:7] for commit in commits] == [hashes[0], hashes[1], "", hashes[2], ""]
    assert diffs[0] is None  # the first commit has no parent
    diff = diffs[1].partition("--- ")[2]
    assert diff == "a/train.py\n+++ b/train.py\n@@ -1,2 +1,2 @@\n-LR = 1\n+LR = 2\n WD = 0\n"
    assert times[1][:19] == git(tmp_path / "logs", "log", "-1", "--format=%cI", hashes[1])[:19]


def test_repository_that_is_named_is_joined(tmp_path: Path) -> None:
    loop(tmp_path / "work")
    (tmp_path / "work" / "results.tsv").rename(tmp_path / "results.tsv")
    import_logs([tmp_path / "results.tsv"], tmp_path / "study", Stated(), tmp_path / "work")
    [run] = ask(tmp_path, "FROM imports")
    assert (run["commits_joined"], run["repository"]) == (3, str(tmp_path / "work"))


def test_loose_and_packed_objects_are_read(tmp_path: Path) -> None:
    hashes = repository(tmp_path, STATES)
    for pack in ((), ("gc", "-q", "--aggressive", "--prune=now")):
        if pack:
            git(tmp_path, *pack)
        with opened(tmp_path) as commits:
            joined = commits.join(hashes[2])
            assert joined is not None and joined.diff is not None and "+WD = 3" in joined.diff
            assert joined.commit == git(tmp_path, "rev-parse", hashes[2])
            assert commits.join(joined.commit) == joined
            assert commits.join("0123abc") is None and commits.join("HEAD") is None and commits.join("") is None
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / ".git").write_text("gitdir: /nowhere\n")
    with pytest.raises(UnreadableLog, match="not a readable repository"), opened(tmp_path / "none"):
        pass


def diff_of(folder: Path, *without: str) -> str | None:
    """Of a commit of all that lies there."""
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "many")
    with opened(folder) as commits:
        joined = commits.join(git(folder, "rev-parse", "HEAD"), *without)
    assert joined is not None
    return joined.diff


def test_files_come_go_and_are_bounded(tmp_path: Path) -> None:
    repository(tmp_path, STATES[:1])
    (tmp_path / "train.py").unlink()
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "new.py").write_text("x = 1")
    (tmp_path / "blob.bin").write_bytes(b"\0" * 10)
    (tmp_path / "big.txt").write_text("line\n" * 100_000)
    (tmp_path / "src" / "results.tsv").write_text(samples.CANONICAL)
    diff = diff_of(tmp_path, "results.tsv")
    assert diff is not None
    assert "Binary files /dev/null and b/blob.bin differ" in diff
    assert "Binary files /dev/null and b/big.txt differ" in diff
    assert "--- /dev/null\n+++ b/src/new.py\n@@ -0,0 +1 @@\n+x = 1\n\\ No newline" in diff
    assert "--- a/train.py\n+++ /dev/null\n" in diff and "results.tsv" not in diff
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text("some line of text\n" * 10_000)
    long = diff_of(tmp_path)
    assert long is not None and len(long) < LARGEST_DIFF + 100 and long.endswith("# truncated\n")


def test_a_shallow_clone_ends_without_a_diff(tmp_path: Path) -> None:
    repository(tmp_path / "whole", STATES)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{tmp_path}/whole", "part")
    with opened(tmp_path / "part") as commits:
        joined = commits.join(git(tmp_path / "part", "rev-parse", "HEAD"))
    assert joined is not None and joined.diff is None


def test_no_hook_filter_or_program_of_the_repository_runs(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    loop(folder)
    mark = tmp_path / "ran"
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "diff.external", "gpg.program",
                "filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv", "diff.x.command",
                "core.alternateRefsCommand", "uploadpack.packObjectsHook", "core.askPass"):  # fmt: skip
        git(folder, "config", key, str(trap))
    git(folder, "config", "core.hooksPath", str(tmp_path / "hooks"))
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "pre-commit", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        (tmp_path / "hooks" / hook).symlink_to(trap)
    (folder / ".gitattributes").write_text("* filter=x diff=x\n")
    mark.unlink(missing_ok=True)
    [run] = bring_in(tmp_path, {})
    assert run["commits_joined"] == 3 and not mark.exists()


def test_a_broken_repository_costs_the_diffs_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    loop(folder)
    for path in (folder / ".git" / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(os.urandom(200))
    [run] = bring_in(tmp_path, {})
    assert (run["rows"], run["commits_joined"]) == (5, 0)
    assert run["repository_note"] == "the repository has none of the log's commits"


def test_the_program_beside_the_log_is_taken_and_a_link_is_not(tmp_path: Path) -> None:
    texts = {
        b"# Research\n\n- Try one change at a time.\n": None,
        "---\ntitle: of another tool\ntags: [a, b]\n---\n\n実験を一つずつ。\n".encode(): None,
        b"---\nmetaloop: {keep: nonsense}\n---\n# Broken charter\n": "nonsense",
        b"\xff\xfe\x00\x01": "NUL",
    }
    logs = {f"{number}/results.tsv": samples.CANONICAL + "\n" * number for number in range(5)}
    for number, text in enumerate(texts):
        (tmp_path / "logs" / str(number)).mkdir(parents=True)
        (tmp_path / "logs" / str(number) / "program.md").write_bytes(text)
    (tmp_path / "private.md").write_text("# Private\n")
    (tmp_path / "logs" / "4").mkdir()
    (tmp_path / "logs" / "4" / "program.md").symlink_to(tmp_path / "private.md")
    *runs, linked = bring_in(tmp_path, logs)
    programs = {row["program_id"]: row["text"].encode() for row in ask(tmp_path, "FROM programs")}
    for run, (text, problem) in zip(runs, texts.items(), strict=True):
        assert programs.get(run["program_id"]) == (None if problem else text)
        assert problem in run["program_problem"] if problem else run["program_problem"] is None
    assert linked["program_id"] is None and len(programs) == 2


def test_a_log_without_a_column_of_commits(tmp_path: Path) -> None:
    """Its repository cannot help, so neither the import nor ablate asks for it in a circle."""
    repository(tmp_path / "logs", STATES)
    [run] = bring_in(tmp_path, {"results.tsv": tsv("id|loss|status|notes", "1|2.0|keep|start", "2|1.0|keep|more")})
    assert run["repository_note"] == "the log has no column of commits, such as commit, commit_hash, commit_sha"
    with pytest.raises(UsageError, match="in a repository: the log has no column of commits") as caught:
        commits_of_import(tmp_path / "study", run["run_id"], Task.load("tinylm"))
    assert "with a column of commits" in caught.value.hint
