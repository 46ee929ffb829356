"""What a run did before it was interrupted: its recorded events, handed back in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inner_loop.record import recorded_outcome
from programs.errors import Corrupt
from trainer.experiment import Outcome


class Replay:
    """Earlier `experiment` and `decision` events of one run.

    A researcher decides by outcomes and by the run's generator alone, so given the recorded outcomes it asks for the
    same experiments again. Whatever was recorded is answered from here and neither run nor emitted a second time.
    """

    def __init__(self, run_id: str, recorded: Sequence[Mapping[str, Any]] = ()) -> None:
        mine = [event for event in recorded if event.get("run_id") == run_id]
        self.run_id = run_id
        self._experiments = {int(e["number"]): e for e in mine if e.get("kind", "experiment") == "experiment"}
        self._idle = {int(e["number"]): float(e["idle_seconds"]) for e in mine if e.get("kind") == "wave"}
        self._decided = {e["experiment_id"]: str(e["decision"]) for e in mine if e.get("kind") == "decision"}
        self._reasons = {e["experiment_id"]: str(e["reason"]) for e in mine if e.get("kind") == "decision"}

    def from_number(self, number: int) -> list[Mapping[str, Any]]:
        """The recorded experiments from that number on, as far as none is missing, in their order."""
        found: list[Mapping[str, Any]] = []
        while (event := self._experiments.get(number + len(found))) is not None:
            found.append(event)
        return found

    def decision(self, experiment_id: str) -> tuple[str, str] | None:
        """What was decided of an experiment, and why; None if it was cut off before that."""
        decided = self._decided.get(experiment_id)
        return None if decided is None else (decided, self._reasons[experiment_id])

    def outcome(
        self, number: int, *, source_id: str, seed: int, fraction: float, replicate: int
    ) -> tuple[Outcome, str] | None:
        """The recorded outcome and start of experiment `number`; None if it is still to be run.

        Raises Corrupt if what was recorded under that number is another experiment.
        """
        event = self._experiments.get(number)
        if event is None:
            return None
        asked = {"source_id": source_id, "seed": seed, "fraction": fraction, "replicate": replicate}
        for name, value in asked.items():
            if event[name] != value:
                raise Corrupt(
                    f"run {self.run_id}: experiment {number} was recorded with {name} {event[name]}, now it is {value}",
                    hint="the program, the task or metaloop changed since; start this run anew under another id",
                    ids=[self.run_id, event["experiment_id"]],
                )
        return recorded_outcome(event), str(event["started_at"])

    def idle(self, number: int) -> float | None:
        """Device-seconds that the wave which began with an experiment was charged for waiting; None: not recorded."""
        return self._idle.get(number)

    def was_decided(self, experiment_id: str, decision: str) -> bool:
        """Whether that decision is recorded already. Raises Corrupt if another one is."""
        earlier = self._decided.get(experiment_id)
        if earlier is not None and earlier != decision:
            raise Corrupt(
                f"run {self.run_id}: experiment {experiment_id} was decided {earlier!r}, now {decision!r}",
                hint="the program, the task or metaloop changed since; start this run anew under another id",
                ids=[self.run_id, experiment_id],
            )
        return earlier is not None
