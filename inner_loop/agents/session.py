"""The bench's side of an agent's session: its requests are read, proposed, charged and answered here.

The work tree is untrusted: its files are read as data (`read_beneath`), and git is never run in it from here, because
its configuration, hooks and attributes can start programs. Only the task's editable files count. The agent's statements
about its results, in messages, results.tsv or commits, are text and nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from inner_loop.agents import answer as answers
from inner_loop.agents.experiment_server import AgentReply, AgentRequest
from inner_loop.agents.worktree import program_files, shown_files
from inner_loop.bench import Bench, BudgetSpent
from inner_loop.events import AgentSandboxEvent, Emit, Event, Experiment, Proposal
from inner_loop.moves import known_edit
from programs.common.errors import UsageError
from programs.common.files import read_beneath
from programs.common.text import one_line
from programs.program import Program
from trainer.edits import Edit
from trainer.experiment import SOURCE_BYTES
from trainer.jobs.process_tree import ProcessTree
from trainer.source import Source

AGENT = "agent"  # the proposer of its experiments
_DESCRIPTION = 300
GRACE_CPU_SECONDS = 2.0  # for an agent to end by itself when the budget is spent; charged as overshoot
_RECORD_SHARE = 0.01  # of the budget: further use that is recorded before the session ends


Answer = Generator[Proposal, Experiment, AgentReply]


class SandboxCharge:
    """Charges the CPU time in the sandboxes of one run, outside its experiments, as device time.

    All CPU-seconds count, whichever program used them: the agent, its shell, a training started by hand, a copy of it,
    a background process. A sandbox that has used up the remaining budget is killed, even while an experiment runs.
    Nothing is charged if the budget is not measured device time: with fixed steps, and on a simulated task.
    ``recorded``: its events of an earlier attempt.
    """

    def __init__(self, bench: Bench, emit: Emit, recorded: Sequence[Event] = ()) -> None:
        mine = (e for e in recorded if isinstance(e, AgentSandboxEvent) and e.run_id == bench.run_id)
        self._bench, self._emit = bench, emit
        self._ended = self._recorded = max((event.cpu_seconds for event in mine), default=0.0)
        self._watch: ProcessTree | None = None
        self._last: float | None = None  # CPU-seconds at which the sandbox is killed, once the budget is spent
        self._counts = bench.counts_device_time

    @property
    def used(self) -> float:
        """CPU-seconds of all processes that have run in the run's sandboxes."""
        return self._ended + (self._watch.look() if self._watch else 0.0)

    def watch(self, tree: ProcessTree) -> None:
        """The processes of the sandbox that runs now. Another thread may call this, and nothing else here."""
        self._watch = tree

    def end(self) -> None:
        """The latest sandbox has ended with all its processes."""
        self._ended, self._watch, self._last = self.used, None, None
        self.book(record=True)

    def book(self, launching: float = 0.0, *, record: bool = False) -> None:
        """Charge the use so far. ``launching``: device-seconds that the next experiment is expected to take."""
        bench, used = self._bench, self.used
        bench.meter.use_sandbox(used if self._counts else 0.0)
        unrecorded = used - self._recorded
        if self._counts and unrecorded > (0.0 if record else _RECORD_SHARE * bench.budget_seconds):
            self._recorded = used  # for a resumed run; the last of these events counts
            charged, after = bench.meter.sandbox, len(bench.history)
            event = AgentSandboxEvent(run_id=bench.run_id, cpu_seconds=used, charged_seconds=charged, after=after)
            self._emit(event)
        left = bench.budget_seconds - (bench.meter.charged - bench.meter.sandbox) - launching
        most = left if self._counts else float("inf")
        if self._last is None and bench.history and not bench.is_open:
            self._last = max(most, used) + GRACE_CPU_SECONDS
        if self._watch is not None:
            line = max(most, used) + GRACE_CPU_SECONDS if self._last is None else self._last
            self._watch.cpu_line = line - self._ended

    @property
    def seconds(self) -> float | None:
        """The charge so far, in CPU-seconds outside experiments; None if nothing is charged."""
        return self._bench.meter.sandbox if self._counts else None


