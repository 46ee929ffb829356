"""What an agent's git says after its last experiment: asked once more when its session has ended."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from inner_loop.agents.worktree import temporary
from tests.inner_loop.play import Played
from tests.inner_loop.test_command import SANDBOXED, Play, agent, play

__all__ = ["agent", "play"]
pytestmark = SANDBOXED
START = """#!/bin/bash
set_lr() { sed -i "s/^LR = .*/LR = $1/" train.py; }
[ -e NOTES.md ] && exit 0
echo done > NOTES.md
"""


def decisions(played: Played) -> list[str]:
    return [e["decision"] for e in played.experiments]


COMMITTED_LATER = (
    "set_lr 0.1; experiment; git commit -qam one; set_lr 0.001; experiment; git commit -qam 'worse, and simpler'"
)
TAKEN_BACK = (
    "set_lr 0.001; experiment; git commit -qam one; set_lr 0.1; git commit -qam two; experiment; "
    "git reset -q --hard HEAD~1"
)


def test_what_changed_since_the_last_experiment_is_the_agent_s_word(play: Play) -> None:
    assert decisions(play(START + COMMITTED_LATER)) == ["baseline", "keep", "keep"]  # the last one is worse
    assert decisions(play(START + TAKEN_BACK)) == ["baseline", "keep", "discard"]  # the last one is better


BEST_SECOND = START + "set_lr 0.1; git commit -qam one; experiment; set_lr 0.12; git commit -qam two; experiment"


@pytest.mark.parametrize(
    "later",
    [
        "git reset -q --hard HEAD~2",
        "git reset -q --hard HEAD~2; set_lr 0.001; experiment",
        "set_lr 0.001; experiment; git commit -qam 3; git reset -q --hard HEAD~3",
    ],
)
def test_a_last_reset_moves_the_tree_and_not_the_result(play: Play, later: str) -> None:
    played = play(f"{BEST_SECOND}; {later}")
    assert decisions(played)[:3] == ["baseline", "keep", "keep"]
    assert played.result.final.source_id == played.experiments[2]["source_id"]


@pytest.mark.parametrize(
    "left",
    [
        'python3 -c \'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(3000)]\'',
        "rm -rf .git; echo gitdir: / > .git",
    ],
    ids=["deep folders", "a file .git"],
)
def test_a_worktree_that_cannot_be_shown_ends_no_run(play: Play, left: str) -> None:
    played = play(f"{BEST_SECOND}; {left}")
    assert decisions(played)[:3] == ["baseline", "keep", "keep"]


def test_a_temporary_folder_of_an_agent_is_removed_however_deep() -> None:
    with ExitStack() as stack:
        folder = temporary(stack)
        subprocess.run(
            ["python3", "-c", "import os; [(os.mkdir('d'), os.chdir('d')) for _ in range(3000)]"],
            cwd=folder,
            check=True,
        )
    assert not folder.exists()


def test_the_question_cannot_be_answered_by_the_agent_and_its_git_runs_shut_in(play: Play, tmp_path: Path) -> None:
    owned = tmp_path / "owned"
    script = f"""
git config core.pager 'touch {owned}'; git config core.fsmonitor 'touch {owned}'; git config log.showSignature true
git config gpg.program 'touch {owned}'
set_lr 0.1; experiment --end; experiment; experiment --end > said 2>&1; cat said
git commit -qam one
mkdir -p bin; printf '#!/bin/sh\\ntouch {owned}\\n' > bin/git; chmod +x bin/git
"""
    played = play(START + script, folder=tmp_path / "run")
    assert decisions(played) == ["baseline", "keep"] and not owned.exists()
    said = "".join(path.read_text() for path in (tmp_path / "run" / "agent").glob("session-*.out"))
    assert "a session ends when the agent does" in said
