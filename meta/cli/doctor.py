"""``metaloop doctor``: checks this machine, and prints a fix for each problem."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click

from meta.cli import capacity
from meta.cli.commands import verb
from meta.cli.doctor_gpu import check_gpu_command, check_gpus
from meta.cli.finding import CheckResult
from meta.cli.options import flag
from meta.cli.output import Column, Output, Row

if TYPE_CHECKING:
    from trainer.task import Task

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "MISTRAL_API_KEY")
DISK_WARN_GB, DISK_FAIL_GB = 2.0, 0.3
MEMORY_WARN_GB = 2.0
OLDEST_PYTHON = (3, 11)
STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}
MODULES = ("numpy", "scipy", "optuna", "duckdb", "pandas", "pydantic", "jinja2", "git", "tiktoken")


@verb(
    ("metaloop doctor", "check this machine"),
    ("metaloop doctor -t my-task/", "check what this task needs"),
    ("metaloop doctor --json", "the same for a script; exits with 1 on a failure"),
)
def doctor(
    out: Output,
    task: Annotated[str | None, flag("Also check what this task needs.", "-t", metavar="NAME|DIR")],
    agent_network: Annotated[
        str,
        flag(
            "Check the sandbox of coding agents with this network access.",
            type=click.Choice(("none", "proxy", "full")),
            default="none",
        ),
    ],
) -> int:
    """Check whether Metaloop can run on this machine: devices, memory, disk, git,
    sandbox, metering and keys. Prints ok, warn or fail, and a fix for each problem.
    Exits with 1 on a failure.

    The sandbox check runs a small experiment, with torch and scoring."""
    from meta.cli.launch import load_task

    known = load_task(task) if task else None
    findings = [*(check() for check in CHECKS), check_sandbox(known)]
    findings.append(check_agent_sandbox(agent_network))
    out.rows([_row(f, out.mode) for f in findings], COLUMNS)
    failed = [f.check for f in findings if f.state == "fail"]
    warned = sum(f.state == "warn" for f in findings)
    out.note(f"cannot run: {', '.join(failed)}" if failed else f"can run; {warned} warning{'' if warned == 1 else 's'}")
    if not failed:
        out.note("with a sandbox, or your own repository and agent without one: --no-sandbox")
    elif {*failed} <= {"sandbox", "gpu command"}:
        out.note("without a sandbox: your own repository and agent (--no-sandbox), no contest, no runs for others")
    return 1 if failed else 0


COLUMNS = (
    Column("state"),
    Column("check", style="bold"),
    Column("found", wrap=True),
    Column("cure", "fix", wrap=True, style="dim", show=lambda text: text),
)


def _row(finding: CheckResult, mode: str) -> Row:
    if mode != "person":
        return asdict(finding)
    from rich.text import Text

    return asdict(finding) | {"state": Text(finding.state, style=STYLES[finding.state])}


def check_python() -> CheckResult:
    version = ".".join(map(str, sys.version_info[:3]))
    if tuple(sys.version_info) < OLDEST_PYTHON:
        return CheckResult("python", "fail", version, "install Python 3.11 or newer")
    return CheckResult("python", "ok", version)


def check_system() -> CheckResult:
    """Metering reads /proc and forks a warm process, which needs Linux."""
    if sys.platform.startswith("linux"):
        return CheckResult("system", "ok", f"linux {os.uname().release}")
    cure = "scores are comparable on this machine only; use Linux for contests"
    return CheckResult("system", "warn", sys.platform, cure)


def check_torch() -> CheckResult:
    try:
        import torch
    except (ImportError, OSError) as error:
        return CheckResult("torch", "fail", str(error), "pip install torch")
    return CheckResult("torch", "ok", torch.__version__)


def check_modules() -> CheckResult:
    import importlib.util

    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if missing:
        return CheckResult("packages", "fail", f"missing: {', '.join(missing)}", "pip install --upgrade metaloop")
    return CheckResult("packages", "ok", f"{len(MODULES)} found")


def check_cores() -> CheckResult:
    cores = capacity.cores()
    load = os.getloadavg()[0]
    text = f"{cores} cores, load {load:.1f}"
    if load > 1.5 * cores:
        return CheckResult(
            "cores", "warn", text, "runs take longer on a busy machine; the cost in CPU-seconds is the same"
        )
    return CheckResult("cores", "ok" if cores > 1 else "warn", text, "" if cores > 1 else "runs take twice as long")


def check_memory() -> CheckResult:
    try:
        available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (ValueError, OSError):
        return CheckResult("memory", "warn", "unknown")
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        available = float(lines.get("MemAvailable", "0 kB").split()[0]) / 2**20 or available
    text = f"{available:.1f} GB available"
    if available < MEMORY_WARN_GB:
        return CheckResult("memory", "warn", text, "use fewer workers: -j 1")
    return CheckResult("memory", "ok", text)


def check_disk() -> CheckResult:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    text = f"{free:.1f} GB free in {Path.cwd()}"
    if free < DISK_FAIL_GB:
        return CheckResult("disk", "fail", text, "free some space, or work in another folder")
    if free < DISK_WARN_GB:
        return CheckResult("disk", "warn", text, "a long study takes 1 to 2 GB")
    return CheckResult("disk", "ok", text)


def check_folder() -> CheckResult:
    if os.access(Path.cwd(), os.W_OK):
        return CheckResult("folder", "ok", "studies/ can be written here")
    return CheckResult("folder", "fail", f"{Path.cwd()} is read-only", "cd to a writable folder, or use --study DIR")


def check_cache() -> CheckResult:
    """Training data is kept between studies."""
    from meta.cli.launch import load_task
    from programs.errors import EnvironmentProblem
    from trainer.data import check_cache as attempt
    from trainer.user_files import user_cache

    try:
        attempt(load_task(None))
        return CheckResult("cache", "ok", f"training data in {user_cache()}")
    except EnvironmentProblem as error:
        return CheckResult("cache", "fail", error.message, error.hint)


def check_git() -> CheckResult:
    import subprocess

    path = shutil.which("git")
    if path is None:
        return CheckResult("git", "fail", "not found", "install git (apt install git, brew install git)")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return CheckResult("git", "ok", done.stdout.strip().removeprefix("git version "))


def check_sandbox(task: Task | None) -> CheckResult:
    """Start a sandbox, try to escape from it, and train something in it. A simulated task runs no code."""
    from arena.sandbox import runs_code
    from programs.errors import EnvironmentProblem
    from trainer.cards.trial import one_experiment
    from trainer.sandbox import bwrap
    from trainer.sandbox.local import check_sandbox as attempt

    if task is not None and not runs_code(task):
        return CheckResult("sandbox", "ok", f"not checked: {task.name} is simulated and needs none")
    began = time.perf_counter()
    try:
        version = ".".join(map(str, bwrap.find_bwrap()[1]))
        attempt()
        one_experiment()
    except EnvironmentProblem as error:
        return CheckResult("sandbox", "fail", error.message, error.hint)
    took = f"self-test and an experiment passed in {time.perf_counter() - began:.1f} s"
    return CheckResult("sandbox", "ok", f"bubblewrap {version}, user namespaces, seccomp; {took}")


def check_metering() -> CheckResult:
    """A cgroup also counts processes that wait4 misses."""
    from trainer.sandbox import cgroup

    said = cgroup.describe()
    more = (
        f"no cgroup ({said})"
        if said.startswith("none")
        else f"a cgroup also counts processes that wait4 misses: {said}"
    )
    return CheckResult("metering", "ok", f"CPU time as the kernel reports it (wait4); {more}")


def check_agent_sandbox(network: str) -> CheckResult:
    """Start the sandbox of a coding agent once on an empty folder."""
    from inner_loop.agents.sandbox import AgentSandbox
    from programs.errors import MetaloopError

    try:
        with tempfile.TemporaryDirectory(prefix="metaloop-doctor-") as folder:
            worktree = Path(folder) / "run" / "worktree"
            worktree.mkdir(parents=True)
            sandbox = AgentSandbox(worktree, network)  # type: ignore[arg-type]
            ended = sandbox.run(["/bin/sh", "-c", "exit 0"])
    except MetaloopError as error:
        return CheckResult("agent sandbox", "warn", error.message, error.hint)
    if ended.exit_code:
        said = (ended.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {ended.exit_code}"])[-1]
        return CheckResult("agent sandbox", "warn", said, "coding agents cannot run here; everything else can")
    return CheckResult("agent sandbox", "ok", f"starts with --set agent_network={network}")


def check_keys() -> CheckResult:
    keys = [name for name in KEYS if os.environ.get(name)]
    if keys:
        return CheckResult("LLM keys", "ok", f"{', '.join(keys)} (not used by scripted researchers)")
    return CheckResult("LLM keys", "ok", "none (scripted researchers need none)")


def check_agents() -> CheckResult:
    """The installed agents among those with a recipe; `-r command:NAME` runs one."""
    from inner_loop.agents import recipe as agent_recipe

    recipes = {name: agent_recipe.load(name) for name in agent_recipe.names()}
    installed = [name for name, recipe in recipes.items() if shutil.which(recipe.command[0])]
    missing = ", ".join(name for name in recipes if name not in installed)
    if not installed:
        return CheckResult("agent CLIs", "ok", f"none of {missing} (scripted researchers need none)")
    return CheckResult("agent CLIs", "ok", f"{', '.join(installed)}{f' (not installed: {missing})' if missing else ''}")


def check_plugins() -> CheckResult:
    """Parts that installed packages add."""
    from analysis.effects.attribution import METHODS
    from arena.choice import EXECUTORS
    from arena.race import RACE_RULES
    from inner_loop.researchers import RESEARCHERS
    from meta.mutators.mix import MUTATORS
    from programs.charter import KEEP_RULES, PROPOSERS
    from trainer.scoring import SCORERS

    kinds = (PROPOSERS, KEEP_RULES, MUTATORS, SCORERS, RESEARCHERS, RACE_RULES, METHODS, EXECUTORS)
    added = [f"{kind.one} {name}" for kind in kinds for name in kind.added]
    if problems := [problem for kind in kinds for problem in kind.problems()]:
        return CheckResult("plug-ins", "warn", "; ".join(p.message for p in problems), problems[0].hint)
    return CheckResult("plug-ins", "ok", ", ".join(added) or "none")


CHECKS: tuple[Callable[[], CheckResult], ...] = (
    check_python,
    check_system,
    check_torch,
    check_modules,
    check_cores,
    check_gpus,
    check_gpu_command,
    check_memory,
    check_disk,
    check_folder,
    check_cache,
    check_git,
    check_metering,
    check_keys,
    check_agents,
    check_plugins,
)
