"""A proposal from its arrival to a block: what is refused at once, true gains that are merged, false claims that are
not, a kill that costs nothing; volunteers' names and numbers on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import read
from analysis.ledger.events import PairEvent
from arena.home.audit import problems
from arena.home.bundle import unpack
from arena.home.chain import Trailers
from arena.home.e_values import judge
from arena.home.host import MOST_WAITING, ProjectHost
from arena.home.project import Project
from arena.home.state import state_of
from arena.home.verifying import Verifier
from programs.common.errors import UsageError
from tests.arena.home.clients import Client, better, confirm, people, rows, states, work


def pairs_of(project: Project) -> list[PairEvent]:
    return [PairEvent.parse(record) for record in read(project.folder / "ledger") if record.get("kind") == "pair"]


@pytest.fixture
def ann(host: ProjectHost) -> Client:
    return Client(host, "Ann")


@pytest.fixture
def bob(host: ProjectHost) -> Client:
    return Client(host, "Ann")  # names are no one's own


def test_a_true_gain_becomes_a_block_and_a_false_claim_does_not(project: Project, ann: Client, bob: Client) -> None:
    assert bob.propose(better(project, LR="1e-05"), 99.0).state == "waiting"
    proposal = better(project, MOMENTUM=0.9)
    assert ann.propose(proposal).state == "waiting"
    work(project)
    assert {number: state for number, (state, _) in states(project).items()} == {1: "rejected", 2: "merged"}
    zero, one = project.chain.commits()
    assert project.chain.files(one) == proposal
    trailers = project.chain.trailers(one)
    assert isinstance(trailers, Trailers) and trailers.proposer == ann.number and trailers.base == zero
    assert 0 < trailers.low < trailers.gain
    outcome = judge(trailers.differences, trailers.level)
    assert outcome.state == "crossed" and outcome.log_e == trailers.log_e
    pairs = pairs_of(project)
    assert len({pair.split for pair in pairs}) == len({pair.seed for pair in pairs}) == len(pairs)
    assert sum(row.pairs for row in rows(project)) == len(pairs) and rows(project)[0].device_seconds > 0
    assert not list((project.folder / "data").glob("*/confirmation-*"))  # a split is used once, and then deleted
    state = state_of(project)
    assert [block.by for block in state.blocks] == ["host", "Ann (1)"]
    [row] = state.contributors
    assert row.name == "Ann (1)" and row.blocks == 1 and row.low < row.gain < row.high
    again = ann.propose(proposal, base=zero)  # the request may be repeated
    assert (again.state, again.block, again.proposal) == ("merged", 1, 2)
    assert bob.propose(better(project, LR="1e-05"), 7.0, base=zero).reason.startswith("no gain shown in")


def test_a_kill_at_any_step_of_a_merge_is_put_right(
    project: Project, ann: Client, bob: Client, monkeypatch: Any
) -> None:
    """Two proposals are tested at once; the test of the second begins again where main has moved, on fresh data."""
    ann.propose(better(project, MOMENTUM=0.9))
    bob.propose(better(project, LR=0.2))
    monkeypatch.setattr(Verifier, "slots", lambda *_: 2)
    refs, append = project.chain.folder / "info" / "refs", type(project.chain).append
    before = refs.read_bytes()  # what clones read

    def killed_after_it(*given: Any) -> str:
        append(*given)
        raise KeyboardInterrupt

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    for step, kill, left in (("publish", killed, {"testing"}), ("append", killed_after_it, {"merged", "testing"})):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(f"arena.home.chain.Chain.{step}", kill)
            work(project)
        assert {state for state, _ in states(project).values()} == left
        assert len(project.chain.commits()) == 1 + len(left) and (refs.read_bytes() == before) == (step == "publish")
    work(project)
    assert {state for state, _ in states(project).values()} == {"merged"}
    blocks = [record["block"] for record in read(project.folder / "ledger") if record.get("kind") == "block"]
    assert blocks == [1, 2] and len(project.chain.commits()) == 3
    second = max(rows(project), key=lambda row: row.test)
    pairs = [pair for pair in pairs_of(project) if pair.proposal == second.proposal_id]
    assert second.main == project.chain.commits()[1] and second.first_pair > 0 and second.test == 3
    assert len({pair.split for pair in pairs}) == len(pairs) > second.first_pair
    assert not list(problems(project.chain, project.task))


def test_change_elsewhere_is_rebased_and_a_conflict_is_outdated(
    project: Project, host: ProjectHost, ann: Client, bob: Client
) -> None:
    eve = Client(host, "Eve")
    confirm(project, 1, 2, 3)  # by claims then, not by lot
    ann.propose(better(project, MOMENTUM=0.9), 0.5)
    bob.propose(better(project, BATCH=64), 0.4)
    eve.propose(better(project, MOMENTUM=0.5), 0.3)
    work(project)
    moved, [state, reason] = rows(project)[4], states(project)[1006]
    assert states(project)[1004][0] == "merged" and (state, reason) == (
        "outdated",
        "its change does not apply to main any more",
    )
    assert moved.main == project.chain.commits()[1] and moved.source == better(project, MOMENTUM=0.9, BATCH=64)


def test_what_the_cheap_checks_refuse(project: Project, ann: Client) -> None:
    base = project.task.baseline().text()
    for files, reason in [
        ({"prepare.py": "pass\n"}, "not an editable file"),
        ({"../train.py": base}, "not an editable file"),
        ({"train.py": "def ("}, "not Python"),
        ({"train.py": base}, "changes nothing"),
        ({"train.py": base + "# a comment\n"}, "but layout and comments"),
        ({"train.py": base.replace("\n", "  \n", 1).replace(" = ", "  =  ", 3)}, "but layout and comments"),
        ({"train.py": base + "#" * 70_000}, "larger than"),
    ]:
        answer = ann.propose(files)
        assert answer.state == "refused" and reason in answer.reason, answer
    for other, reason in (({"base": "0" * 40}, "no block of main"), ({"gain": 0.0}, "claims no gain")):
        assert reason in ann.propose(better(project, LR=0.1), **other).reason
    assert not rows(project)


def test_no_more_pairs_a_day_than_the_host_allows(project: Project, ann: Client, bob: Client) -> None:
    project.database.set_fact("limits", max_pairs_a_day=3)
    ann.propose(better(project, MOMENTUM=0.9))
    bob.propose(better(project, LR=0.2))
    work(project)
    assert len(pairs_of(project)) == 2 and sorted(state for state, _ in states(project).values()) == [
        "testing",
        "waiting",
    ]
    with project.database.write() as connection:
        project.database.put(connection, "day", **{**project.database.fact("day"), "date": "2000-01-01"})
    work(project)
    assert len(pairs_of(project)) == 4  # of the next day


def test_a_flood_of_new_volunteers_leaves_half_of_the_pairs(project: Project, host: ProjectHost, ann: Client) -> None:
    ann.propose(better(project, MOMENTUM=0.9))
    work(project)
    trained = len(pairs_of(project))
    project.database.set_fact("limits", max_pairs_a_day=8)
    project.database.set_fact("day", **{**project.database.fact("day"), "pairs": 0, "new": 0})
    for k in range(4):
        Client(host, "Sybil").propose(better(project, MOMENTUM=0.9, LR=f"1e-0{k + 5}"), 99.0)
    work(project)
    assert (
        len(pairs_of(project)) - trained <= 6 and [state for state, _ in states(project).values()].count("waiting") > 1
    )
    ann.propose(better(project, MOMENTUM=0.9, LR="1e-09"), 0.1)
    work(project)
    assert rows(project)[-1].pairs > 0


def test_the_bundle_is_the_task_with_mains_files(project: Project, tmp_path: Path) -> None:
    bundle, main = project.bundle, better(project, MOMENTUM=0.9)
    task = unpack(bundle.body, bundle.digest, tmp_path / "task", main)
    assert dict(task.baseline().files) == main and task.metric == project.task.metric


def test_name_of_nobody_is_refused_and_none_is_a_number(project: Project, host: ProjectHost, ann: Client) -> None:
    for name in ("volunteer 1", "Volunteer", "a\u3164b"):
        with pytest.raises(UsageError):
            Client(host, name)
    Client(host, "")
    assert [each.label for each in people(project)] == ["Ann (1)", "volunteer 2"]


def test_refused_and_repeated_proposals_do_not_fill_the_disk(project: Project, ann: Client, bob: Client) -> None:
    for k in range(MOST_WAITING):
        assert ann.propose(better(project, LR=0.1 + k / 100)).state == "waiting"
        assert ann.propose(better(project, LR=0.1 + k / 100), 1e9).proposal == k + 1
        assert ann.propose({"train.py": f"def {k}"}).state == "refused"
    answer = ann.propose(better(project, LR=0.9))
    assert answer.state == "later" and "of your proposals wait" in answer.reason
    assert len(rows(project)) == MOST_WAITING
    assert bob.propose(better(project, LR=0.9)).state == "waiting"
