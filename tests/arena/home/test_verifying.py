"""A proposal from its arrival to a block: true gains are merged, false claims are not, a kill costs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from arena.home.audit import problems
from arena.home.bundle import unpack
from arena.home.chain import Trailers
from arena.home.e_values import judge
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.tables import BlockRow, Pair, ProposalRow, Volunteer
from arena.home.verifying import Verifier
from programs.common.errors import UsageError
from tests.arena.home.clients import Client, better, states, work


def test_a_true_gain_becomes_a_block_and_a_false_claim_does_not(project: Project, host: ProjectHost) -> None:
    ann, bob = Client(host, "Ann"), Client(host, "Bob")
    assert bob.propose(better(project, LR="1e-05"), 99.0).state == "waiting"
    assert ann.propose(better(project, MOMENTUM=0.9), 0.5).state == "waiting"
    work(project)
    assert {number: state for number, (state, _) in states(project).items()} == {1: "hopeless", 2: "merged"}
    commits = project.chain.commits()
    assert len(commits) == 2 and project.chain.files(commits[1]) == better(project, MOMENTUM=0.9)
    trailers = project.chain.entry(commits[1])
    assert (
        isinstance(trailers, Trailers)
        and trailers.proposer == ann.number
        and trailers.base == commits[0]
        and 0 < trailers.low < trailers.gain
    )
    assert judge(trailers.differences, trailers.level).state == "crossed"
    assert judge(trailers.differences, trailers.level).log_e == trailers.log_e
    with project.database.read() as connection:
        pairs = connection.scalars(select(Pair)).all()
    assert len({pair.split for pair in pairs}) == len({pair.seed for pair in pairs}) == len(pairs)
    assert not list((project.folder / "data").glob("*/confirmation-*"))  # a split is used once, and then deleted


def test_block_of_a_kill_before_its_info_reaches_clones(project: Project, host: ProjectHost) -> None:
    Client(host, "Ann").propose(better(project, MOMENTUM=0.9), 0.5)
    refs = project.chain.folder / "info" / "refs"
    before = refs.read_bytes()
    work(project)
    assert (merged := refs.read_bytes()) != before
    refs.write_bytes(before)  # the kill came between the two writes
    work(project)
    assert refs.read_bytes() == merged


def test_a_change_elsewhere_is_rebased_and_one_in_the_same_place_is_stale(project: Project, host: ProjectHost) -> None:
    ann, bob, eve = Client(host, "Ann"), Client(host, "Bob"), Client(host, "Eve")
    leases = [each.lease().lease for each in (ann, bob, eve)]
    with project.database.write() as connection:
        connection.execute(update(Volunteer).values(confirmed=1))  # by claims then, not by lot
    ann.propose(better(project, MOMENTUM=0.9), 0.5, leases[0])
    bob.propose(better(project, BATCH=64), 0.4, leases[1])
    eve.propose(better(project, MOMENTUM=0.5), 0.3, leases[2])
    work(project)
    trailers = states(project)
    assert trailers[1][0] == "merged" and trailers[3] == ("stale", "its change does not apply to main any more")
    with project.database.read() as connection:
        moved = connection.get_one(ProposalRow, 2)
        assert moved.base == 1 and moved.source == better(project, MOMENTUM=0.9, BATCH=64)


def test_several_proposals_are_verified_at_once_and_begin_again_when_main_moves(
    project: Project, host: ProjectHost, monkeypatch: Any
) -> None:
    ann, bob = Client(host, "Ann"), Client(host, "Bob")
    ann.propose(better(project, MOMENTUM=0.9), 0.5)
    bob.propose(better(project, LR=0.2), 0.4)
    monkeypatch.setattr(Verifier, "slots", lambda *_: 2)
    work(project, steps=1)
    assert {state for state, _ in states(project).values()} == {"verifying"}
    work(project)
    assert {state for state, _ in states(project).values()} == {"merged"}
    with project.database.read() as connection:
        proposals = connection.scalars(select(ProposalRow).order_by(ProposalRow.test)).all()
        pairs = connection.scalars(select(Pair).where(Pair.proposal_id == proposals[1].proposal_id)).all()
    assert proposals[1].base == 1 and proposals[1].first_pair > 0 and proposals[1].test == 3
    assert len({pair.split for pair in pairs}) == len(pairs) > proposals[1].first_pair
    assert not list(problems(project.chain, project.task))


def test_a_kill_between_commit_and_database_is_put_right(project: Project, host: ProjectHost, monkeypatch: Any) -> None:
    for name, setting in (("Ann", {"MOMENTUM": 0.9}), ("Bob", {"LR": 0.2})):
        Client(host, name).propose(better(project, **setting), 0.5)
    monkeypatch.setattr(Verifier, "slots", lambda *_: 2)
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Verifier, "_enter", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        work(project)
    assert {state for state, _ in states(project).values()} == {"verifying"} and len(project.chain.commits()) == 2
    work(project)  # the other test begins again, on the main that was committed
    assert {state for state, _ in states(project).values()} == {"merged"} and len(project.chain.commits()) == 3
    with project.database.read() as connection:
        assert [block.number for block in connection.scalars(select(BlockRow).order_by(BlockRow.number))] == [0, 1, 2]


@pytest.fixture
def ann(host: ProjectHost) -> Client:
    return Client(host, "Ann")


def test_what_the_cheap_checks_refuse(project: Project, host: ProjectHost, ann: Client) -> None:
    base = project.task.baseline().text()
    for files, reason in [
        ({"prepare.py": "pass\n"}, "not an editable file"),
        ({"../train.py": base}, "not an editable file"),
        ({"train.py": "def ("}, "not Python"),
        ({"train.py": base}, "changes nothing"),
        ({"train.py": base + "#" * 70_000}, "larger than"),
    ]:
        answer = ann.propose(files, 1.0)
        assert answer.state == "refused" and reason in answer.reason, answer


def test_a_lease_is_handed_in_once(project: Project, host: ProjectHost, ann: Client) -> None:
    files, lease = better(project, LR=0.1), ann.lease().lease
    first = ann.result(lease, files)
    assert first.state == "waiting" and first.counted_seconds <= 1.0
    assert ann.result(lease, files) == ann.result(lease, {}, claimed_gain=9.0, events="x") == first
    assert ann.result(lease, {"train.py": "def ("}) == first
    with project.database.read() as connection:
        assert connection.get_one(ProposalRow, 1).claimed == 1.0 and len(states(project)) == 1
        assert connection.scalars(select(Volunteer.contributed)).one() == first.counted_seconds


def test_the_bundle_is_the_task_with_mains_files(project: Project, tmp_path: Path) -> None:
    bundle, main = project.bundle, better(project, MOMENTUM=0.9)
    task = unpack(bundle.body, bundle.digest, tmp_path / "task", main)
    assert dict(task.baseline().files) == main and task.metric == project.task.metric
    with pytest.raises(UsageError, match="forbidden name"):
        unpack(bundle.body, bundle.digest, tmp_path / "other", {"../train.py": "x"})
    assert not (tmp_path / "other").exists()
