"""What one volunteer alone must not be able to do: look like another, fill the disk, be served before all others."""

from __future__ import annotations

import pytest

from arena.home.host import MOST_WAITING, ProjectHost
from arena.home.project import Project
from arena.home.state import state_of
from programs.common.errors import UsageError
from tests.arena.home.clients import Client, better, people, rows, work


@pytest.mark.parametrize("name", ["ʜᴏꜱᴛ", "volunteer 1", "Volunteer", "a\u3164b"])
def test_volunteer_with_name_of_another_kind_is_refused(host: ProjectHost, name: str) -> None:
    with pytest.raises(UsageError):
        Client(host, name)


def test_volunteers_with_one_name_differ_by_number(project: Project, host: ProjectHost) -> None:
    clients = [Client(host, name) for name in ("Ada", "Ada", "")]
    assert [each.label for each in people(project)] == ["Ada (1)", "Ada (2)", "volunteer 3"]
    clients[1].propose(better(project, MOMENTUM=0.9))
    work(project)
    state = state_of(project)
    assert [block.by for block in state.blocks] == ["host", "Ada (2)"]
    [row] = state.contributors
    assert row.name == "Ada (2)" and row.blocks == 1 and row.low < row.gain < row.high


def test_refused_and_repeated_proposals_do_not_fill_the_disk(project: Project, host: ProjectHost) -> None:
    eve = Client(host, "Eve")
    for k in range(MOST_WAITING):
        assert eve.propose(better(project, LR=0.1 + k / 100)).state == "waiting"
        assert eve.propose(better(project, LR=0.1 + k / 100), 1e9).proposal == k + 1
        assert eve.propose({"train.py": f"def {k}"}).state == "refused"
    answer = eve.propose(better(project, LR=0.9))
    assert answer.state == "later" and "of your proposals wait" in answer.reason
    assert len(rows(project)) == MOST_WAITING
    assert Client(host, "Ann").propose(better(project, LR=0.9)).state == "waiting"


def test_change_of_a_comment_alone_is_no_proposal(project: Project, host: ProjectHost) -> None:
    """Nor is one of layout or of a docstring: it is the same program as the base."""
    text = project.task.baseline().text()
    for same in (f"{text}\n# x\n", text.replace("\n", "  \n", 1), text.replace(" = ", "  =  ", 3)):
        assert "nothing but layout" in Client(host, "Eve").propose({"train.py": same}).reason
    assert not rows(project)
