"""The bench: where a researcher works during a run. It alone launches experiments, meters, commits and remembers."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inner_loop.meter import Meter
from inner_loop.record import Record, decision_event, experiment_event, experiment_id, finding_event
from inner_loop.replay import Replay
from inner_loop.repository import Repository
from inner_loop.results_tsv import ResultsTable
from programs.errors import EnvironmentProblem, TaskError, UsageError
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec, Trainer
from trainer.source import Source
from trainer.streams import Streams


class BenchClosed(Exception):
    """The bench takes no further experiment. Control flow, no error: a run ends by it."""


class BudgetSpent(BenchClosed):
    """What was asked for cannot be afforded any more."""


class WallSpent(BenchClosed):
    """The run has taken its time by the clock: it ends with what it has. The message says which limit it was."""


class RunStopped(BenchClosed):
    """Whoever drives the run asked it to stop; what ended is recorded, the rest can be resumed."""


def never() -> bool:
    return False


class Bench:
    """One run's experiments under one budget (device-seconds).

    Experiment `number`, source, seed and fraction follow from the program and earlier outcomes alone, so that a
    resumed run asks for the same ones; those in `recorded` (this run's earlier `experiment` and `decision` events)
    are answered from there, charged as they were, and not emitted again.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        run_id: str,
        run_seed: int,
        streams: Streams,
        budget_seconds: float,
        emit: Callable[[dict[str, Any]], None],
        repository: Repository | None = None,
        recorded: Sequence[Mapping[str, Any]] = (),
        should_stop: Callable[[], bool] = never,
    ) -> None:
        self.task = trainer.task
        self.run_id = run_id
        self.run_seed = run_seed
        self.budget_seconds = budget_seconds
        self.meter = _meter(trainer, budget_seconds)
        self.history: list[Record] = []
        self.experiment_wall_seconds = 0.0
        self._trainer = trainer
        self._streams = streams
        self._emit = emit
        self._repository = repository
        self._table = ResultsTable(repository.folder, self.task.metric) if repository else None
        self._replay = Replay(run_id, recorded)
        self._should_stop = should_stop
        self._head: Record | None = None
        self._sources: dict[tuple[str, str], Source] = {}
        self._open = True

    # --- what a researcher may look at -------------------------------------------------------------------------

    @property
    def head(self) -> Record:
        """What is kept now; the run's result is its source."""
        if self._head is None:
            raise RuntimeError("the bench has no head before its baseline")
        return self._head

    @property
    def baseline(self) -> Record:
        return self.history[0]

    @property
    def remaining(self) -> float:
        """Device-seconds that can be spent now."""
        return self.meter.remaining

    @property
    def is_open(self) -> bool:
        return self._open and self.can_afford()

    def cost(self, fraction: float = 1.0) -> float:
        """Expected charge of an experiment in device-seconds."""
        return self.meter.expected(self.part(fraction))

    def part(self, fraction: float) -> float:
        """The fraction that an experiment can be given here: all of it, where a command knows nothing of a budget."""
        return fraction if self.task.scales else 1.0

    def can_afford(self, fraction: float = 1.0, count: int = 1) -> bool:
        return self.meter.affords(count * self.cost(fraction))

    def gain(self, record: Record, over: Record) -> float | None:
        """How much better the metric of one record is than of another; None if either failed."""
        if record.metric is None or over.metric is None:
            return None
        return self.task.sign * (over.metric - record.metric)

    def source_of(self, edit: Edit, parent: Record | None = None) -> Source:
        """The edited source, without training it. Raises EditError where the edit does not apply."""
        source = (parent or self.head).source
        key = (source.source_id, edit.key())
        if key not in self._sources:
            self._sources[key] = self.task.edits.apply(source, edit) if edit else source
        return self._sources[key]

    def next_replicate(self) -> int:
        """The number of a training seed that nothing in this run has been trained with."""
        return 1 + max(record.replicate for record in self.history)

    def log(self, record: Record) -> str:
        """What an experiment printed; after a resume as it was written down, empty where nothing is kept."""
        return record.outcome.log or (self._repository.log_of(record) if self._repository else "")

    # --- what a researcher may do ------------------------------------------------------------------------------

    def set_aside(self, seconds: float) -> None:
        """Keep back so many device-seconds for later; 0 releases them."""
        self.meter.aside = min(max(0.0, seconds), self.budget_seconds)

    def start(self) -> Record:
        """Train the untouched baseline. Raises TaskError if it fails, UsageError if the budget cannot hold it."""
        if not self.can_afford():
            raise UsageError(
                f"a run budget of {self.budget_seconds:g} s does not hold one experiment of {self.task.name}, "
                f"which takes {self.cost():.3g} s",
                hint="give --run-budget more",
            )
        record = self._measure(self.task.baseline(), Edit(), parent=None, description="baseline")
        if not record.ok:
            raise TaskError(
                f"{self.task.folder}: the baseline ended as {record.outcome.status}: {record.outcome.reason}",
                hint=f"metaloop task check {shlex.quote(str(self.task.folder))}",
            )
        self.decide(record, "baseline", "the untouched source")
        return record

    def experiment(
        self,
        edit: Edit,
        *,
        parent: Record | None = None,
        because: Sequence[str] = (),
        fraction: float = 1.0,
        replicate: int = 0,
        description: str = "",
        proposer: str = "",
        source: Source | None = None,
    ) -> Record:
        """Train `edit` of the parent's source (default: the head's) and record what came of it.

        `replicate` names the training seed, the same for every source of the run. `source` is for researchers that
        edit text: it is trained as it stands. Whatever a candidate does is an outcome; raises BudgetSpent if the
        experiment cannot be afforded, RunStopped if the run is to end, EditError if the edit does not apply, and
        EnvironmentProblem if our own infrastructure failed (nothing is charged then, and no experiment recorded).
        """
        parent = parent or self.head
        if not self._open or not self.can_afford(fraction):
            raise BudgetSpent(f"{self.remaining:.3g} s left, an experiment takes {self.cost(fraction):.3g} s")
        return self._measure(
            source or self.source_of(edit, parent),
            edit,
            parent=parent,
            because=tuple(because),
            fraction=self.part(fraction),
            replicate=replicate,
            description=description or edit.label(),
            proposer=proposer,
        )

    def decide(self, record: Record, decision: str, reason: str) -> None:
        """Say once what becomes of an experiment; "keep" commits it and moves the head to it."""
        if record.decision:
            raise RuntimeError(f"experiment {record.number} was decided already: {record.decision}")
        record.decision, record.reason = decision, reason
        if decision in ("baseline", "keep"):
            if self._repository:
                parent = None if record.parent is None else self.history[record.parent]
                self._repository.commit(record, parent, self.task.metric)
            self._head = record
        if self._table:
            self._table.add(record, self._repository.hash_of(record) if self._repository else "")
        if not self._replay.was_decided(record.experiment_id, decision):
            self._emit(decision_event(self.run_id, record))

    def recall(self, rebuild: Callable[[Mapping[str, Any], Record], Source]) -> None:
        """Take up what an earlier attempt recorded, unasked: for a researcher that would not ask the same again.

        History, charges, decisions and head stand as they did; nothing is trained or emitted. ``rebuild`` makes an
        experiment's source of its event and its parent. Raises Corrupt where that is not the source that was trained.
        """
        for event in self._replay.from_number(len(self.history)):
            parent = self.history[event["parent_number"]]
            record = self._measure(
                rebuild(event, parent),
                Edit.from_json(event["edit"]),
                parent=parent,
                because=tuple(event["directive_ids"]),
                fraction=event["fraction"],
                replicate=event["replicate"],
                description=event["description"],
                proposer=event["proposer"],
            )
            decided = self._replay.decision(record.experiment_id)
            if decided is not None:
                self.decide(record, *decided)

    def move_head(self, record: Record) -> None:
        """Make another measured record the head: a rewind, another branch, the winner of a confirmation."""
        if record is self._head:
            return
        if self._repository:
            parent = None if record.parent is None else self.history[record.parent]
            self._repository.move(record, parent, self.task.metric)
        self._head = record

    def put_beside(self, name: str, text: str) -> None:
        """Commit a file of the organization's own beside the sources from now on; it is never trained."""
        if self._repository and name not in (*self.task.editable, *self.task.read_only):
            self._repository.beside[name] = text

    def close(self) -> None:
        """End the run: no further experiment; the repository's folder shows the head."""
        self._open = False
        if self._repository:
            self._repository.close()

    # --- inside ------------------------------------------------------------------------------------------------

    def _measure(
        self,
        source: Source,
        edit: Edit,
        *,
        parent: Record | None,
        because: tuple[str, ...] = (),
        fraction: float = 1.0,
        replicate: int = 0,
        description: str = "",
        proposer: str = "",
    ) -> Record:
        number = len(self.history)
        seed = self._streams.seed("search", "train", self.run_seed, replicate)
        known = self._replay.outcome(
            number, source_id=source.source_id, seed=seed, fraction=fraction, replicate=replicate
        )
        outcome, started_at = known or self._train(number, Spec(source, seed, "search", fraction))
        record = Record(
            number=number,
            experiment_id=experiment_id(self.run_id, number),
            parent=parent.number if parent else None,
            source=source,
            config=parent.config if parent and source == parent.source else self.task.edits.config(source),
            edit=edit,
            seed=seed,
            replicate=replicate,
            fraction=fraction,
            outcome=outcome,
            because=because,
            description=description,
            proposer=proposer,
            charged=outcome.device_seconds,
            started_at=started_at,
            diff=parent.source.diff(source) if parent else "",
        )
        self.meter.add(outcome, fraction)
        self.history.append(record)
        if self._repository:
            self._repository.write(record)
        if known is None:
            self._tell_findings(record)
            self._emit(experiment_event(self.run_id, record, parent))
        return record

    def _tell_findings(self, record: Record) -> None:
        """Before the experiment's own row: whoever finds that row does not run it again and would not tell them."""
        about = {"run_id": self.run_id, "experiment_id": record.experiment_id, "source_id": record.source.source_id}
        for text in record.outcome.findings:
            self._emit(finding_event(text, **about, stream="search", seed=record.seed))

    def _train(self, number: int, spec: Spec) -> tuple[Outcome, str]:
        if self._should_stop():
            raise RunStopped(f"run {self.run_id} was asked to stop before experiment {number}")
        started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        began = time.perf_counter()
        outcome = self._trainer.run(spec)
        self.experiment_wall_seconds += time.perf_counter() - began
        if outcome.status == "fault":
            self._emit({"kind": "fault", "run_id": self.run_id, "number": number, "reason": outcome.reason})
            raise EnvironmentProblem(
                f"run {self.run_id}: experiment {number} could not be carried out: {outcome.reason}",
                hint="nothing was charged; the run can be resumed",
                ids=[self.run_id],
            )
        return outcome, started_at


def _meter(trainer: Trainer, budget_seconds: float) -> Meter:
    """A meter that expects what the task's card says; in fixed-step mode the nominal time per step is all there is."""
    task = trainer.task
    if trainer.fixed_steps:
        nominal = task.steps * task.seconds_per_step
        return Meter(budget_seconds, prior=nominal, soft=nominal)
    return Meter(budget_seconds, prior=task.cost_seconds, soft=task.budget_seconds)
