"""A study on disk: its config, its lock, its ledger, and what the ledger already holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from pydantic import JsonValue

from analysis.ledger import Ledger, missing
from analysis.ledger.events import Event, StudyEvent
from analysis.ledger.run_state import LedgerTail, StudyState
from analysis.ledger.writing_events import DirectiveEntry, ProgramEvent
from arena.study import lock
from arena.study.known_tasks import remember
from arena.study.settings import StudyConfig
from arena.study.setup import require_free
from arena.work.choice import on_cluster
from programs.common.errors import Corrupt, EnvironmentProblem, NotComparable
from programs.common.ids import content_id
from programs.program import Program
from trainer.gpu import hardware_class
from trainer.user_files import private_folder

SETTLED = ("task", "run_budget", "researcher", "fixed_steps", "seed", "verify_seeds", "sandbox", "devices")


class Study:
    """The folder of a study. As a context manager it holds the lock and writes the ledger."""

    def __init__(self, folder: Path, config: StudyConfig) -> None:
        self.folder = folder.resolve()
        self.config = config
        self.task = config.loaded_task()
        self.streams = config.streams
        self._ledger: Ledger | None = None
        self._lock: TextIO | None = None
        self.state = StudyState()
        self._tail = LedgerTail(self.folder / "ledger")

    @classmethod
    def create(cls, folder: Path, config: StudyConfig) -> Study:
        """Make the folder of a new study. A folder that holds anything else is refused."""
        require_free(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # it may have been there, empty; all that follows lies below it
        config.dump(folder / "study.toml")
        if not config.confined:
            remember(config)
        for name in ("ledger", "runs", "cache", "data"):
            private_folder(folder / name)
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Open a study to resume or to read it. Raises NotFound, Corrupt, NotComparable: its task has changed."""
        return cls(folder, StudyConfig.read(folder / "study.toml"))

    def agree(self) -> None:
        """Raise NotComparable on other hardware than the study was measured on."""
        hardware = hardware_class(self.task.device)
        if self.config.hardware_class != hardware and not on_cluster():
            raise NotComparable(
                f"{self.folder} was measured on {self.config.hardware_class}, but this machine is {hardware}",
                hint="resume it there, or start a new study here",
            )

    def __enter__(self) -> Study:
        self._lock = lock.take(self.folder)
        try:
            (self.folder / "stop").unlink(missing_ok=True)
            self.look()
            self._ledger = Ledger(self.folder / "ledger", "main")
            if self.state.study is None:
                self.record(
                    StudyEvent(
                        study_id=self.config.study_id,
                        version=self.config.versions.metaloop,
                        started_at=self.config.created_at,
                        config=self.public_config(),
                    )
                )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._ledger is not None:
            with suppress(EnvironmentProblem):  # a full disk was reported already; the ledger ends as after a kill
                self._ledger.finish()
            self._ledger.close()
        if self._lock is not None:
            self._lock.close()
        self._ledger = self._lock = None

    @property
    def locks(self) -> tuple[int, ...]:
        """The descriptor of the lock, while the study is open for writing."""
        return () if self._lock is None else (self._lock.fileno(),)

    def look(self) -> None:
        """Read the ledger without locking it. Raises Corrupt where it does not belong to study.toml."""
        self._tail.passed()
        self.state = StudyState.read(self.folder / "ledger")
        self._compare_with_ledger()

    def follow(self) -> None:
        """Apply what other processes have written to the ledger since the last look."""
        for event in self._tail.news():
            self.state.take(event)

    def _compare_with_ledger(self) -> None:
        """Raise Corrupt where study.toml differs from the one that the ledger began with, or a segment is missing."""
        begun = dict(self.state.study.config) if self.state.study else {}
        for name in ("study_id", "task_id", "hardware_class", "baseline_seeds", *SETTLED[1:]):
            now = getattr(self.config, name)
            if name in begun and begun[name] != now:
                raise Corrupt(
                    f"{self.folder}/study.toml: {name} is {now}, the ledger began with {begun[name]}",
                    hint="restore study.toml from a copy, or start a new study",
                )
        created = self.config.created_at if self.config.seed is None else "seeded"
        if content_id("y", self.streams.secret, created) != self.config.study_id:
            raise Corrupt(
                f"{self.folder}/study.toml: secret or created_at does not belong to {self.config.study_id}",
                hint="restore study.toml from a copy, or start a new study",
            )
        problems = missing(self.folder / "ledger")
        problems += [
            f"{self.folder}/ledger: run {run_id} was verified, but the segment with its experiments is missing"
            for run_id, run in self.state.runs.items()
            if run.verifications and not run.experiments and not (run.ended and run.ended.experiments == 0)
        ]
        if problems:
            raise Corrupt(problems[0], hint="restore the ledger from a copy, or start a new study")

    def public_config(self) -> dict[str, JsonValue]:
        """The config without its secrets, for the ledger."""
        hidden = ("secret", "held_secret", "programs")
        return {k: v for k, v in self.config.model_dump(by_alias=True).items() if k not in hidden}

    def record_heads(self) -> tuple[str, str]:
        """`Ledger.record_heads`, while the study is open for writing."""
        assert self._ledger is not None
        return self._ledger.record_heads()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the study in use, without opening its ledger: while its command waits for an answer."""
        with lock.take(self.folder):
            yield

    def record(self, *events: Event) -> None:
        """Write events to the ledger, with one sync for all of them, and apply them to the state."""
        if self._ledger is None:
            raise Corrupt(f"{self.folder} is not open for writing")
        self._ledger.extend(event.to_record() for event in events)
        self._tail.passed(self._ledger.path)
        for event in events:
            self.state.take(event)

    def admit(self, program: Program, *, generation: int, operator: str, parent_ids: Iterable[str] = ()) -> None:
        """Record a program once; the same text again is the same program."""
        if program.program_id in self.state.programs:
            return
        self.record(
            ProgramEvent(
                program_id=program.program_id,
                name=program.name,
                generation=generation,
                operator=operator,
                parent_ids=tuple(parent_ids),
                words=program.words,
                text=program.document,
                directives=DirectiveEntry.all_of(program),
            )
        )

    def program(self, program_id: str) -> Program:
        event = self.state.programs[program_id]
        return Program.parse(event.text, event.name)
