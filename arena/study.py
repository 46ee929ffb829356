"""A study on disk: its config, its lock, its ledger, and what the ledger already holds."""

from __future__ import annotations

import copy
import fcntl
import os
import platform
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from analysis.events import DirectiveEntry, Event, ProgramEvent, StudyEvent
from analysis.ledger import Ledger, missing
from analysis.run_state import StudyState
from arena.choice import hardware_of_jobs, on_cluster
from arena.same_task import require_same, with_texts
from arena.sandbox import holds
from arena.settings import Prior, Reserved, StudyConfig, Versions
from inner_loop.run_context import ModelConfig
from programs.errors import Busy, Corrupt, EnvironmentProblem, NotComparable, UsageError
from programs.ids import content_id
from programs.program import Program
from trainer.hardware import hardware_class
from trainer.places import private_folder
from trainer.streams import Streams
from trainer.task import Task

SETTLED = ("task", "run_budget", "researcher", "fixed_steps", "seed", "verify_seeds", "sandbox", "devices")


class Study:
    """One folder from which everything resumes. Use it as a context manager to hold its lock and write its ledger."""

    def __init__(self, folder: Path, config: StudyConfig) -> None:
        self.folder = folder.resolve()
        self.config = config
        self.task = Task.load(config.task)
        self.streams = config.streams
        self.away = ""  # task_id of the task that it is on, where that is not its first; its jobs name it
        self._ledger: Ledger | None = None
        self._lock: TextIO | None = None
        self.state = StudyState()

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        task: Task,
        run_budget: float,
        command: str,
        workers: int,
        devices: int = 1,
        seed: int | None = None,
        fixed_steps: bool = False,
        researcher: str = "scripted",
        plan: Mapping[str, Any] | None = None,
        programs: Sequence[tuple[str, str]] = (),
        verify_seeds: int = 2,
        sandbox: bool = True,
        further: Sequence[Reserved] = (),
        reserve: Sequence[Reserved] = (),
        staff: ModelConfig | None = None,
        meta_program: str | None = None,
        prior: Prior | None = None,
    ) -> Study:
        """Make the folder of a new study. A folder that holds anything else is refused."""
        _require_free(folder)
        streams = Streams.fresh() if seed is None else Streams.from_seed(seed)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        (away, there), (last, hidden) = with_texts(further), with_texts(reserve)
        config = StudyConfig(
            study_id=content_id("y", streams.secret, created if seed is None else "seeded"),
            created_at=created,
            command=command,
            task=reference(task),
            task_id=task.task_id,
            text_hash=task.text_hash,
            run_budget=run_budget,
            further=away,
            reserve=last,
            verify_seeds=verify_seeds,
            workers=workers,
            devices=devices,
            fixed_steps=fixed_steps,
            sandbox=all(holds(each, sandbox) for each in (task, *there, *hidden)),
            researcher=researcher,
            staff=staff or ModelConfig(),
            meta_program=meta_program,
            prior=prior,
            seed=seed,
            secret=streams.secret.hex(),
            data_bits=streams.data_bits,
            hardware_class=hardware_of_jobs(task.device),
            versions=versions(),
            plan=dict(plan or {}),
            programs=list(programs),
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # it may have been there, empty; all that follows lies below it
        config.dump(folder / "study.toml")
        for name in ("ledger", "runs", "cache", "data"):
            private_folder(folder / name)
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Open a study to read or to resume. Raises NotFound, Corrupt, NotComparable (its task has changed)."""
        study = cls(folder, StudyConfig.read(folder / "study.toml"))
        require_same(study.task, study.config)
        return study

    def on_task(self, number: int) -> Study:
        """This study on its task of that number, from 0, the first: one ledger and one history, another run budget.

        To be asked of the study on its first task, while it is open. Raises NotComparable where that task has changed.
        """
        return self._at(self.config.further[number - 1].task_id) if number else self

    def on_tasks(self) -> list[Study]:
        """This study on each of the tasks that it is played on, the first before the others."""
        return [self.on_task(number) for number in range(1 + len(self.config.further))]

    def on_reserve(self, number: int) -> Study:
        """This study on one of its reserved tasks, as ``on_task`` does it."""
        return self._at(self.config.reserve[number].task_id)

    def _at(self, task_id: str) -> Study:
        away = copy.copy(self)
        away.away = task_id
        away.config = self.config.at(task_id)
        away.task = Task.load(away.config.task)
        require_same(away.task, away.config)
        return away

    def agree(self, **asked: Any) -> None:
        """Refuse to go on under other settings than the study was made with."""
        for name in SETTLED:
            if asked.get(name) is not None and asked[name] != getattr(self.config, name):
                raise NotComparable(
                    f"{self.folder} was made with {name} = {getattr(self.config, name)}, asked is {asked[name]}",
                    hint="leave the flag out to go on, or name a new folder with --study",
                )
        models = asked.get("models")
        if models and tuple(models) != self.config.staff.models:
            raise NotComparable(
                f"{self.folder} was made with --model {','.join(self.config.staff.models) or 'none'}",
                hint="leave the flag out to go on, or name a new folder with --study",
            )
        here = hardware_class(self.task.device)
        if self.config.hardware_class != here and not on_cluster():
            raise NotComparable(
                f"{self.folder} was measured on {self.config.hardware_class}, this machine is {here}",
                hint="go on there, or start a new study here",
            )

    def __enter__(self) -> Study:
        self._lock = self._take_lock()
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
            with suppress(EnvironmentProblem):  # a full disk has been told; the ledger then ends as after a kill
                self._ledger.finish()
            self._ledger.close()
        if self._lock is not None:
            self._lock.close()
        self._ledger = self._lock = None

    def look(self) -> None:
        """Read the ledger without holding it. Raises Corrupt where it and study.toml do not belong together."""
        vars(self.state).update(vars(StudyState.read(self.folder / "ledger")))  # in place: one for all its tasks
        self._compare_with_ledger()

    def _compare_with_ledger(self) -> None:
        """Raise Corrupt where study.toml is not the one that the ledger began with, or a segment is missing."""
        begun = dict(self.state.study.config) if self.state.study else {}
        if begun:
            begun = {"sandbox": False} | begun  # a ledger that does not say was begun before there was one
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
            if run.verifications and not run.experiments
        ]
        if problems:
            raise Corrupt(problems[0], hint="restore the ledger from a copy, or start a new study")

    def public_config(self) -> dict[str, Any]:
        """The config without its secret, for the ledger."""
        return {k: v for k, v in self.config.model_dump(by_alias=True).items() if k not in ("secret", "programs")}

    def _take_lock(self) -> TextIO:
        lock = open(self.folder / "lock", "a", encoding="utf-8")  # noqa: SIM115 - held as long as the study is
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            place = shlex.quote(str(self.folder))
            raise Busy(
                f"{self.folder} is being worked on by another process",
                hint=f"metaloop status {place}, or metaloop stop {place}",
            ) from None
        return lock

    def is_running(self) -> bool:
        """Whether some process holds the study's lock now."""
        try:
            self._take_lock().close()
        except Busy:
            return True
        return False

    def request_stop(self) -> None:
        """Ask the process that works on this study to finish its experiments in flight and stop."""
        (self.folder / "stop").write_text(f"{os.getpid()}\n", encoding="utf-8")

    def record(self, event: Event) -> None:
        """Write an event down and take it into the state that this process knows."""
        if self._ledger is None:
            raise Corrupt(f"{self.folder} is not open for writing")
        self._ledger.append(event.to_record())
        self.state.take(event)

    def admit(self, program: Program, *, generation: int, operator: str, parent_ids: Iterable[str] = ()) -> None:
        """Write a program down once; the same text again is the same program."""
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
                text=program.text,
                directives=DirectiveEntry.all_of(program),
            )
        )

    def program(self, program_id: str) -> Program:
        event = self.state.programs[program_id]
        return Program.parse(event.text, event.name)


def _require_free(folder: Path) -> None:
    """Raise UsageError where no study can be founded."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{str(folder)!r} is not UTF-8", hint="name another folder with --study") from None
    if folder.is_file():
        raise UsageError(f"{folder} is a file", hint="name another folder with --study")
    # what a creation that was cut off leaves is taken over
    if folder.exists() and {path.name for path in folder.iterdir()} - {"study.partial"}:
        raise UsageError(f"{folder} exists and is no study", hint="name another folder with --study")


def reference(task: Task) -> str:
    """How study.toml names a task: a built-in by name, another by its absolute folder."""
    from trainer.task import builtin_tasks

    return (
        task.name
        if task.name in builtin_tasks() and Task.load(task.name).task_id == task.task_id
        else str(task.folder.resolve())
    )


def beside(home: Task, run_budget: float, others: Sequence[Task]) -> list[Reserved]:
    """Other tasks as study.toml names them. Runs there have as many experiments as at home: the budget scales."""
    each = run_budget / home.cost_seconds
    return [Reserved(task=reference(t), task_id=t.task_id, run_budget=each * t.cost_seconds) for t in others]


def versions() -> Versions:
    return Versions(metaloop=version("metaloop"), python=platform.python_version(), torch=version("torch"))
