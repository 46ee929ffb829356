"""What one volunteer alone must not be able to do: look like another, decide the ranking, fill the disk."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from arena.home import results
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.tables import Volunteer
from programs.common.errors import UsageError
from tests.arena.home.clients import Client, better, states, work
from tests.arena.home.test_recording import DECISION, EXPERIMENT, lines


@pytest.mark.parametrize("name", ["ʜᴏꜱᴛ", "volunteer 1", "Volunteer", "a\u3164b"])
def test_volunteer_with_name_of_another_kind_is_refused(host: ProjectHost, name: str) -> None:
    with pytest.raises(UsageError):
        Client(host, name)


def test_volunteers_with_one_name_differ_by_number(project: Project, host: ProjectHost) -> None:
    clients = [Client(host, name) for name in ("Ada", "Ada", "")]
    with project.database.read() as connection:
        labels = [each.label for each in connection.scalars(select(Volunteer).order_by(Volunteer.volunteer_id))]
    assert labels == ["Ada (1)", "Ada (2)", "volunteer 3"]
    clients[1].propose(better(project, MOMENTUM=0.9), 0.5)
    work(project)
    with project.database.read() as connection:
        assert [block.by for block in results.blocks(connection)] == ["host", "Ada (2)"]


@pytest.mark.xfail(strict=True, reason="issue 77")
def test_events_of_runs_without_work_do_not_fill_the_disk(project: Project, host: ProjectHost) -> None:
    """G12: more experiments than fit into the counted time are kept for ever."""
    eve = Client(host, "Eve")
    numbers = range(500)
    many = [EXPERIMENT | {"experiment_id": f"e{k}", "number": k} for k in numbers]
    many += [DECISION | {"experiment_id": f"e{k}", "decision": "keep"} for k in numbers]
    work(project)
    ledger = project.folder / "ledger"
    before = sum(path.stat().st_size for path in ledger.iterdir())
    for _ in range(3):
        eve.result(eve.lease().lease, {}, device_seconds=0.0, events=lines(*many), claimed_gain=0.0)
    work(project)
    assert sum(path.stat().st_size for path in ledger.iterdir()) - before < 50_000


@pytest.mark.xfail(strict=True, reason="issue 77")
def test_change_of_a_comment_alone_is_no_proposal(project: Project, host: ProjectHost) -> None:
    """G17: it is tested, though it is the same program as the base."""
    text = project.task.baseline().text()
    Client(host, "Eve").propose({"train.py": f"{text}\n# x\n"}, 0.5)
    assert [state for state, _ in states(project).values()] in ([], ["refused"])
