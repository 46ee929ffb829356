"""The state of a study: one fold over the events of its ledger, for resuming.

An event that was recorded twice after a kill counts once: `repeated_records` has the rules, which the live displays
(`meta/cli/board.py`) use, too; ``views/*.sql`` has the same in SQL.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue, ValidationError

from analysis.ledger import read, segments
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
from analysis.ledger.repeated_records import counted_gain, has_finished, mean_over_seeds, measured_anew, ranking_stream
from analysis.ledger.writing_events import (
    GenerationEvent,
    MutationEvent,
    ProgramEvent,
    ReflectionEvent,
    SteerEvent,
)
from inner_loop.events import (
    AgentEvent,
    CallEvent,
    DecisionEvent,
    Event,
    ExperimentEvent,
    NightTurnEvent,
    RunEndedEvent,
    RunStartedEvent,
    WaveEvent,
    read_event,
)
from programs.errors import Corrupt

_KIND = re.compile(rb'"kind":"([a-z_-]+)"')
_HEAD = 320  # first bytes of a line, up to its kind


@dataclass
class RunState:
    """A run so far. ``verifications`` by seed, of any stream; ``calls`` of models in the order of arrival."""

    started: RunStartedEvent | None = None
    ended: RunEndedEvent | None = None
    experiments: dict[str, ExperimentEvent] = field(default_factory=dict)
    decisions: dict[str, DecisionEvent] = field(default_factory=dict)
    waves: list[WaveEvent] = field(default_factory=list)
    turns: dict[int, NightTurnEvent] = field(default_factory=dict)
    calls: list[CallEvent] = field(default_factory=list)
    agents: list[AgentEvent] = field(default_factory=list)
    verifications: dict[int, VerificationEvent] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Of an experiment the first record counts, of a decision the last, of an end the first that finished; of a
        verification the first without an infrastructure fault."""
        if isinstance(event, ExperimentEvent):
            self.experiments.setdefault(event.experiment_id, event)
        elif isinstance(event, DecisionEvent):
            self.decisions[event.experiment_id] = event
        elif isinstance(event, VerificationEvent):
            before = self.verifications.get(event.seed)
            if before is None or measured_anew(before.status, event.status):
                self.verifications[event.seed] = event
        elif isinstance(event, CallEvent):
            self.calls.append(event)
        elif isinstance(event, WaveEvent):
            self.waves.append(event)
        elif isinstance(event, NightTurnEvent):
            self.turns.setdefault(event.number, event)
        elif isinstance(event, AgentEvent):
            self.agents.append(event)
        elif isinstance(event, RunStartedEvent):
            self.started = self.started or event
            if not has_finished(self.ended.state if self.ended else None):
                self.ended = None  # resumed
        elif isinstance(event, RunEndedEvent) and not has_finished(self.ended.state if self.ended else None):
            self.ended = event

    @property
    def gain(self) -> float | None:
        """Verified gain: the mean over fresh seeds so far, in the metric's unit. A source that failed with a seed
        gains 0 for it; infrastructure faults are ignored. The view `runs` has the same (`verified_gain`)."""
        verified = self.verifications.items()
        stream = ranking_stream((v.stream for _, v in verified), self.started.stream if self.started else "")
        return mean_over_seeds({seed: counted_gain(v.status, v.gain) for seed, v in verified if v.stream == stream})

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
        return (*experiments, *self.decisions.values(), *self.waves, *self.turns.values(), *self.calls, *self.agents)


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
        self.reflections: dict[int, ReflectionEvent] = {}  # by generation
        self.baselines: dict[tuple[str, str, int], BaselineEvent] = {}  # by task, stream and seed
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
    def mutations(self) -> list[MutationEvent]:
        """Attempts of the closed generations; an interrupted generation starts again."""
        return [m for m in self._mutations.values() if m.generation in self.generations]

    def writes(self, generation: int) -> bool:
        """Whether a proposal of the generation is recorded, also of one that was interrupted."""
        return any(of == generation for of, _ in self._mutations)

    def run(self, run_id: str) -> RunState:
        """The state of a run, empty if the ledger has nothing about it."""
        return self.runs.get(run_id, _NOTHING)

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
        elif isinstance(event, ReflectionEvent):
            self.reflections.setdefault(event.generation, event)
        elif isinstance(event, BaselineEvent):
            self.baselines.setdefault((event.task, event.stream, event.seed), event)
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
    """The new events of a ledger since the last call of `news`, ordered only within a segment.

    ``kinds``: the kinds to parse; None: all.
    """

    def __init__(self, folder: Path, kinds: frozenset[str] | None = None) -> None:
        self.folder, self.kinds = folder, kinds
        self._read: dict[str, int] = {}  # name of a segment → bytes taken in

    def news(self) -> Iterator[Event]:
        for path in sorted(segments(self.folder), key=_natural):
            yield from self._of(path)

    def _of(self, path: Path) -> Iterator[Event]:
        begin = self._read.get(path.name, 0)
        if path.stat().st_size <= begin:
            return
        with path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if not line.endswith(b"\n"):  # still being written, or torn for ever
                    break
                begin += len(line)
                self._read[path.name] = begin
                kind = _KIND.search(line, 0, _HEAD)
                if self.kinds is None or kind is None or kind[1].decode() in self.kinds:
                    event = parsed(json.loads(line), path)
                    if event is not None and (self.kinds is None or event.kind in self.kinds):
                        yield event


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


def _natural(path: Path) -> list[int | str]:
    """main-10 after main-9: the order in which one writer's segments were opened."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