@dataclass
class AgentSession:
    """``logs`` contains NUMBER.log of experiments of earlier attempts. ``experiments``: its own so far, of ``most``."""

    bench: Bench
    program: Program
    worktree: Path
    charge: SandboxCharge
    logs: Path | None = None
    most: float = float("inf")
    experiments: int = 0

    def __post_init__(self) -> None:
        bench, program = self.bench, self.program
        # the stock program looks for val_bpb, whatever the task's metric
        stock = "val_bpb" in program.text and bench.task.metric != "val_bpb" and bench.task.direction == "lower"
        self._aliases = ("val_bpb",) if stock else ()

    @property
    def is_open(self) -> bool:
        return self.bench.is_open and self.experiments < self.most

    def answer(self, request: AgentRequest) -> Answer:
        """The answer to a request; the agent's mistakes are answered, too."""
        self.charge.book()
        try:
            answer = yield from self._answer(request)
        except UsageError as error:
            return answers.refused(self.bench, error.message)
        except BudgetSpent:
            return answers.spent(self.bench, session=self.bench.is_open)
        self.charge.book()
        seconds, facts = self.charge.seconds, answer.facts or {}
        if seconds is None or "remaining_seconds" not in facts:
            return answer
        facts = {**facts, "sandbox_seconds": seconds}
        return replace(answer, text=f"{answer.text}\n{answers.sandbox(seconds)}", facts=facts)

    def _answer(self, request: AgentRequest) -> Answer:
        if request.verb == "run":
            return (yield from self._run(request))
        if request.verb == "log":
            history, number = self.bench.history, -1 if request.number is None else request.number
            if number >= len(history):
                raise UsageError(f"there is no experiment {number}")
            return self._log(history[number], self.bench.head)
        return self._directives() if request.verb == "directives" else answers.status(self.bench)

    def _run(self, request: AgentRequest) -> Answer:
        source, notes, head = self._source(), self._notes(), self.bench.head
        same = (record for record in self.bench.history if record.source == source)
        known = next((record for record in same if record.fraction in (1.0, request.fraction)), None)
        if known is not None and not request.again:
            notes += ["this source was measured before: not run again, nothing charged (--again uses a new seed)"]
            record = known
        else:
            because, unknown = self._because(request.because)
            notes += [f"no directive {', '.join(unknown)} here: `experiment directives` lists them"] if unknown else []
            record = yield self._proposal(source, known, request, because)
            self.experiments += 1
        if request.style == "log":
            return self._log(record, head)
        return answers.measured(self.bench, record, head, notes)

    def _proposal(
        self, source: Source, known: Experiment | None, request: AgentRequest, because: list[str]
    ) -> Proposal:
        bench, parent = self.bench, known or self.bench.head
        self.charge.book(bench.cost(request.fraction) * (2 if bench.repeats_wins else 1))
        if self.experiments >= self.most or not bench.can_afford(request.fraction):
            raise BudgetSpent
        edit = Edit() if known else known_edit(self.bench.task.edits, parent, source)
        return Proposal(
            edit,
            AGENT,
            tuple(because),
            one_line(request.message)[:_DESCRIPTION] or (edit.label() if edit else f"change {len(bench.history)}"),
            source,
            parent,
            request.fraction,
            replicate=bench.next_replicate() if known else 0,
        )

    def _source(self) -> Source:
        """The editable files as they are in the work tree now. UsageError if one is not text or too large."""
        files: list[tuple[str, str]] = []
        for name in self.bench.task.editable:
            try:
                files.append((name, read_beneath(self.worktree, name, SOURCE_BYTES).decode()))
            except UnicodeDecodeError:
                raise UsageError(f"{name} is not UTF-8") from None
        return Source(tuple(files))

    def _because(self, given: list[str]) -> tuple[list[str], list[str]]:
        """Directive ids that the agent cites (an id, its beginning, its address, or its number in the list), and the
        unknown ones."""
        ids = [directive.directive_id for directive in self.program.directives]
        cited, unknown = [], []
        for text in given:
            numbered = [ids[int(text)]] if text.isascii() and text.isdigit() and int(text) < len(ids) else []
            begun = [directive for directive in ids if len(text) >= 4 and directive.startswith(text)]
            matches = (
                numbered
                or begun
                or [directive for directive in ids if self.program.addresses[directive] == text.strip()]
            )
            if len(matches) == 1:
                cited += matches
            else:
                unknown.append(one_line(text)[:40])
        return list(dict.fromkeys(cited)), unknown

    def _notes(self) -> list[str]:
        """Read-only files that the agent changed; its copies have no effect."""
        changed = []
        for name, data in shown_files(self.bench.task):
            with suppress(UsageError):
                if name in program_files(self.program) or read_beneath(self.worktree, name, len(data)) == data:
                    continue
            changed.append(name)
        note = f"{', '.join(changed)} was changed here, which has no effect: the bench uses its own copy"
        return [note] if changed else []

    def _log(self, record: Experiment, head: Experiment) -> AgentReply:
        """An experiment's output, and its comparison with ``head``; that of an earlier attempt is in a file of the
        run's folder."""
        text, path = record.log, self.logs / f"{record.number:04d}.log" if self.logs else None
        if not text and path and path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
        return answers.log(self.bench, record, head, text, self._aliases)

    def _directives(self) -> AgentReply:
        rows = [
            {
                "number": at,
                "directive_id": directive.directive_id,
                "heading": directive.heading,
                "text": one_line(directive.text)[:200],
            }
            for at, directive in enumerate(self.program.directives)
        ]
        lines = ["{number:>3}  {directive_id}  {heading}: {text:.80}".format(**row) for row in rows]
        return AgentReply("\n".join(lines) or "this program has no directives", 0, {"directives": rows})
