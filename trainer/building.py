"""Compiles untrusted C source to shared objects in a separate sandbox, which does not execute them.

The sandbox contains a compiler, its linker, the system's libraries and headers, a C file, and the interpreter's
standard library for the monitoring process. It has no network, no home and none of Metaloop's files. Only the
candidate's own process, in the candidate's own sandbox, executes the result.

A recipe is C source whose first line may contain flags: ``// flags: -O2 -march=native``.
"""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from programs.errors import EnvironmentProblem, TaskError
from programs.text import word_list
from trainer import bwrap
from trainer.command_process import CommandEnded, run_command
from trainer.command_view import CommandJob, CommandLimits
from trainer.compiler_view import CompilerView
from trainer.outcome import Status

MOST_BYTES = 256 << 10  # of a recipe
NAMES = ("gcc", "clang", "cc")
FLAGS = frozenset(
    word_list("""
    -O0 -O1 -O2 -O3 -Os -Ofast -march=native -mtune=native -mprefer-vector-width=128 -mprefer-vector-width=256
    -mprefer-vector-width=512 -ffast-math -fno-math-errno -fno-trapping-math -fno-signed-zeros -fassociative-math
    -freciprocal-math -ffinite-math-only -funsafe-math-optimizations -ffp-contract=off -ffp-contract=fast
    -funroll-loops -fno-unroll-loops -ftree-vectorize -fno-tree-vectorize -fno-strict-aliasing -fstrict-aliasing
    -fwrapv -fomit-frame-pointer -fno-inline -finline-functions
""")
)
_FIRST = re.compile(rb"//[ \t]*flags:([^\n]*)\n?")
_ALWAYS = ("-std=gnu11", "-shared", "-fPIC", "-w", "-fdiagnostics-color=never", "-x", "c")
_SOURCE, _RESULT = "kernel.c", "kernel.so"
_LIMITS = CommandLimits(10.0, 60.0, memory_mb=1024, disk_mb=64, processes=16, output_mb=1, result_mb=8)
_CALIBRATIONS = 3
_LINE = 300  # characters of a reason
_CURE = "install one (apt install gcc libc6-dev, or your system's equivalent), or choose another task"


@dataclass(frozen=True)
class Compiler:
    """``name``: its path, ``version``: the first line of its version output."""

    name: str
    version: str


@dataclass(frozen=True)
class Built:
    """The result of a compilation. ``trouble`` is a status and its reason; then ``library`` is empty.

    ``cpu_seconds`` excludes the cost of an empty command.
    """

    library: bytes
    cpu_seconds: float
    peak_memory_mb: float = 0.0
    log: str = ""
    trouble: tuple[Status, str] | None = None


@cache
def compiler() -> Compiler | None:
    """The first compiler of this machine that prints its version; None without one."""
    for name in NAMES:
        path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        if path is None:
            continue
        try:
            done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False, env={})
        except (OSError, subprocess.SubprocessError):
            continue
        if done.returncode == 0 and done.stdout.strip():
            return Compiler(path, done.stdout.splitlines()[0])
    return None


def version() -> str:
    """The version of the compiler, as part of cache keys; empty without one."""
    installed = compiler()
    return installed.version if installed else ""


def require() -> Compiler:
    """The compiler. Raises EnvironmentProblem if it, the sandbox or the headers are missing."""
    installed = compiler()
    if installed is None:
        raise EnvironmentProblem(f"no C compiler here: {', '.join(NAMES)} are not in /usr/bin", hint=_CURE)
    bwrap.ensure()
    if said := _tried():
        raise EnvironmentProblem(f"no C compiler here: {installed.name} does not work: {said}", hint=_CURE)
    return installed


@cache
def _tried() -> str:
    """The error of compiling a small kernel; empty if it works."""
    built = build(b"#include <math.h>\nvoid solve(const double *a, double *b) { *b = sqrt(*a); }\n")
    return built.trouble[1] if built.trouble else ""


def recipe_of(data: bytes) -> tuple[tuple[str, ...], bytes]:
    """The flags of a recipe and its source with unchanged line numbers. ValueError if it is not allowed."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"the C source has more than {MOST_BYTES >> 10} KB")
    first = _FIRST.match(data)
    flags = tuple(first[1].decode("utf-8", "replace").split()) if first else ()
    if strange := [flag for flag in flags if flag not in FLAGS]:
        raise ValueError(f"the flag {strange[0][:60]!r} is not allowed; see FLAGS in trainer/building.py")
    return flags, data


def build(recipe: bytes) -> Built:
    """Compile a recipe. EnvironmentProblem without a compiler or sandbox, LauncherFault if the sandbox fails."""
    installed = compiler()
    if installed is None:
        raise EnvironmentProblem(f"no C compiler here: {', '.join(NAMES)} are not in /usr/bin", hint=_CURE)
    try:
        flags, source = recipe_of(recipe)
    except ValueError as error:
        return Built(b"", 0.0, trouble=("invalid", str(error)))
    command = [installed.name, *flags, *_ALWAYS, _SOURCE, "-o", _RESULT, "-lm"]
    ended = run_command(CommandJob(command, {_SOURCE: (source, False)}, wanted=[_RESULT]), _LIMITS, CompilerView)
    cpu = max(0.0, ended.cpu_seconds - _nothing())
    library = ended.files.get(_RESULT, b"")
    trouble = _trouble(ended, library)
    return Built(b"" if trouble else library, cpu, ended.peak_memory_mb, ended.log if trouble else "", trouble)


@cache
def _nothing() -> float:
    """CPU-seconds of an empty command in such a sandbox."""
    installed = compiler()
    assert installed is not None
    job = CommandJob([installed.name, "--version"], {})
    return statistics.median(run_command(job, _LIMITS, CompilerView).cpu_seconds for _ in range(_CALIBRATIONS))


def _trouble(ended: CommandEnded, library: bytes) -> tuple[Status, str] | None:
    """The failure with the compiler's first error line, which is safe to show: the source saw no hidden data."""
    if ended.killed in ("cpu", "wall"):
        return ("timeout", f"the compiler was stopped after {ended.cpu_seconds:.1f} CPU-s")
    if ended.killed == "memory":
        return ("oom", f"the compiler used more than {_LIMITS.memory_mb} MB")
    if ended.killed:
        return ("crash", "the compiler printed too much")
    lines = [line.strip() for line in ended.log.splitlines() if line.strip()]
    if ended.exit_code or not library:
        message = next((line for line in lines if "error" in line.lower()), lines[0] if lines else "")
        return ("crash", (message or f"the compiler ended with {ended.exit_code} and no shared object")[:_LINE])
    return None


@cache
def trusted(path: Path) -> bytes:
    """The shared object of a task's own C file, compiled once per process and not charged.

    Raises TaskError if it does not compile.
    """
    built = build(path.read_bytes())
    if built.trouble:
        raise TaskError(f"{path}: {built.trouble[1]}", hint="the reference must compile on this machine")
    return built.library
