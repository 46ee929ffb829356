"""One fold over events: which of two records counts, and what a live ledger shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.ledger import Ledger
from analysis.ledger.events import BaselineEvent, MatchEvent, VerificationEvent, read_event
from analysis.ledger.run_state import LedgerTail, RunState, StudyState
from analysis.ledger.writing_events import MutationEvent
from inner_loop.events import CallEvent, DecisionEvent, Experiment
from programs.common.errors import Corrupt, OtherVersion
from tests.events import example


def verification(seed: int, gain: float, status: str = "ok") -> VerificationEvent:
    return example(VerificationEvent, run_id="r1", seed=seed, gain=gain, status=status)


@pytest.mark.parametrize(
    ("told", "gain"),
    [
        ([], None),
        ([verification(1, 0.2), verification(2, 0.4)], pytest.approx(0.3)),
        ([verification(1, 0.2), verification(2, 0.0, "crash")], 0.1),  # failed under a seed: 0 there
        ([verification(1, 0.2), verification(2, 0.0, "baseline")], 0.1),
        ([verification(1, 0.2), verification(1, 0.9)], 0.2),  # told twice: the first
    ],
)
def test_the_gain_of_a_run(told: list[VerificationEvent], gain: float | None) -> None:
    run = RunState()
    for event in told:
        run.take(event)
    assert run.gain == gain


def test_a_run_goes_on_from_its_experiments_in_order() -> None:
    state = StudyState()
    events = [
        example(CallEvent, run_id="r1"),
        example(Experiment, run_id="r1", experiment_id="e2", number=2),
        example(Experiment, run_id="r1", experiment_id="e1", number=1),
        example(DecisionEvent, run_id="r1", experiment_id="e1"),
    ]
    for event in (*events, example(CallEvent), example(Experiment, run_id="r2", experiment_id="e9")):
        state.take(event)
    assert state.run("r1").recorded == (events[2], events[1], events[3], events[0])
    assert state.run("r3").recorded == () and len(state.calls) == 1


def test_a_tail_tells_what_is_new_of_its_kinds(tmp_path: Path) -> None:
    tail, all_of_it = LedgerTail(tmp_path, frozenset({"baseline"})), LedgerTail(tmp_path)
    told = [example(BaselineEvent, seed=seed, metric=0.5) for seed in range(4)]
    with Ledger(tmp_path, "main") as ledger:
        ledger.append(told[0].to_record())
        assert list(tail.news()) == told[:1] and list(tail.news()) == []
        ledger.append({"kind": "segment of a later version"})
        ledger.append(told[1].to_record())
    with Ledger(tmp_path, "worker-0") as worker:
        worker.append(told[2].to_record())
        worker.append(example(DecisionEvent, run_id="r1").to_record())
        with worker.path.open("ab") as torn:
            torn.write(b'{"seq":7,"kind":"baseline"')
    assert list(tail.news()) == told[1:3] and list(tail.news()) == []
    assert [event.kind for event in all_of_it.news()].count("decision") == 1


def test_tail_refuses_damage_and_other_schemas_and_waits_if_torn(tmp_path: Path) -> None:
    first, second = (example(BaselineEvent, seed=seed) for seed in (1, 2))
    with Ledger(tmp_path, "main") as ledger:
        ledger.append(first.to_record())
    whole = ledger.path.read_bytes()
    with Ledger(tmp_path, "worker") as worker:
        worker.append(second.to_record())
    line = worker.path.read_bytes().splitlines(keepends=True)[-1]
    tail = LedgerTail(tmp_path)
    for torn in (line[:40], line[:40] + b"\n"):
        ledger.path.write_bytes(whole + torn)
        assert list(tail.news()) in ([first, second], [])
    ledger.path.write_bytes(whole + line)
    assert list(tail.news()) == [second]
    ledger.path.write_bytes(whole + line[:40] + b"\n" + line)
    with pytest.raises(Corrupt, match=r"main-1\.jsonl: a record is damaged, at byte \d+"):
        list(LedgerTail(tmp_path).news())
    ledger.path.write_bytes(whole + line.replace(b'"schema":', b'"schema":9'))
    with pytest.raises(OtherVersion):
        list(LedgerTail(tmp_path).news())


def test_what_several_writers_wrote_comes_in_the_order_of_time(tmp_path: Path) -> None:
    events = [example(BaselineEvent, seed=seed) for seed in range(6)]
    with Ledger(tmp_path, "worker-1") as one, Ledger(tmp_path, "worker-0") as other:
        for event in events:
            (one if event.seed % 2 else other).append(event.to_record())
    tail = LedgerTail(tmp_path)
    assert list(tail.news()) == events and tail.last_at > ""


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"kind": "match", "match_id": "m1"}, "an invalid 'match' record, label: Field required"),
        (example(BaselineEvent).to_record() | {"seed": "x"}, "an invalid 'baseline' record, seed: "),
    ],
)
def test_a_record_that_lacks_what_its_kind_has_is_refused(tmp_path: Path, record: dict[str, str], problem: str) -> None:
    with Ledger(tmp_path, "main") as ledger:
        ledger.append(example(MatchEvent, config={"direction": "lower", "metric": "nll"}).to_record())
        ledger.append(record)
    with pytest.raises(Corrupt, match=problem):
        StudyState.read(tmp_path)


def test_mutation_names_what_it_repairs_where_a_model_was_asked() -> None:
    offline = ["kind", "generation", "attempt", "child_id", "parent_ids", "operator", "accepted", "reason",
               "evidence_ids", "model", "tokens", "usd"]  # fmt: skip
    assert list(example(MutationEvent).to_record()) == offline
    asked = example(MutationEvent, call=3, prompt=(), meta_program_id="p1")
    record = asked.to_record()
    assert list(record) == [*offline, "call", "prompt", "meta_program_id", "repairs"]
    assert record["repairs"] is None and read_event(record) == asked
