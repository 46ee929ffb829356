"""Charges the CPU time in an agent's sandbox, outside its experiments, to its run as device time.

All CPU-seconds count, whichever program used them: the agent, its shell, a training started by hand, a copy of it, a
background process. A sandbox that has used up the remaining budget is killed, even while an experiment runs.

Nothing is charged if the budget is not measured device time: with fixed steps, and on a simulated task.
"""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.agents.running import RunningAgent
from inner_loop.bench import Bench
from inner_loop.events import AgentSandboxEvent, Emit, Event

GRACE_CPU_SECONDS = 2.0  # for an agent to end by itself when the budget is spent; charged as overshoot
_RECORD_SHARE = 0.01  # of the budget: further use that is recorded before the session ends


class SandboxCharge:
    """The charge of one run, over all its sandboxes. ``recorded``: its events of an earlier attempt."""

    def __init__(self, bench: Bench, emit: Emit, recorded: Sequence[Event] = ()) -> None:
        mine = (e for e in recorded if isinstance(e, AgentSandboxEvent) and e.run_id == bench.run_id)
        self._bench, self._emit = bench, emit
        self._ended = self._recorded = max((event.cpu_seconds for event in mine), default=0.0)
        self._watch: RunningAgent | None = None
        self._last: float | None = None  # CPU-seconds at which the sandbox is killed, once the budget is spent
        self._counts = bench.counts_device_time
        self.book()

    @property
    def used(self) -> float:
        """CPU-seconds of all processes that have run in the run's sandboxes."""
        return self._ended + (self._watch.used if self._watch else 0.0)

    def begin(self, watch: RunningAgent) -> None:
        """A sandbox has started."""
        self._watch, self._last = watch, None
        self.book()

    def end(self) -> None:
        """The latest sandbox has ended with all its processes."""
        self._ended, self._watch = self.used, None
        self.book(record=True)

    def book(self, launching: float = 0.0, *, record: bool = False) -> None:
        """Charge the use so far. ``launching``: device-seconds that the next experiment is expected to take."""
        bench, used = self._bench, self.used
        bench.meter.use_sandbox(used if self._counts else 0.0)
        if record or used - self._recorded > _RECORD_SHARE * bench.budget_seconds:
            self._record_use(used)
        left = bench.budget_seconds - (bench.meter.charged - bench.meter.sandbox) - launching
        most = left if self._counts else float("inf")
        if self._last is None and bench.history and not bench.is_open:
            self._last = max(most, used) + GRACE_CPU_SECONDS
        if self._watch is not None:
            line = max(most, used) + GRACE_CPU_SECONDS if self._last is None else self._last
            self._watch.cpu_line = line - self._ended

    def _record_use(self, used: float) -> None:
        """Record the total, for a resumed run; the last of these events counts."""
        if used > self._recorded and self._counts:
            self._recorded = used
            charged = self._bench.meter.sandbox
            run_id, after = self._bench.run_id, len(self._bench.history)
            self._emit(AgentSandboxEvent(run_id=run_id, cpu_seconds=used, charged_seconds=charged, after=after))

    @property
    def seconds(self) -> float | None:
        """The charge so far, in CPU-seconds outside experiments; None if nothing is charged."""
        return self._bench.meter.sandbox if self._counts else None
