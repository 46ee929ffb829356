"""The recorded events of an interrupted run, returned in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inner_loop.events import DecisionEvent, Event, Experiment
from programs.common.errors import Corrupt
from trainer.source import Source


class RunReplay:
    """Earlier `experiment` and `decision` events of one run.

    A researcher decides from outcomes and the run's generator alone, so given the recorded outcomes it proposes the
    same experiments again. These are answered from here, and neither run nor emitted a second time.
    """

    def __init__(self, run_id: str, recorded: Sequence[Event] = ()) -> None:
        self.run_id = run_id
        self._experiments: dict[int, Experiment] = {}
        self._decided: dict[str, DecisionEvent] = {}
        for event in recorded:
            if isinstance(event, Experiment) and event.run_id == run_id:
                self._experiments[event.number] = event
            elif isinstance(event, DecisionEvent) and event.run_id == run_id:
                self._decided[event.experiment_id] = event

    def recorded(self, number: int) -> Experiment | None:
        return self._experiments.get(number)

    def decision(self, experiment_id: str) -> DecisionEvent | None:
        """The decision about an experiment; None if the run was interrupted before it."""
        return self._decided.get(experiment_id)

    def experiment(
        self, number: int, *, source: Source, seed: int, fraction: float, replicate: int
    ) -> Experiment | None:
        """The recorded experiment of a number, with its source; None if it must still be run.

        Raises Corrupt if another experiment was recorded under that number.
        """
        recorded = self._experiments.get(number)
        if recorded is None:
            return None
        expected = {"source_id": source.source_id, "seed": seed, "fraction": fraction, "replicate": replicate}
        for name, value in expected.items():
            if (before := getattr(recorded, name)) != value:
                raise Corrupt(
                    f"run {self.run_id}: experiment {number} was recorded with {name} {before}, now it is {value}",
                    hint="the program, the task or metaloop changed since; start it again as a new run",
                    ids=[self.run_id, recorded.experiment_id],
                )
        return replace(recorded, source=source, decided=None)

    def was_decided(self, decided: DecisionEvent) -> bool:
        """Whether that decision is recorded already. Raises Corrupt if another one is."""
        earlier = self._decided.get(decided.experiment_id)
        if earlier is not None and earlier.decision != decided.decision:
            raise Corrupt(
                f"run {self.run_id}: experiment {decided.experiment_id} was decided {earlier.decision!r}, "
                f"now {decided.decision!r}",
                hint="the program, the task or metaloop changed since; start it again as a new run",
                ids=[self.run_id, decided.experiment_id],
            )
        return earlier is not None
