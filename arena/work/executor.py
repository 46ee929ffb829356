"""Executors: submit jobs, receive results as they end. Each way of carrying them out is a file in arena/executors/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, Self

from pydantic import JsonValue

from arena.work.jobs import ErrorRecord, Job, JobResult
from programs.common.errors import MetaloopError

Progress = Callable[[Mapping[str, JsonValue]], None]


class Executor(Protocol):
    """Carries out jobs somewhere. A job that is lost with its worker is carried out again."""

    def run(self, jobs: Iterable[Job]) -> Iterator[JobResult]:
        """Yield one result a job, in the order in which they end. Raises what a worker could not get over.

        The next job is taken from ``jobs`` when there is a worker for it, so that who gives them may decide then.
        """
        ...

    def close(self) -> None: ...


class ClosingExecutor(Executor, Protocol):
    """What an executor's ``make(study, progress)`` returns: it is closed at the end of a ``with`` block."""

    def __enter__(self) -> Self: ...

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None: ...


class StopRequest:
    """The request to stop a study: the file `stop` in its folder. It is reported once."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._file, self._progress = folder / "stop", progress
        self._noted = False

    def is_made(self) -> bool:
        is_requested = self._file.exists()
        if is_requested and not self._noted:
            self._noted = True
            text = "stopping: experiments in flight end first (Ctrl-C twice kills them)"
            self._progress({"kind": "note", "text": text})
        return is_requested


def rebuild(error: ErrorRecord, before: str = "") -> MetaloopError:
    """The exception that a worker met, with its kind and hint; ``before``: whose it was."""
    kinds: dict[str, type[MetaloopError]] = {kind.kind: kind for kind in reversed(family(MetaloopError))}
    return kinds.get(error["kind"], MetaloopError)(f"{before}{error['message']}", hint=error["hint"])


def family(cls: type[MetaloopError]) -> list[type[MetaloopError]]:
    """``cls`` and all that derive from it, the most general first."""
    return [cls, *(deeper for sub in cls.__subclasses__() for deeper in family(sub))]
