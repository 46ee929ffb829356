"""The state of a study: one fold over the events of its ledger, for resuming and for live displays (`meta.ui.live`).

An event that was recorded twice after a kill counts once; ``views/*.sql`` has the same rules in SQL.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from pydantic import JsonValue, ValidationError

from analysis.ledger import SCHEMA, read, schema_problem, segments
from analysis.ledger.events import (
    AblationEvent,
    BaselineEvent,
    ChampionEvent,
    EntryEvent,
    HarvestEvent,
    HarvestExperimentEvent,
    MatchArm,
    MatchEndedEvent,
    MatchEvent,
    ReplayEvent,
    StudyEvent,
    VerificationEvent,
)
from analysis.ledger.writing_events import (
    GenerationEvent,
    MutationEvent,
    ProgramEvent,
    SteerEvent,
)
from inner_loop.events import (
    TYPES,
    AgentEvent,
    CallEvent,
    DecisionEvent,
    Event,
    Experiment,
    NightTurnEvent,
    RunEndedEvent,
    RunStartedEvent,
    read_event,
)
from programs.common.bounded import json_value
from programs.common.errors import Corrupt
from programs.common.files import lines_of, open_regular
from trainer.trust import counts, weakest

_HEAD = re.compile(rb'\{"seq":\d+,"at":"([^"]*)","prev":"[0-9a-f]*","schema":%d,"kind":"([a-z_]+)"' % SCHEMA)


@dataclass
class RunState:
    """A run so far. ``verifications`` by seed; ``calls`` of models in the order of arrival."""

    started: RunStartedEvent | None = None
    ended: RunEndedEvent | None = None
    experiments: dict[str, Experiment] = field(default_factory=dict)
    decisions: dict[str, DecisionEvent] = field(default_factory=dict)
    turns: dict[int, NightTurnEvent] = field(default_factory=dict)
    calls: list[CallEvent] = field(default_factory=list)
    agents: list[AgentEvent] = field(default_factory=list)
    verifications: dict[int, VerificationEvent] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Of an experiment and a verification the first record counts, of a decision the last, of an end the first that
        finished."""
        if isinstance(event, Experiment):
            self.experiments.setdefault(event.experiment_id, event)
        elif isinstance(event, DecisionEvent):
            self.decisions[event.experiment_id] = event
        elif isinstance(event, VerificationEvent):
            self.verifications.setdefault(event.seed, event)
        elif isinstance(event, CallEvent):
            self.calls.append(event)
        elif isinstance(event, NightTurnEvent):
            self.turns.setdefault(event.number, event)
        elif isinstance(event, AgentEvent):
            self.agents.append(event)
        elif isinstance(event, RunStartedEvent):
            self.started = self.started or event
            if self.state != "finished":
                self.ended = None  # resumed
        elif isinstance(event, RunEndedEvent) and self.state != "finished":
            self.ended = event

    @property
    def state(self) -> str:
        return self.ended.state if self.ended else "running"

    @property
    def gain(self) -> float | None:
        """Verified gain: the mean over the fresh seeds so far, in the metric's unit; by seed, as in the view `runs`."""
        gains = [event.gain for _, event in sorted(self.verifications.items())]
        return sum(gains) / len(gains) if gains else None

    @property
    def trust(self) -> str | None:
        """The weakest of the verifications that count."""
        return weakest(v.trust for v in self.verifications.values() if counts(v.status, v.trust))

    @property
    def measured(self) -> int:
        """Experiments, the baseline included."""
        return self.ended.experiments if self.ended else len(self.experiments)

    @property
    def tried(self) -> int:
        """Experiments without the baseline and repeats with other seeds."""
        repeats = self.ended.repeats if self.ended else sum(e.replicate > 0 for e in self.experiments.values())
        return max(self.measured - 1 - repeats, 0)

    @property
    def kept(self) -> int:
        if self.ended is not None:
            return self.ended.kept
        return sum(decision.decision == "keep" for decision in self.decisions.values())

    @property
    def claimed(self) -> float | None:
        """The metric of its current source, as the researcher measured it."""
        return self.ended.claimed_best if self.ended else next(reversed(self._led), None)

    def claimed_gain(self, sign: float) -> float | None:
        """The same as a gain over the untouched source; ``sign`` +1 where lower is better."""
        if self.ended is not None:
            return self.ended.claimed_gain
        return sign * (self._led[0] - self._led[-1]) if self._led else None

    @property
    def _led(self) -> list[float]:
        """The metrics of the baseline and of each source that was kept."""
        chosen = {number for number, event in self.decisions.items() if event.decision in ("keep", "baseline")}
        return [e.metric for e in self.experiments.values() if e.experiment_id in chosen and e.metric is not None]

    @property
    def charged(self) -> float:
        """Device-seconds: those of its end, else of its experiments so far."""
        if self.ended is not None:
            return self.ended.charged
        return sum(e.device_seconds_charged for e in sorted(self.experiments.values(), key=lambda e: e.number))

    @property
    def recorded(self) -> tuple[Event, ...]:
        """The events from which a resumed run continues: experiments in order, decisions, waves, turns, calls and
        agents."""
        experiments = sorted(self.experiments.values(), key=lambda e: e.number)
        return (*experiments, *self.decisions.values(), *self.turns.values(), *self.calls, *self.agents)


