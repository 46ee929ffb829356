"""The recorded events of an interrupted run, returned in the same order."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.events import DecisionEvent, Event, ExperimentEvent
from inner_loop.record import recorded_outcome
from programs.common.errors import Corrupt
from trainer.experiment import Outcome


class RunReplay:
    """Earlier `experiment` and `decision` events of one run.

    A researcher decides from outcomes and the run's generator alone, so given the recorded outcomes it requests the
    same experiments again. These are answered from here, and neither run nor emitted a second time.
    """

    def __init__(self, run_id: str, recorded: Sequence[Event] = ()) -> None:
        self.run_id = run_id
        self._experiments: dict[int, ExperimentEvent] = {}
        self._decided: dict[str, DecisionEvent] = {}
        for event in recorded:
            if isinstance(event, ExperimentEvent) and event.run_id == run_id:
                self._experiments[event.number] = event
            elif isinstance(event, DecisionEvent) and event.run_id == run_id:
                self._decided[event.experiment_id] = event

    def from_number(self, number: int) -> list[ExperimentEvent]:
        """The recorded experiments from that number up to the first gap, in order."""
        events: list[ExperimentEvent] = []
        while (event := self._experiments.get(number + len(events))) is not None:
            events.append(event)
        return events

    def decision(self, experiment_id: str) -> DecisionEvent | None:
        """The decision about an experiment; None if the run was interrupted before it."""
        return self._decided.get(experiment_id)

    def outcome(
        self, number: int, *, source_id: str, seed: int, fraction: float, replicate: int
    ) -> tuple[Outcome, str] | None:
        """The recorded outcome and start of experiment `number`; None if it must still be run.

        Raises Corrupt if another experiment was recorded under that number.
        """
        event = self._experiments.get(number)
        if event is None:
            return None
        expected = {"source_id": source_id, "seed": seed, "fraction": fraction, "replicate": replicate}
        for name, value in expected.items():
            if (recorded := getattr(event, name)) != value:
                raise Corrupt(
                    f"run {self.run_id}: experiment {number} was recorded with {name} {recorded}, now it is {value}",
                    hint="the program, the task or metaloop changed since; start it again as a new run",
                    ids=[self.run_id, event.experiment_id],
                )
        return recorded_outcome(event), event.started_at

    def was_decided(self, experiment_id: str, decision: str) -> bool:
        """Whether that decision is recorded already. Raises Corrupt if another one is."""
        earlier = self._decided.get(experiment_id)
        if earlier is not None and earlier.decision != decision:
            raise Corrupt(
                f"run {self.run_id}: experiment {experiment_id} was decided {earlier.decision!r}, now {decision!r}",
                hint="the program, the task or metaloop changed since; start it again as a new run",
                ids=[self.run_id, experiment_id],
            )
        return earlier is not None
