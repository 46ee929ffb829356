"""Verification by volunteers: the median of three counts, and who lies does so once."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from arena.contest.settings import utc_now
from arena.home import policy
from arena.home.messages import MessageHost
from arena.home.project import Project
from arena.home.replication import LEAST_SECONDS
from arena.home.results import state_of
from arena.home.tables import Pair, ProposalRow, Replica, Volunteer
from programs.errors import MetaloopError, UsageError
from tests.arena.home.clients import Client, better, host_of, new_project, states, verifying, work

Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[int]]:
    """Volunteers who have each found a block, as the host believes, and pairs of the host whose result is known; how
    many messages each of them has sent. Tests change nothing in it."""
    project = new_project(tmp_path_factory.mktemp("begun") / "p", "volunteers")
    host = host_of(project)
    clients = [Client(host, k, f"V{k}") for k in range(1, 5)]
    clients[0].propose(better(project, LR="1e-05"), 9.0)
    clients[1].propose(better(project, MOMENTUM=0.9), 0.5)
    work(project)
    assert [state for state, _ in states(project).values()] == ["hopeless", "merged"]
    with project.database.write() as connection:
        for volunteer in connection.scalars(select(Volunteer)):
            volunteer.confirmed, volunteer.verifies = 1, True
    return project, [client.number for client in clients]


@pytest.fixture
def project(begun: tuple[Project, list[int]], tmp_path: Path) -> Project:
    """A copy of it."""
    return Project.open(Path(shutil.copytree(begun[0].folder, tmp_path / "p")))


@pytest.fixture
def four(begun: tuple[Project, list[int]], project: Project, host: MessageHost) -> list[Client]:
    return [Client(host, k + 1, f"V{k + 1}", number) for k, number in enumerate(begun[1])]


def honest(work: dict[str, Any]) -> list[dict[str, Any]]:
    """Small learning rates are bad, momentum is good, and a bit of noise from the seed."""

    def metric(files: dict[str, str]) -> float:
        text = files["train.py"]
        loss = 1.0 - 0.5 * ("MOMENTUM = 0.9" in text) + 0.5 * ("LR = 1e-05" in text) - 0.5 * ("BATCH = 16" in text)
        return loss + (zlib.crc32(f"{text}{work['seed']}".encode()) % 1000) / 5000

    return [{"status": "ok", "metric": metric(files), "device_seconds": 0.1} for files in work["sources"]]


def serve(clients: list[Client], answers: dict[int, Answer], turns: int = 12) -> int:
    """Let each verify what it is asked for; how often it was."""
    count = 0
    for _ in range(turns):
        for k, client in enumerate(clients):
            try:
                work = client.say("work", have=[], verify=True)
            except UsageError:
                continue  # its lease is out
            if "verify" in work:
                client.say("result", verify=work["verify"], sides=answers.get(k, honest)(work))
                count += 1
    return count


def barred(project: Project) -> dict[str, str]:
    with project.database.read() as connection:
        return {each.name: each.barred for each in connection.scalars(select(Volunteer)) if each.barred}


def test_volunteers_are_asked_only_once_there_are_three_and_known_results(tmp_path: Path) -> None:
    project = new_project(tmp_path / "new", "volunteers")
    host = host_of(project)
    ann = Client(host, 1, "Ann")
    assert "verify" not in ann.say("work", verify=True)  # she has found nothing yet
    with project.database.write() as connection:
        volunteer = connection.scalars(select(Volunteer)).one()
        volunteer.confirmed, volunteer.verifies = 1, True
    assert "verify" not in ann.say("work", have=[], verify=True)
    bob = Client(host, 2, "Bob")
    bob.propose(better(project, MOMENTUM=0.9), 0.5)
    work(project)
    with project.database.read() as connection:
        assert {pair.by for pair in connection.scalars(select(Pair))} == {"host"}


def test_three_volunteers_verify_a_pair_and_the_block_says_so(project: Project, four: list[Client]) -> None:
    four[3].propose({"train.py": better(project, MOMENTUM=0.9)["train.py"].replace("BATCH = 32", "BATCH = 16")}, 0.5)
    with verifying(project) as step:
        for _ in range(40):
            step(2)
            serve(four[:3], {}, 2)
    state = state_of(project)
    with project.database.read() as connection:
        pairs = connection.scalars(select(Pair).where(Pair.proposal_id == 3)).all()
        replicas = connection.scalars(select(Replica).where(Replica.proposal_id == 3, Replica.expected == 0)).all()
    voted = [pair for pair in pairs if pair.by.startswith("volunteers")]
    assert voted and all(len(set(pair.by.split()[1:])) == policy.REPLICAS for pair in voted)
    assert not any("4" in pair.by.split() for pair in pairs)  # who proposed it does not verify it
    assert len({(row.number, row.volunteer_id) for row in replicas if row.volunteer_id}) == len(
        [row for row in replicas if row.volunteer_id]
    )
    for pair in voted:
        three = sorted(row.difference for row in replicas if row.number == pair.number and not row.dropped)
        assert pair.difference == three[1]
    assert state.replicas > 0
    assert any(pair.by == "host" for pair in pairs)  # a part is trained by the host


LIARS: dict[str, Answer] = {
    "no difference": lambda work: [{"status": "ok", "metric": 1.0, "device_seconds": 0.1}] * 2,
    "all fails": lambda work: [{"status": "failed", "metric": None, "device_seconds": 0.1}] * 2,
    "the other way round": lambda work: honest(work)[::-1],
}


@pytest.mark.parametrize("lie", LIARS)
def test_who_is_wrong_on_a_known_result_verifies_nothing_any_more(
    project: Project, four: list[Client], lie: str
) -> None:
    four[3].propose({"train.py": better(project, MOMENTUM=0.9)["train.py"] + "\nNUMBER = 3\n"}, 0.5)
    with verifying(project) as step:
        for _ in range(6):
            step(2)
            serve(four[:3], {2: LIARS[lie]}, 2)
    assert barred(project) == {"V3": "a pair with a known result came out wrong"}
    assert "verify" not in str(_asked(four[2]))


def _asked(client: Client) -> object:
    try:
        return client.say("work", have=[], verify=True).keys()
    except UsageError as refused:
        return refused.message


def test_who_deviates_from_the_host_is_barred_and_its_tests_begin_again(
    project: Project, host: MessageHost, four: list[Client]
) -> None:
    from arena.home.replication import Replication, Result

    replication = Replication.of(project)
    four[3].propose({"train.py": better(project, MOMENTUM=0.9)["train.py"] + "\nNUMBER = 3\n"}, 0.5)
    work(project, 1)
    with project.database.write() as connection:
        for k in range(100, 108):
            for volunteer_id, off in ((1, 0.01 * (-1) ** k), (2, 0.3 + 0.01 * (k % 3)), (3, -0.02 * (-1) ** k)):
                row = Replica(
                    proposal_id=3, number=k, volunteer_id=volunteer_id, returned_at=utc_now(), difference=0.1 + off,
                    status="ok ok",
                )  # fmt: skip
                connection.add(row)
            connection.flush()
            replication.compare(connection, 3, k, Result(1.0, 0.9, 0.1, "ok ok", 1.0))
    assert barred(project) == {"V2": "its results deviate from the host's on the same seeds and splits"}
    with project.database.write() as connection:
        connection.add(
            Pair(
                proposal_id=3, number=0, seed=1, split="x", base_metric=1.0, metric=0.9, difference=0.1,
                status="ok ok", device_seconds=1.0, measured_at=utc_now(), by="volunteers 1 2 3",
            )
        )  # fmt: skip
        proposal = connection.get_one(ProposalRow, 3)
        proposal.state = "verifying"
    work(project, 1)
    assert states(project)[3][1] == "one who verified it was barred"


def test_a_verification_that_is_not_returned_is_asked_of_another_and_then_of_the_host(
    project: Project, four: list[Client]
) -> None:
    four[3].propose({"train.py": better(project, MOMENTUM=0.9)["train.py"] + "\nNUMBER = 3\n"}, 0.5)
    with verifying(project) as step:
        for _ in range(8):
            step(2)
            for client in four[:3]:
                _asked(client)  # and never a word
            with project.database.write() as connection:
                for row in connection.scalars(select(Replica).where(Replica.volunteer_id.is_not(None))):
                    row.expires_at = utc_now() - timedelta(seconds=LEAST_SECONDS)
                for row in connection.scalars(select(Replica).where(Replica.expected != 0)):
                    row.returned_at, row.status = utc_now(), "ok ok"  # those of known results come back
    with project.database.read() as connection:
        lapsed = [row.volunteer_id for row in connection.scalars(select(Replica).where(Replica.dropped))]
    assert 0 < max(map(lapsed.count, {1, 2, 3})) <= 4  # who keeps three gets no other
    assert states(project)[3][0] in ("verifying", "hopeless", "merged")


@pytest.mark.parametrize(
    "spoil",
    [
        {"verify": 10**6}, {"verify": "1"}, {"verify": True}, {"sides": []}, {"sides": [{}, {}]}, {"sides": "ok"},
        {"sides": [{"status": "ok", "metric": 1e999, "device_seconds": 1}] * 2},
        {"sides": [{"status": "ok", "metric": "1", "device_seconds": 1}] * 2},
        {"sides": [{"status": "ok", "metric": None, "device_seconds": 1}] * 2},
        {"sides": [{"status": "great", "metric": 1.0, "device_seconds": 1}] * 2},
    ],
)  # fmt: skip
def test_a_spoilt_result_changes_nothing(project: Project, four: list[Client], spoil: dict[str, Any]) -> None:
    four[3].propose({"train.py": better(project, MOMENTUM=0.9)["train.py"] + "\nNUMBER = 3\n"}, 0.5)
    work(project, 2)
    asked = four[0].say("work", have=[], verify=True)
    with pytest.raises((MetaloopError, ValueError)):
        four[0].say("result", **{"verify": asked["verify"], "sides": honest(asked), **spoil})
    with pytest.raises(MetaloopError):
        four[1].say("result", verify=asked["verify"], sides=honest(asked))  # it was not asked
    with project.database.read() as connection:
        assert connection.get_one(Replica, asked["verify"]).returned_at is None
