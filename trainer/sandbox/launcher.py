"""The interface of launchers, which run an experiment's process: requests, limits and results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from programs.common.bounded import json_value
from programs.common.text import terminal_text

if TYPE_CHECKING:
    from pydantic import JsonValue

Kind = Literal["noop", "selftest", "train", "predict", "converse"]
_LONGEST = 40_000  # characters of a text in a reply
_MOST = 1e9  # seconds or megabytes: more than any experiment needs
_STATES = ("", "cpu", "wall", "memory", "processes", "asked")


class LauncherFault(Exception):
    """The launcher failed, not the candidate; the experiment may be repeated."""


class StopProcess(Exception):
    """Raised by the caller's side of a conversation: the process is no longer needed and is killed."""


@dataclass(frozen=True)
class ProcessLimits:
    """Hard limits of one process of an experiment."""

    cpu_seconds: float
    wall_seconds: float
    memory_mb: int = 2048
    file_mb: int = 256  # per file; the capacity of the writable folder is only slightly larger


@dataclass(frozen=True)
class ProcessRequest:
    """One process: ``files`` are written to its folder, then train.py is run (train) or imported (all other kinds).

    ``descriptors`` by name: ``checkpoint`` is copied into the folder, ``checkpoint_out`` receives the checkpoint of
    train.py, up to ``checkpoint_mb``; ``inputs``, ``output``, ``receive``, ``reply`` and ``shared`` are passed to the
    process itself.
    """

    kind: Kind
    limits: ProcessLimits
    files: Mapping[str, bytes] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    descriptors: Mapping[str, int] = field(default_factory=dict)
    data: Path | None = None
    checkpoint_mb: int = 64


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it used.

    ``exit_code`` is negative for a signal. ``killed`` is the limit that was exceeded ("cpu", "wall", "memory" or
    "processes"), "asked" after StopProcess, or "". ``artifact``: why there is no checkpoint. ``outside_cpu_seconds``:
    the same measured by a cgroup around the template, None without one.
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
    """Runs processes. ``constant``: CPU-seconds of an empty process; ``sandboxed``: whether they run in a sandbox."""

    constant: float
    sandboxed: bool

    def start(self, data: Path | None = None) -> None: ...
    def run(self, request: ProcessRequest, meanwhile: Callable[[], None] | None = None) -> Ended: ...
    def close(self) -> None: ...


_FIT: dict[str, Callable[[Any], bool]] = {
    "float": lambda value: type(value) in (int, float) and 0 <= value < _MOST,
    "int": lambda value: type(value) is int and -256 < value < 256,
    "str": lambda value: type(value) is str and len(value) <= _LONGEST,
}


def merged(told: Mapping[str, JsonValue], answer: bytes) -> dict[str, JsonValue]:
    """What the template told, with its monitor's answer. ValueError if that is no object."""
    said = json_value(answer) if answer else {"broken": f"the monitor ended with status {told.get('status')}"}
    if not isinstance(said, dict):
        raise ValueError("the monitor's answer is not an object")
    spent, hidden = told.get("cpu_seconds"), said.get("hidden_cpu_seconds", 0.0)
    total = spent + hidden if all(map(_FIT["float"], (spent, hidden))) else None
    return {**said, **told, "cpu_seconds": total}


def read_reply(message: Mapping[str, JsonValue]) -> Ended:
    """Parse the template's reply, which an escaped experiment may have written. LauncherFault if it is invalid."""
    if not isinstance(message, Mapping):
        raise LauncherFault("the template's reply is not an object")
    if "broken" in message:
        raise LauncherFault(plain(message["broken"][:500]) if isinstance(message["broken"], str) else "broken")
    values: dict[str, Any] = {}
    for item in fields(Ended):
        if item.name != "outside_cpu_seconds":  # which we measure ourselves
            values[item.name] = message.get(item.name, item.default)
            if not _FIT[str(item.type)](values[item.name]):
                raise LauncherFault(f"the template's reply has no valid {item.name}")
            if item.type == "str":
                values[item.name] = plain(values[item.name])
    if values["killed"] not in _STATES:
        raise LauncherFault("the template's reply has no valid killed")
    return Ended(**values)


def plain(text: str) -> str:
    """A candidate's output made safe to store and show, as `terminal_text`: without escape sequences, characters that
    change the writing direction, NUL and lone surrogates. Line ends and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in terminal_text(text))
