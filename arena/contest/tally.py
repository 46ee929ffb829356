"""The runs of a match, with the columns of the view `runs`, updated from the new records of the ledger only, so that a
board of thousands of entries stays cheap."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from analysis.ledger.events import ActEvent
from analysis.ledger.run_state import LedgerTail, RunState
from analysis.trust import counts, weakest
from analysis.verdict.standings import StandingRun
from arena.spend import spend_of
from inner_loop.events import Event, ExperimentEvent, RunStartedEvent
from trainer.edits import Edit

KINDS = frozenset({"run_started", "run_ended", "experiment", "verification", "call", "act"})


class MatchTally:
    """The runs of one match by arm. The ledger was checked when the study was opened; this process writes the rest."""

    def __init__(self, ledger: Path, match_id: str) -> None:
        self.match_id = match_id
        self.runs: dict[str, RunState] = defaultdict(RunState)  # also runs whose start is in a later segment
        self.arms: dict[str, list[str]] = defaultdict(list)  # arm → its runs
        self.void: set[str] = set()  # arms that are void now
        self._tail = LedgerTail(ledger, KINDS)
        self._others: set[str] = set()  # runs of other matches

    def look(self) -> set[str]:
        """Read the new records; returns the arms that they concern."""
        touched: set[str] = set()
        for event in self._tail.news():
            if isinstance(event, ActEvent):
                touched |= self._act(event)
            elif (arm := self._take(event)) is not None:
                touched.add(arm)
        return touched

    def rows(self, arm: str) -> list[StandingRun]:
        """The arm's runs, in the order of the view."""
        return [row_of(self.runs[run_id], arm in self.void) for run_id in sorted(self.arms[arm])]

    def _act(self, event: ActEvent) -> set[str]:
        listed = event.body["arm_ids"]
        arms = {str(arm) for arm in listed} if isinstance(listed, list) else set()
        self.void = self.void | arms if event.body["what"] == "void" else self.void - arms
        return arms & self.arms.keys()

    def _take(self, event: Event) -> str | None:
        run_id = getattr(event, "run_id", None)
        if not run_id or run_id in self._others:
            return None
        run = self.runs[run_id]
        if isinstance(event, RunStartedEvent) and run.started is None:
            if event.match_id != self.match_id:
                self._others.add(run_id)
                del self.runs[run_id]
                return None
            self.arms[event.arm_id].append(run_id)
        run.take(_slim(event))
        return run.started.arm_id if run.started else None


def _slim(event: Event) -> Event:
    """The event without its texts, to save memory: thousands of runs are held at once."""
    if not isinstance(event, ExperimentEvent):
        return event
    return replace(event, edit=_NO_EDIT, config={}, description="", directive_ids=(), findings=(), reason="", diff="")


_NO_EDIT = Edit()


def row_of(run: RunState, void: bool) -> StandingRun:
    """The columns of the view `runs` that standings are made from."""
    assert run.started is not None
    started, ended = run.started, run.ended
    scores = [v for _, v in sorted(run.verifications.items()) if v.stream == started.stream]
    calls = spend_of(run.calls) if run.calls else None
    spend = ended if ended and ended.tokens is not None else calls
    return StandingRun(
        match_id=started.match_id, arm_id=started.arm_id, program_id=started.program_id,
        task=started.task, stream=started.stream, state=ended.state if ended else "running",
        claimed_gain=ended.claimed_gain if ended else None, verified_gain=run.gain,
        failed_seeds=sum(v.status not in ("ok", "baseline", "fault") for v in scores),
        trust=weakest(v.trust for v in scores if counts(v.status, v.trust)), device_seconds_charged=run.charged,
        tokens=spend.tokens if spend else None, usd=spend.usd if spend else None,
        wall_seconds=ended.wall_seconds if ended else None,
        experiment_wall_seconds=ended.experiment_wall_seconds if ended else None,
        score_stream=started.stream if scores else None, role=None, name=None, words=None, purpose=None, void=void,
    )  # fmt: skip