_NOTHING = RunState()


class StudyState:
    """The events of a study by subject. A resumed study checks it before it repeats any work."""

    def __init__(self) -> None:
        self.study: StudyEvent | None = None
        self.programs: dict[str, ProgramEvent] = {}
        self.matches: dict[str, MatchEvent] = {}
        self.ended_matches: dict[str, MatchEndedEvent] = {}
        self.generations: dict[int, GenerationEvent] = {}
        self.steering: dict[str, SteerEvent] = {}  # by wish
        self._mutations: dict[tuple[int, int], MutationEvent] = {}
        # by task, stream, seed and the first of the splits that it was scored on
        self.baselines: dict[tuple[str, str, int, str], BaselineEvent] = {}
        self.runs: dict[str, RunState] = defaultdict(RunState)
        self.calls: list[CallEvent] = []  # of the outer loop
        self.ablations: dict[str, AblationEvent] = {}  # in order of the last record
        self.replays: dict[str, dict[tuple[tuple[str, ...], int], ReplayEvent]] = defaultdict(dict)
        self.harvests: dict[tuple[str, str], HarvestEvent] = {}  # by task and search
        self.harvested: dict[tuple[str, str], dict[tuple[str, int], HarvestExperimentEvent]] = defaultdict(
            dict
        )  # the same, then by stage and number
        self.champion: ChampionEvent | None = None
        self.entries: dict[str, EntryEvent] = {}  # of a contest

    @classmethod
    def read(cls, folder: Path) -> StudyState:
        """The state of a ledger's folder. Raises Corrupt for a record without a required field."""
        state = cls()
        for record in read(folder):
            if (event := parsed(record, folder)) is not None:
                state.take(event)
        return state

    @property
    def vetoes(self) -> set[str]:
        """The ids of programs and directives that a person vetoed."""
        return {request.text for request in self.steering.values() if request.what == "veto"}

    @property
    def attempts(self) -> list[MutationEvent]:
        """All attempts to write a program, also those of an interrupted generation and those of a night."""
        return list(self._mutations.values())

    @property
    def mutations(self) -> list[MutationEvent]:
        """Attempts of the closed generations; an interrupted generation starts again."""
        return [m for m in self.attempts if m.generation in self.generations]

    def writes(self, generation: int) -> bool:
        """Whether a proposal of the generation is recorded, also of one that was interrupted."""
        return any(of == generation for of, _ in self._mutations)

    def run(self, run_id: str) -> RunState:
        """The state of a run, empty if the ledger has nothing about it."""
        return self.runs.get(run_id, _NOTHING)

    def baselines_on(self, task: str, stream: str, seed: int, split: str) -> list[BaselineEvent]:
        """The trainings of the untouched source under a seed that were scored on a split, also those that failed."""
        rows = (row for row in self.baselines_of(task, stream) if row.seed == seed)
        return [row for row in rows if (split in row.splits if row.splits else not split)]

    def baselines_of(self, task: str, stream: str) -> list[BaselineEvent]:
        """All trainings of the task's untouched source on the stream."""
        return [row for key, row in self.baselines.items() if key[:2] == (task, stream)]

    def verifications(self) -> Iterator[VerificationEvent]:
        """Of all runs."""
        for run in self.runs.values():
            yield from run.verifications.values()

    def arms(self, purpose: str) -> list[MatchArm]:
        """The announced arms of the matches with that purpose."""
        return [arm for match in self.matches.values() if match.purpose == purpose for arm in match.arms]

    def take(self, event: Event) -> None:
        if isinstance(event, StudyEvent):
            self.study = event
        elif isinstance(event, ProgramEvent):
            self.programs.setdefault(event.program_id, event)
        elif isinstance(event, MatchEvent):
            self.matches.setdefault(event.match_id, event)
        elif isinstance(event, MatchEndedEvent):
            self.ended_matches.setdefault(event.match_id, event)
        elif isinstance(event, SteerEvent):
            self.steering.setdefault(event.wish_id, event)
        elif isinstance(event, GenerationEvent):
            self.generations.setdefault(event.generation, event)
        elif isinstance(event, MutationEvent):
            self._mutations[event.generation, event.attempt] = event
        elif isinstance(event, BaselineEvent):
            first = next(iter(event.splits), "") if event.splits else ""
            self.baselines.setdefault((event.task, event.stream, event.seed, first), event)
        elif isinstance(event, AblationEvent):
            self.ablations.pop(event.ablation_id, None)
            self.ablations[event.ablation_id] = event
        elif isinstance(event, ReplayEvent):
            self.replays[event.ablation_id].setdefault((event.commits, event.seed), event)
        elif isinstance(event, HarvestExperimentEvent):
            self.harvested[event.task, event.search].setdefault((event.stage, event.number), event)
        elif isinstance(event, HarvestEvent):
            self.harvests.setdefault((event.task, event.search), event)
        elif isinstance(event, EntryEvent):
            self.entries.setdefault(event.entry_id, event)
        elif isinstance(event, ChampionEvent):
            self.champion = event
        elif isinstance(event, CallEvent) and event.run_id is None:
            self.calls.append(event)
        elif (run_id := getattr(event, "run_id", None)) is not None:
            self.runs[run_id].take(event)


