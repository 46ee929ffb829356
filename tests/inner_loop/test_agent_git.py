"""What an agent does with its git: whatever it is, the bench keeps what is better, and no kept source is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inner_loop.play import Played
from tests.inner_loop.test_command import SANDBOXED, Play, agent, play

__all__ = ["agent", "play"]
pytestmark = SANDBOXED
START = """#!/bin/bash
set_lr() { sed -i "s/^LR = .*/LR = $1/" train.py; }
[ -e NOTES.md ] && exit 0
echo done > NOTES.md
"""
BETTER, WORSE = "set_lr 0.1; git commit -qam better; experiment", "set_lr 0.001; git commit -qam worse; experiment"
DEEP = "import os; [(os.mkdir(chr(100)), os.chdir(chr(100))) for _ in range(3000)]"
ACTS_OF_GIT = {
    "leaves the commit": BETTER,
    "resets and commits it again": f"{BETTER}; git reset -q --hard HEAD~1; set_lr 0.1; git commit -qam x",
    "resets it before a worse one": f"{BETTER}; git reset -q --hard HEAD~1; {WORSE}",
    "rebases it away": f"git branch old; {BETTER}; git commit -qm empty --allow-empty; git rebase -q --onto old HEAD~1",
    "stashes it": "set_lr 0.1; experiment; git stash -q",
    "takes back what it did not commit": "set_lr 0.1; experiment; git checkout -q -- .",
    "works on another branch": f"git checkout -q -b mine; {BETTER}; git checkout -q main",
    "leaves a dirty tree": f"{BETTER}; set_lr 0.2; echo x >> prepare.py",
    "puts a file in its place": f"{BETTER}; rm -rf .git; echo gitdir: / > .git",
    "leaves folders too deep to be read": f"{BETTER}; python3 -c '{DEEP}'",
    "amends the commit": f"{BETTER}; git reset -q --soft HEAD~1; set_lr 0.001; git commit -qam other",
}


def decisions(played: Played) -> list[str]:
    return [e["decision"] for e in played.experiments]


@pytest.mark.parametrize("act", ACTS_OF_GIT)
def test_agent_whatever_its_git_does_keeps_its_win(play: Play, act: str) -> None:
    played = play(START + ACTS_OF_GIT[act])
    assert decisions(played)[:2] == ["baseline", "keep"] and "keep" not in decisions(played)[2:]
    assert played.result.final.source_id == played.experiments[1]["source_id"]


def test_agent_second_session_starts_at_the_kept_source(play: Play, folder: Path) -> None:
    """A session that drops a source by `git checkout` is followed by one at the best source, not at the last commit."""
    script = f"""#!/bin/bash
set_lr() {{ sed -i "s/^LR = .*/LR = $1/" train.py; }}
if [ ! -e NOTES.md ]; then echo 1 > NOTES.md; {BETTER}; git reset -q --hard HEAD~1; exit 0; fi
grep '^LR' train.py
[ $(cat NOTES.md) = 2 ] && exit 0
echo 2 > NOTES.md; set_lr 0.001; experiment; git checkout -q -- .
"""
    played = play(script, folder=folder)
    heard = "".join(path.read_text() for path in sorted((folder / "agent").glob("session-*.out")))
    assert decisions(played) == ["baseline", "keep", "discard"] and heard.count("LR = 0.1") == 2
    assert played.result.final.source_id == played.experiments[1]["source_id"]


def test_message_without_one_is_the_subject_of_a_clean_commit(play: Play) -> None:
    script = "set_lr 0.1; git commit -qam 'larger steps'; experiment; set_lr 0.2; experiment; experiment -m 'x' --again"
    described = [e["description"] for e in play(START + script).experiments]
    assert described[1:] == ["larger steps", "lr=0.2", "x"]
