"""What runs in an agent's sandbox beside its experiments, charged to its run as device time, whatever it is.

Only CPU-seconds are counted, and not which program used them: the agent's own, its shell, a training started by hand,
a copy of it, a process in the background. The first `FREE_SHARE` of the run's budget are free, for reading and
editing. A sandbox that has used up what is left of the budget is ended by its watch, also while an experiment runs.

Not charged where a budget is not counted in device time: with fixed steps, and on a simulated task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inner_loop.agents.watch import SandboxWatch
from inner_loop.bench import Bench
from inner_loop.events import AgentSandboxEvent, Emit, Event

FREE_SHARE = 0.02
GRACE_CPU_SECONDS = 2.0  # for an agent to end by itself when the budget is spent; charged, as what went beyond it
_RECORD_SHARE = 0.01  # of the budget, of which a further use is written down before the session ends


class SandboxCharge:
    """Of one run, over all its sandboxes. ``recorded`` are its events of an earlier attempt."""

    def __init__(self, bench: Bench, emit: Emit, recorded: Sequence[Event] = ()) -> None:
        mine = (e for e in recorded if isinstance(e, AgentSandboxEvent) and e.run_id == bench.run_id)
        self._bench, self._emit = bench, emit
        self._ended = self._recorded = max((event.cpu_seconds for event in mine), default=0.0)
        self._watch: SandboxWatch | None = None
        self._last: float | None = None  # CPU-seconds after which nothing goes on, once the budget is spent
        self.free = FREE_SHARE * bench.budget_seconds if bench.counts_device_time else float("inf")
        self.book()

    @property
    def used(self) -> float:
        """CPU-seconds of all that ever ran in the run's sandboxes."""
        return self._ended + (self._watch.used if self._watch else 0.0)

    def begin(self, watch: SandboxWatch) -> None:
        """A sandbox has started."""
        self._watch, self._last = watch, None
        self.book()

    def end(self) -> None:
        """The sandbox that was begun last has ended, with all that was in it."""
        self._ended, self._watch = self.used, None
        self.book(record=True)

    def book(self, launching: float = 0.0, *, record: bool = False) -> None:
        """Charge what was used up to now. ``launching``: device-seconds that an experiment is about to take."""
        bench, used = self._bench, self.used
        bench.meter.use_sandbox(max(0.0, used - self.free))
        if record or used - self._recorded > _RECORD_SHARE * bench.budget_seconds:
            self._record_use(used)
        most = self.free + bench.budget_seconds - (bench.meter.charged - bench.meter.sandbox) - launching
        if self._last is None and bench.history and not bench.is_open:
            self._last = max(most, used) + GRACE_CPU_SECONDS
        if self._watch is not None:
            line = max(most, used) + GRACE_CPU_SECONDS if self._last is None else self._last
            self._watch.cpu_line = line - self._ended

    def _record_use(self, used: float) -> None:
        """Write down how much it is, so that a resumed run knows; the last of these events counts."""
        if used > self._recorded and self.free != float("inf"):
            self._recorded = used
            charged = self._bench.meter.sandbox
            run_id, after = self._bench.run_id, len(self._bench.history)
            self._emit(AgentSandboxEvent(run_id=run_id, cpu_seconds=used, charged_seconds=charged, after=after))

    def facts(self) -> dict[str, Any]:
        """For the agent; seconds. Empty where nothing is charged."""
        if self.free == float("inf"):
            return {}
        return {
            "sandbox_seconds": self.used, "sandbox_free_seconds": self.free,
            "sandbox_charged_seconds": self._bench.meter.sandbox,
        }  # fmt: skip