class LedgerTail:
    """The new events of a ledger since the last call of `news`, by their times. A line that is still being written, or
    was torn by a kill, is waited for; a damaged one before the end of a segment raises Corrupt, another schema
    OtherVersion.

    ``kinds``: the kinds to parse; None: all. ``last_at``: the time of the latest record, of any kind.
    """

    def __init__(self, folder: Path, kinds: frozenset[str] | None = None) -> None:
        self.folder, self.kinds = folder, kinds
        self.last_at = ""
        self._read: dict[str, int] = {}  # name of a segment → bytes taken in
        self._starts: dict[str, list[tuple[Path, int]]] = defaultdict(list)  # run → where it started or was resumed

    def passed(self, *paths: Path) -> None:
        """Leave out what these segments have now; without any, all of them."""
        for path in paths or segments(self.folder):
            self._read[path.name] = path.stat().st_size

    def news(self) -> Iterator[Event]:
        return (event for _, event in self.dated_news())

    def dated_news(self) -> Iterator[tuple[str, Event]]:
        """The same, each with its time."""
        return heapq.merge(*(self._of(path) for path in segments(self.folder)), key=itemgetter(0))

    def run(self, run_id: str) -> RunState:
        """A run as its worker recorded it, read again: a reader of a long ledger need not keep every experiment."""
        run = RunState()
        for path, begin in self._starts.get(run_id, ()):
            with open_regular(path) as file:
                file.seek(begin)
                for line in lines_of(file):
                    if not line.endswith(b"\n"):
                        break
                    _, event = self._event(line, path)
                    if isinstance(event, RunStartedEvent) and event.run_id != run_id:
                        break  # a worker carries out one run at a time
                    if event is not None and getattr(event, "run_id", None) == run_id:
                        run.take(event)
        return run

    def _of(self, path: Path) -> Iterator[tuple[str, Event]]:
        begin = self._read.get(path.name, 0)
        if path.stat().st_size <= begin:
            return
        with open_regular(path) as file:
            file.seek(begin)
            for line in lines_of(file):
                if not line.endswith(b"\n"):
                    return
                try:
                    at, event = self._event(line, path)
                except ValueError:
                    if not file.read(1):
                        return
                    hint = f"restore {path.name} from a copy"
                    raise Corrupt(f"{path}: a record is damaged, at byte {begin}", hint=hint) from None
                if isinstance(event, RunStartedEvent):
                    self._starts[event.run_id].append((path, begin))
                begin += len(line)
                self._read[path.name], self.last_at = begin, max(self.last_at, at)
                if event is not None:
                    yield at, event

    def _event(self, line: bytes, path: Path) -> tuple[str, Event | None]:
        """The time of a line, and its event, if it is of these kinds. Raises ValueError for what is no record."""
        if head := _HEAD.match(line):
            at, kind = head[1].decode(), head[2].decode()
            if self.kinds is not None and kind not in self.kinds:
                return at, None
            if event_type := TYPES.get((kind, "")):
                with suppress(ValidationError):  # else the slow way says what is wrong
                    return at, event_type.parse(line)
        record = json_value(line)
        if not isinstance(record, dict):
            raise ValueError
        if record.get("schema", SCHEMA) != SCHEMA:
            raise schema_problem(path, record.get("schema"))
        event = parsed(record, path) if self.kinds is None or record.get("kind") in self.kinds else None
        return str(record.get("at", "")), event


def parsed(record: Mapping[str, JsonValue], source: Path) -> Event | None:
    """The event of a record; None for a kind without a type. Raises Corrupt."""
    try:
        return read_event(record)
    except ValidationError as error:
        first = error.errors()[0]
        raise Corrupt(
            f"{source}: an invalid {record.get('kind')!r} record, {'.'.join(map(str, first['loc']))}: {first['msg']}",
            hint="another version of metaloop wrote it, or it was changed by hand",
        ) from None
