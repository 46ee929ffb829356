"""The bench runs a researcher's experiments: it alone launches, meters, commits and records them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NoReturn

from inner_loop.events import Emit, Event, ExperimentEvent, FaultEvent, FindingEvent, experiment_id
from inner_loop.meter import RunMeter
from inner_loop.record import Record, decision_event, experiment_event
from inner_loop.replay import RunReplay
from inner_loop.repository import RunRepository
from inner_loop.results_tsv import ResultsTable
from inner_loop.wave import ExperimentRequest, Known, PlannedExperiment, run_wave
from programs.common.errors import Corrupt, EnvironmentProblem, TaskError, UsageError
from programs.common.text import one_line
from trainer.devices import Devices, busy_seconds
from trainer.edits import Edit
from trainer.experiment import Outcome, Spec, Trainer
from trainer.rows import Difference
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task


class BenchClosed(Exception):
    """The bench accepts no further experiment. Control flow, not an error: it ends a run."""


class BudgetSpent(BenchClosed):
    """The remaining budget does not cover the request."""


class WallSpent(BenchClosed):
    """The run has used its wall time and ends with its current head. The message names the limit."""


class RunStopped(BenchClosed):
    """The run was asked to stop. Finished experiments are recorded; the rest can be resumed."""


def never() -> bool:
    return False


class Bench:
    """One run's experiments under one budget (device-seconds).

    Number, source, seed and fraction of each experiment follow from the program and earlier outcomes alone, so a
    resumed run makes the same requests. Experiments in `recorded` (this run's earlier `experiment` and `decision`
    events) are answered from there, with the recorded charge, and not emitted again. ``devices`` run a wave in parallel
    (None: ``trainer`` runs one experiment after another); ``trainer`` is the first of them. ``task``: the trainer's
    with the edits of the program (None: as it is). ``kept_errors``: the standard errors of the difference from which on
    a gain is kept; 0: any gain is.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        run_id: str,
        run_seed: int,
        streams: Streams,
        budget_seconds: float,
        emit: Emit,
        repository: RunRepository | None = None,
        recorded: Sequence[Event] = (),
        should_stop: Callable[[], bool] = never,
        devices: Devices | None = None,
        task: Task | None = None,
        kept_errors: float = 0.0,
    ) -> None:
        self.task = task or trainer.task
        self.run_id = run_id
        self.run_seed = run_seed
        self.budget_seconds = budget_seconds
        self.kept_errors = kept_errors
        self.data = trainer.data
        self.meter = RunMeter.of_run(trainer.task, budget_seconds, trainer.fixed_steps)
        self.history: list[Record] = []
        self.experiment_wall_seconds = 0.0
        self.program_id: str | None = None  # whose session it is, of a night
        self.early = ""  # why the researcher ended before the budget was spent, where it says so
        self._trainer = trainer
        self._devices = devices or Devices(trainer)
        self._streams = streams
        self._emit = emit
        self._repository = repository
        self._table = ResultsTable(repository.folder, self.task.metric) if repository else None
        self._replay = RunReplay(run_id, recorded)
        self._should_stop = should_stop
        self._head: Record | None = None
        self._sources: dict[tuple[str, str], Source] = {}
        self._open = True

    # --- what a researcher may read -------------------------------------------------------------------------

    @property
    def head(self) -> Record:
        """The kept source; at the end of the run it is the result."""
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
    def devices(self) -> int:
        """How many experiments of one wave run in parallel."""
        return self._devices.count

    @property
    def counts_device_time(self) -> bool:
        """Whether the budget is measured device time: false with fixed steps and on simulated tasks."""
        return not self._trainer.fixed_steps and self.task.law is None

    @property
    def is_open(self) -> bool:
        return self._open and self.can_afford()

    def cost(self, fraction: float = 1.0) -> float:
        """Expected charge of an experiment, in device-seconds."""
        return self.meter.expected(self.part(fraction))

    def part(self, fraction: float) -> float:
        """The fraction to use here: 1 if the task's command cannot be given a part of its budget."""
        return fraction if self.task.scales else 1.0

    def can_afford(self, fraction: float = 1.0, count: int = 1) -> bool:
        return self.meter.affords(count * self.cost(fraction))

    def gain(self, record: Record, over: Record) -> float | None:
        """How much better `record` is than `over`, in metric units; None if either failed."""
        if record.metric is None or over.metric is None:
            return None
        return self.task.sign * (over.metric - record.metric)

    def source_of(self, edit: Edit, parent: Record | None = None) -> Source:
        """The edited source, without training it. Raises EditError if the edit does not apply."""
        source = (parent or self.head).source
        key = (source.source_id, edit.key())
        if key not in self._sources:
            self._sources[key] = self.task.edits.apply(source, edit) if edit else source
        return self._sources[key]

    def next_replicate(self) -> int:
        """The number of the next unused training seed of this run."""
        return 1 + max(record.replicate for record in self.history)

    @property
    def stores_logs(self) -> bool:
        """Whether `log` gives the same after a resume."""
        return self._repository is not None

    def log(self, record: Record) -> str:
        """An experiment's output; after a resume the stored one, empty if no repository is kept."""
        return record.outcome.log or (self._repository.log_of(record) if self._repository else "")

    # --- what a researcher may do ------------------------------------------------------------------------------

    def set_aside(self, seconds: float) -> None:
        """Reserve so many device-seconds for later; 0 releases them."""
        self.meter.aside = min(max(0.0, seconds), self.budget_seconds)

    def start(self) -> Record:
        """Train the untouched baseline. Raises TaskError if it fails, UsageError if the budget is too small."""
        if not self.can_afford():
            raise UsageError(
                f"a run budget of {self.budget_seconds:g} s is too small for one experiment of {self.task.name}, "
                f"which takes {self.cost():.3g} s",
                hint="raise --run-budget",
            )
        ask = ExperimentRequest(Edit(), description="baseline")
        (record,) = self._carry_out([self._planned(ask, None, self.task.baseline())])
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
        """Train `edit` of the parent's source (default: the head's) and record the outcome.

        `replicate` selects the training seed, which is the same for every source of the run. `source` is for
        researchers that edit text: it is trained as given. A candidate's failure is an outcome. Raises BudgetSpent if
        the experiment cannot be afforded, RunStopped if the run is to end, EditError if the edit does not apply, and
        EnvironmentProblem if our own infrastructure failed (then nothing is charged or recorded).
        """
        ask = ExperimentRequest(edit, parent, tuple(because), fraction, replicate, description, proposer, source)
        records = self.experiments([ask])
        if not records:
            raise BudgetSpent(f"{self.remaining:.3g} s left, an experiment takes {self.cost(fraction):.3g} s")
        return records[0]

    def experiments(self, asks: Sequence[ExperimentRequest]) -> list[Record]:
        """Run a wave in parallel on all devices of the run: as many of ``asks``, from the first on, as the budget
        covers. Returns their records in that order; none if the first cannot be afforded.

        With several devices the number is fixed before the launch from expected costs, so it does not depend on which
        experiment ends first. Raises what `experiment` raises; experiments launched before that have ended and are
        recorded up to the first missing number.
        """
        if self.devices > 1:
            count = self._affordable(asks)
            return self._carry_out([self._plan(ask, offset) for offset, ask in enumerate(asks[:count])])
        records: list[Record] = []
        for ask in asks:
            if not self._affordable([ask]):
                break
            records += self._carry_out([self._plan(ask)])
        return records

    def decide(self, record: Record, decision: str, reason: str, compared: Difference | None = None) -> None:
        """Decide once what becomes of an experiment; "keep" commits it and moves the head to it. ``compared``: its gain
        over the source that it was compared with."""
        if record.decision:
            raise RuntimeError(f"experiment {record.number} was decided already: {record.decision}")
        record.decision, record.reason = decision, reason
        record.gain, record.gain_se = (compared.value, compared.se) if compared else (None, None)
        if decision in ("baseline", "keep"):
            if self._repository:
                self._repository.commit(record, self._parent(record), self.task.metric)
            self._head = record
        if self._table:
            self._table.add(record, self._repository.hash_of(record) if self._repository else "")
        if not self._replay.was_decided(record.experiment_id, decision):
            self._emit(decision_event(self.run_id, record))

    def recall(self, rebuild: Callable[[ExperimentEvent, Record], Source]) -> None:
        """Restore what an earlier attempt recorded, for a researcher that would not make the same requests again.

        History, charges, decisions and head are as before; nothing is trained or emitted. ``rebuild`` makes an
        experiment's source from its event and its parent. Raises Corrupt if that is not the source that was trained.
        """
        for event in self._replay.from_number(len(self.history)):
            if event.parent_number is None:
                raise Corrupt(f"run {self.run_id}: experiment {event.number} has no parent")
            parent = self.history[event.parent_number]
            ask = ExperimentRequest(
                event.edit,
                parent,
                event.directive_ids,
                event.fraction,
                event.replicate,
                event.description,
                event.proposer,
            )
            (record,) = self._carry_out([self._planned(ask, parent, rebuild(event, parent))])
            decided = self._replay.decision(record.experiment_id)
            if decided is not None:
                compared = None if decided.gain is None else Difference(decided.gain, decided.gain_se)
                self.decide(record, decided.decision, decided.reason, compared)

    def move_head(self, record: Record) -> None:
        """Make another measured record the head, such as the winner of a confirmation."""
        if record is self._head:
            return
        if self._repository:
            self._repository.move(record, self._parent(record), self.task.metric)
        self._head = record

    def close(self) -> None:
        """End the run: no further experiments; the repository's folder shows the head."""
        self._open = False
        if self._repository:
            self._repository.close()

    # --- internal ------------------------------------------------------------------------------------------------

    def _parent(self, record: Record) -> Record | None:
        return None if record.parent is None else self.history[record.parent]

    def _affordable(self, asks: Sequence[ExperimentRequest]) -> int:
        """How many experiments of a wave the remaining budget covers, each at its expected cost."""
        count, seconds = 0, 0.0
        for ask in asks:
            seconds += self.cost(ask.fraction)
            if not self._open or not self.meter.affords(seconds):
                break
            count += 1
        return count

    def _plan(self, ask: ExperimentRequest, offset: int = 0) -> PlannedExperiment:
        """The planned experiment of a request, ``offset`` numbers after the next one."""
        parent = ask.parent or self.head
        ask = replace(ask, fraction=self.part(ask.fraction), description=ask.description or ask.edit.label())
        return self._planned(ask, parent, ask.source or self.source_of(ask.edit, parent), offset)

    def _planned(
        self, ask: ExperimentRequest, parent: Record | None, source: Source, offset: int = 0
    ) -> PlannedExperiment:
        number = len(self.history) + offset
        seed = self._streams.seed("search", "train", self.run_seed, ask.replicate)
        spec = Spec(source, seed, "search", ask.fraction)
        known = self._replay.outcome(
            number, source_id=source.source_id, seed=seed, fraction=ask.fraction, replicate=ask.replicate
        )
        return PlannedExperiment(ask, number, parent, spec, known)

    def _carry_out(self, wave: Sequence[PlannedExperiment]) -> list[Record]:
        """Run a wave and return its records. Raises BenchClosed, from `_look`, if not all of it was launched."""
        ending: list[BenchClosed] = []
        first = len(self.history)

        def go_on() -> bool:
            try:
                self._look()
            except BenchClosed as closed:
                ending.append(closed)
            return not ending

        completed = run_wave(self._devices, wave, go_on, self._take)
        self.experiment_wall_seconds += busy_seconds(completed)
        if ending:
            raise ending[0]
        return self.history[first:]

    def _look(self) -> None:
        """Before each launch: raise if the run is to end."""
        if self._should_stop():
            raise RunStopped(f"run {self.run_id} was asked to stop after experiment {len(self.history) - 1}")

    def _take(self, planned: PlannedExperiment, ended: Known) -> None:
        """Record an experiment that has ended; all with a lower number are recorded already."""
        outcome, started_at = ended
        if outcome.status == "fault":
            self._refuse(planned, outcome)
        ask, parent, source = planned.ask, planned.parent, planned.spec.source
        record = Record(
            number=planned.number,
            experiment_id=experiment_id(self.run_id, planned.number),
            parent=parent.number if parent else None,
            source=source,
            config=parent.config if parent and source == parent.source else self.task.edits.config(source),
            edit=ask.edit,
            seed=planned.spec.seed,
            replicate=ask.replicate,
            fraction=ask.fraction,
            outcome=outcome,
            because=ask.because,
            description=one_line(ask.description),
            proposer=ask.proposer,
            charged=outcome.device_seconds_charged,
            started_at=started_at,
            program_id=ask.program_id or self.program_id,
            diff=parent.source.diff(source) if parent else "",
        )
        self.meter.add(outcome, ask.fraction)
        self.history.append(record)
        if self._repository:
            self._repository.write(record)
        if planned.known is None:
            self._record_findings(record)
            self._emit(experiment_event(self.run_id, record, parent))

    def _refuse(self, planned: PlannedExperiment, outcome: Outcome) -> NoReturn:
        self._emit(FaultEvent(run_id=self.run_id, number=planned.number, reason=outcome.reason))
        raise EnvironmentProblem(
            f"run {self.run_id}: experiment {planned.number} could not be run: {outcome.reason}",
            hint="nothing was charged; the run can be resumed",
            ids=[self.run_id],
        )

    def _record_findings(self, record: Record) -> None:
        """Written before the experiment's own row, because a resume skips experiments that have a row."""
        about = {"run_id": self.run_id, "experiment_id": record.experiment_id, "source_id": record.source.source_id}
        for text in record.outcome.findings:
            self._emit(FindingEvent.of_line(text, **about, stream="search", seed=record.seed))
