"""Launcher: runs the process of one experiment and says how it ended. Here: what it is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

Libraries = Literal["torch", "packages", "standard"]  # imported beforehand; there to import; the standard library alone
Kind = Literal["noop", "selftest", "matmul", "train", "predict", "converse"]
_LONGEST = 40_000  # characters of a text in a reply
_MOST = 1e9  # seconds or megabytes: more than any experiment has, and still a float
_STATES = ("", "cpu", "wall", "memory", "processes", "asked")


class LauncherFault(Exception):
    """The launcher itself failed, not the candidate; the experiment may be repeated."""


class StopProcess(Exception):
    """Raised by who talks to a process: it need not go on, and is killed."""


@dataclass(frozen=True)
class ProcessLimits:
    """Hard lines of one experiment's process."""

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int = 2048
    file_mb: int = 256  # of one file; the folder that can be written holds little more


@dataclass(frozen=True)
class ProcessRequest:
    """One process: ``files`` laid into its folder, then ``script`` run (train) or loaded as a module (the rest).

    ``descriptors`` by name: ``checkpoint`` is laid into the folder, ``checkpoint_out`` takes what train.py wrote, up to
    ``checkpoint_mb``; ``library`` is laid where it can be executed and not be changed; ``compiled`` is a packed compile
    cache that is laid into the folder, and ``compiled_out`` takes what became of it (`trainer.inside.packing`);
    ``inputs``, ``output``, ``receive``, ``reply`` and ``shared`` are given to the process itself.
    """

    kind: Kind
    limits: ProcessLimits
    files: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    descriptors: Mapping[str, int] = field(default_factory=dict)
    data: Path | None = None
    checkpoint_mb: int = 64
    script: str = "train.py"


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it used.

    ``exit_code`` is negative for a signal; ``killed`` names the line it crossed, "cpu", "wall", "memory" or
    "processes", or is "asked" (StopProcess) or "";
    ``artifact`` says why no checkpoint could be taken. ``outside_cpu_seconds`` is what a cgroup around the template
    counted in the same time, None where there is none.
    """

    exit_code: int
    killed: str
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float
    error: str = ""
    error_kind: str = ""
    log: str = ""
    artifact: str = ""
    outside_cpu_seconds: float | None = None


class Launcher(Protocol):
    """Runs processes. ``constant``: CPU-seconds of one that does nothing; ``sandboxed``: they are shut in.

    ``running`` is the id of the experiment's process while ``run`` talks to it; None where it cannot be told.
    """

    constant: float
    sandboxed: bool

    def start(self, data: Path | None = None) -> None: ...
    def run(self, request: ProcessRequest, meanwhile: Callable[[], None] | None = None) -> Ended: ...
    def running(self) -> int | None: ...
    def close(self) -> None: ...


_FIT: dict[str, Callable[[Any], bool]] = {
    "float": lambda value: type(value) in (int, float) and 0 <= value < _MOST,
    "int": lambda value: type(value) is int and -256 < value < 256,
    "str": lambda value: type(value) is str and len(value) <= _LONGEST,
}


def read_reply(message: Mapping[str, Any]) -> Ended:
    """The template's reply, which an escaped experiment may have written. Raises LauncherFault for anything unfit."""
    if not isinstance(message, Mapping):
        raise LauncherFault("the template's answer is no object")
    if "broken" in message:
        raise LauncherFault(plain(message["broken"][:500]) if isinstance(message["broken"], str) else "broken")
    values: dict[str, Any] = {}
    for item in fields(Ended):
        if item.name != "outside_cpu_seconds":  # that is our own to say
            values[item.name] = message.get(item.name, item.default)
            if not _FIT[str(item.type)](values[item.name]):
                raise LauncherFault(f"the template's answer has no fit {item.name}")
            if item.type == "str":
                values[item.name] = plain(values[item.name])
    if values["killed"] not in _STATES:
        raise LauncherFault("the template's answer has no fit killed")
    return Ended(**values)


def plain(text: str) -> str:
    """What a candidate wrote, as text that can be stored and shown: no escape sequences, no characters that turn the
    order of others around, no NUL, no lone surrogates. Lines and tabs stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
