"""A row of a log, as the reader of logs and all that judges them know it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(eq=False)
class Row:
    """A row of a log, with the names of its event; gains are in metric units, positive is better."""

    line: int
    metric: float | None  # None if missing, or if the row failed
    status: str | None
    decision: str | None
    word: str | None
    description: str
    commit: str | None
    extra: dict[str, str]
    measured: dict[str, float]
    same: dict[str, str]  # what tells whether two rows measure one script: `script` (its hash), `config`, `setup`
    number: int = 0
    best_so_far: float | None = None  # of the kept rows
    step_gain: float | None = None  # of a kept row, or of a new best where the log does not say what was kept
    step_tries: int | None = None  # measured since the last step, this one included
    step_p: float | None = None  # that noise alone gives any such step among all tries of the run, at most
    before: Row | None = None  # of a measured row, the best kept row before it
    repeats: Row | None = None  # the row that this one measures again

    @property
    def is_exact(self) -> bool:
        """Whether it repeats the script of another row to the last character."""
        return self.repeats is not None and "" != self.same["script"] == self.repeats.same["script"]
