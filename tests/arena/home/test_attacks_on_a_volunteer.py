"""Hosts, and proxies before them, that would make a volunteer run what it did not agree to, or end its search."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from arena.home.bundle import MOST_PARSED, unpack
from arena.home.project import Project
from arena.home.protocol import Proposal
from programs.common.errors import UsageError
from tests.arena.home.clients import better, rows
from tests.arena.home.serving import serving
from tests.arena.home.test_attacks import about, bundle_of, hosted, toml_with
from tests.arena.home.test_serving import session


@pytest.mark.parametrize("name", ["task.toml", "train.py", "prepare.py"])
def test_what_a_bundle_gives_to_parse_is_small(project: Project, tmp_path: Path, name: str) -> None:
    bundle = bundle_of(project, name, b"#" * (MOST_PARSED + 1))
    with pytest.raises(UsageError, match=f"{name} of the task bundle is larger than"):
        unpack(bundle.body, bundle.digest, tmp_path / "task", {})
    assert not (tmp_path / "task").exists()


def test_main_cannot_change_the_task_that_was_agreed_to(project: Project, tmp_path: Path) -> None:
    """Its task.toml would name itself as editable, and so fit whatever files main has."""
    own = toml_with(project, lambda read: read.update(editable=["train.py", "task.toml"])).decode()
    with pytest.raises(UsageError, match="could change the task that was agreed to"):
        unpack(project.bundle.body, project.bundle.digest, tmp_path / "task", {"train.py": "x = 1\n", "task.toml": own})
    assert not (tmp_path / "task").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(".".join(["a"] * 120_000) + " = 1\n", "takes too long", marks=pytest.mark.slow, id="dotted"),
        pytest.param("x = " + "[" * 100_000, "is damaged: RecursionError", id="nested"),
    ],
)
def test_a_bundle_that_is_slow_to_parse_costs_a_volunteer_little(
    project: Project, tmp_path: Path, content: str, why: str
) -> None:
    """Another process reads it first, and is ended; this one waits."""
    bundle, began = bundle_of(project, "task.toml", content.encode()), time.thread_time()
    with pytest.raises(UsageError, match=why):
        unpack(bundle.body, bundle.digest, tmp_path / "task", {})
    assert time.thread_time() - began < 1.0


def test_another_task_than_the_one_agreed_to_is_not_run(project: Project, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    ann = hosted(tmp_path / "v", project, project.bundle, {"train.py": "x = 1\n"})
    task = {"name": "t", "digest": "1" * 64, "unit": "nats"}
    ann.reach = lambda *_: about({"project": project.project_id, "task": task})  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="another task than the one that you agreed to"):
        ann.step()
    assert not list(ann.runs.iterdir())


def test_the_task_that_is_joined_is_the_one_that_was_shown(project: Project, tmp_path: Path) -> None:
    other = bundle_of(project, "task.toml", toml_with(project, lambda t: t["budget"].update(memory_mb=999)))
    with serving(project) as url:
        ann = session(url, tmp_path / "v")
        ann.preview()
        vars(project)["bundle"] = other  # shown one task, asked to run another
        with pytest.raises(UsageError, match="not the one that was shown"):
            ann.join()
    assert ann.joined is None


def test_what_main_says_of_itself_is_one_printable_line(project: Project, tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    ann, lines = hosted(tmp_path / "v", project, project.bundle, {}), list[str]()
    ann.say = lines.append
    folder = ann.runs / "0001"
    folder.mkdir()
    (folder / "proposal.json").write_text(json.dumps({"base": "0" * 40, "files": {"train.py": ""}, "gain": 1.0}))
    answer = {"state": "rejected\n\x1b[2J", "reason": "a\nerror: b" + "x" * 9000, "proposal": 1}
    ann.reach = lambda *_: json.dumps(answer).encode()  # type: ignore[method-assign]
    ann.hand_in(folder)
    assert lines[-1].isprintable() and len(lines[-1]) < 700


def test_a_host_that_changes_its_answer_ends_no_search(project: Project, tmp_path: Path) -> None:
    """It is asked again about proposals that wait, whatever it says of them, and never again about others."""
    with serving(project) as url:
        ann = session(url, tmp_path / "v")
        ann.join()
        ann.run = lambda _: Proposal(  # type: ignore[method-assign]
            base=project.chain.head, files=better(project, LR=0.1), gain=0.5
        )
        ann.step()
        asked: list[str] = []
        reach = ann.reach
        ann.reach = lambda path, *more: (asked.append(path), reach(path, *more))[1]  # type: ignore[method-assign]
        ann.step()  # asks about the first, and hands in the second
        assert asked.count("/api/v1/proposals") == 2
        for folder in ann.run_folders():
            (folder / "answer.json").write_text('{"state": "rejected"}')
        asked.clear()
        ann.step()
        assert asked.count("/api/v1/proposals") == 1 and len(rows(project)) == 1


def test_a_proposal_that_the_host_does_not_take_ends_no_search(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(project) as url:
        ann = session(url, tmp_path / "v")
        ann.join()
        proposal = Proposal(base=project.chain.head, files=better(project, LR=0.1), gain=0.5)
        ann.run = lambda _: proposal  # type: ignore[method-assign]
        ask = ann.ask

        def refuse(path: str, *more: Any) -> Any:
            if path == "/api/v1/proposals":
                raise UsageError("too large")
            return ask(path, *more)

        with monkeypatch.context() as patch:
            patch.setattr(ann, "ask", refuse)
            ann.step()
        answer = json.loads((ann.runs / "0001" / "answer.json").read_text())
        assert answer["state"] == "refused" and answer["reason"] == "too large"
        ann.step()
    assert len(rows(project)) == 1
