"""Which logs a path means, what is refused, and which logs are copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.imports.find import LogFile, find
from analysis.imports.text import MAX_BYTES, UnreadableLog, is_log, read_bytes
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import git, repository


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(found: list[LogFile], root: Path) -> list[str]:
    return [item.label.removeprefix(f"{root}/") for item in found]


@pytest.mark.parametrize(
    ("name", "yes"),
    [("results.tsv", True), ("Results.TSV", True), ("results_gpu1.tsv", True), ("exp_results.tsv", True),
     ("experiments.csv", True), ("run-log.tsv", True), ("results.md", True), ("cities.tsv", False),
     ("catalog.tsv", False), ("readme.md", False), ("results.json", False)],
)  # fmt: skip
def test_names_that_are_looked_into(name: str, yes: bool) -> None:
    assert is_log(name) == yes


def test_a_folder_is_searched(tmp_path: Path) -> None:
    put(tmp_path / "b" / "results.tsv", samples.CANONICAL)
    put(tmp_path / "a" / "deep" / "results_2.tsv", samples.ORDER)
    put(tmp_path / "node_modules" / "results.tsv", samples.FOUR)
    put(tmp_path / "cities.tsv", samples.NOT_A_LOG)
    (tmp_path / "link.tsv").symlink_to(tmp_path / "b" / "results.tsv")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(find([tmp_path]), tmp_path) == ["a/deep/results_2.tsv", "b/results.tsv"]


def test_a_table_with_columns_of_a_log_is_read_whatever_its_name(tmp_path: Path) -> None:
    put(tmp_path / "night3.tsv", samples.CANONICAL)
    put(tmp_path / "a" / "second.csv", "".join(f"abc{n}234,0.{n},keep,step {n}\n" for n in range(1, 9)))
    put(tmp_path / "b.jsonl", '{"val_loss": 0.5, "status": "keep", "description": "baseline"}\n')
    put(tmp_path / "corpus.jsonl", '{"id": 1, "text": "a"}\n')
    put(tmp_path / "bad.jsonl", "[" * 5000)
    put(tmp_path / "data.csv", "x,y,label\n1,2,3\n")
    os.mkfifo(tmp_path / "pipe.csv")
    assert names(find([tmp_path]), tmp_path) == ["b.jsonl", "night3.tsv", "a/second.csv"]


def test_a_file_that_is_named_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = put(tmp_path / "night.txt", samples.CANONICAL)
    [found] = find([path, path, tmp_path / "." / "night.txt"])
    assert (found.reason, found.name, found.searched) == ("", "night", False)


def test_a_log_is_called_by_its_folder(tmp_path: Path) -> None:
    [found] = find([put(tmp_path / "tuesday" / "results.tsv", samples.CANONICAL)])
    assert found.name == "tuesday"


def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.tsv")
    huge = tmp_path / "huge.tsv"
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    reasons = [item.reason for item in find([tmp_path / "results.tsv", huge, tmp_path / "none.tsv", Path("/dev/zero")])]
    assert reasons == ["not a regular file", "larger than 64 MiB", "No such file or directory", "not a regular file"]
    with pytest.raises(UnreadableLog):
        read_bytes(tmp_path)


def test_copies_and_earlier_states_are_recognised(tmp_path: Path) -> None:
    whole = put(tmp_path / "a" / "results.tsv", samples.CANONICAL)
    put(tmp_path / "b" / "results.tsv", samples.CANONICAL)
    put(tmp_path / "c" / "results.tsv", "".join(samples.CANONICAL.splitlines(keepends=True)[:4]))
    put(tmp_path / "d" / "results.tsv", samples.CANONICAL[:-60])  # cut in the middle of a line: no earlier state
    put(tmp_path / "e" / "results.tsv", samples.CANONICAL.splitlines(keepends=True)[0])  # a header is no state
    found = {item.name: item for item in find([tmp_path])}
    digest = found["a"].digest
    assert {name: item.duplicate_of for name, item in found.items()} == {
        "a": "", "b": digest, "c": digest, "d": "", "e": "",
    }  # fmt: skip
    assert whole.exists()


def test_an_earlier_state_longer_than_what_is_compared_first(tmp_path: Path) -> None:
    lines = samples.CANONICAL + "".join(f"{n:07x}\t1.2\t1\tdiscard\ttry number {n}\n" for n in range(400))
    put(tmp_path / "a" / "results.tsv", lines)
    put(tmp_path / "b" / "results.tsv", lines + "fffffff\t1.0\t1\tkeep\tone more\n")
    put(tmp_path / "c" / "results.tsv", lines.replace("try number 399", "another end"))
    found = {item.name: item for item in find([tmp_path])}
    assert found["a"].duplicate_of == found["b"].digest
    assert (found["b"].duplicate_of, found["c"].duplicate_of) == ("", "")


def test_a_log_that_only_a_branch_holds(tmp_path: Path) -> None:
    repository(tmp_path, ["a = 1\n"])
    git(tmp_path, "checkout", "-q", "-b", "autoresearch/mar5")
    put(tmp_path / "results.tsv", samples.CANONICAL)
    git(tmp_path, "add", "results.tsv")
    git(tmp_path, "commit", "-q", "-m", "the log")
    git(tmp_path, "checkout", "-q", "main")
    assert not (tmp_path / "results.tsv").exists()
    [found] = find([tmp_path])
    assert found.label.startswith(f"{tmp_path}@") and found.label.endswith(":results.tsv")
    assert (found.size, found.reason, found.name) == (len(samples.CANONICAL.encode()), "", tmp_path.name)
