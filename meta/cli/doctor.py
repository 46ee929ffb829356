"""``metaloop doctor``: checks this machine, and prints a fix for each problem."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from analysis.effects.attribution import METHODS
from analysis.wording import many
from arena.race import RACE_RULES
from arena.work.choice import EXECUTORS
from inner_loop.researchers import RESEARCHERS
from inner_loop.researchers.description import describe
from meta.cli.commands import verb
from meta.cli.output import Column, Output, Row
from meta.mutators.mix import MUTATORS
from programs.charter import KEEP_RULES, PROPOSERS
from programs.common.distribution import install_line
from programs.common.errors import EnvironmentProblem, MetaloopError
from trainer import gpu, variants
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Job, Limits
from trainer.jobs.run import run_job
from trainer.sandbox import bwrap, cgroup
from trainer.sandbox.local import check_sandbox
from trainer.scoring import SCORERS
from trainer.streams import Streams
from trainer.task import Task

DISK_GB = 2.0
FRACTION = 0.25  # of the small task's budget; enough to reach a checkpoint on a busy machine
COLUMNS = (Column("state"), Column("check", style="bold"), Column("found", wrap=True), Column("cure", "fix", wrap=True))
ON_GPU = """
import torch
x = torch.linspace(-1, 1, 4096, device="cuda")
assert float(x @ x) > 0
print(torch.cuda.get_device_name(0), "computes", flush=True)
double = torch.compile(lambda x: torch.relu(x) * 2 + x.sin())
assert torch.allclose(double(x), torch.relu(x) * 2 + x.sin(), atol=1e-5), "torch.compile computes something else"
print("compiled")
"""


@dataclass(frozen=True)
class Check:
    """``run`` returns what it found, or raises an error: a problem. ``cure``: the fix, unless the error has one."""

    name: str
    run: Callable[[], str]
    problem: Literal["warn", "fail"]
    cure: str = ""

    def row(self) -> Row:
        state, cure = "ok", ""
        try:
            check = self.run()
        except (MetaloopError, ImportError, OSError) as error:
            check, state = str(error), self.problem
            cure = getattr(error, "hint", "") or self.cure
        return {"check": self.name, "state": state, "found": check, "cure": cure}


@verb(
    ("metaloop doctor", "check this machine"),
    ("metaloop doctor --json", "the same for a script; exits with 1 on a failure"),
)
def doctor(out: Output) -> int:
    """Check whether Metaloop can run on this machine: devices, disk, git, sandbox, metering and
    keys. Prints ok, warn or fail, and a fix for each problem. Exits with 1 on a failure.

    The sandbox check runs a small experiment, with torch and scoring."""
    rows = [check.row() for check in CHECKS]
    out.rows(rows, COLUMNS)
    failed = [str(row["check"]) for row in rows if row["state"] == "fail"]
    warned = sum(row["state"] == "warn" for row in rows)
    out.note(f"cannot run: {', '.join(failed)}" if failed else f"can run; {many(warned, 'warning')}")
    if failed == ["sandbox"]:
        out.note("without a sandbox: built-in tasks, your own repository and agent (--no-sandbox, results unverified)")
    return 1 if failed else 0


def good(condition: bool, found: str) -> str:
    """What was found, as a problem unless the condition holds."""
    if not condition:
        raise EnvironmentProblem(found)
    return found


def disk() -> str:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return good(free >= DISK_GB, f"{free:.1f} GB free in {Path.cwd()}")


def gpus() -> str:
    survey = gpu.survey()
    if survey.none:
        return "none; tasks of a GPU do not run here"
    if not survey.gpus:
        raise EnvironmentProblem(survey.reason, hint=survey.cure)
    names = ", ".join(f"{card.index}: {card.name}, {card.memory_mb} MiB" for card in survey.gpus)
    return f"{names}; driver {survey.gpus[0].driver}" + (f"; left out: {survey.reason}" if survey.reason else "")


def gpu_command() -> str:
    """Use the first GPU as an experiment does, with this Python's torch: a product of vectors, torch.compile."""
    if not (usable := gpu.usable()):
        return "not tried: no GPU"
    limits = Limits(1e6, 300.0, 1 << 17, processes=4096)
    ended = run_job(Job([sys.executable, "-c", ON_GPU], limits=limits, gpu=usable[0]), sandboxed=True)
    lines = [line for line in ended.log.splitlines() if line.strip()] or [f"exit code {ended.exit_code}"]
    return good(lines[-1] == "compiled", f"in the sandbox: {lines[0]}; torch.compile: {lines[-1]}")


def sandbox() -> str:
    """Start a sandbox, try to escape from it, and train something in it."""
    check_sandbox()
    train_small_task()
    return f"bubblewrap ({bwrap.find_bwrap()}): self-test and an experiment passed"


def train_small_task() -> None:
    """Start the sandbox with torch, train and score. EnvironmentProblem if that fails: a sandbox that starts may still
    fail by the system call filter, the memory limit or unreadable packages."""
    with tempfile.TemporaryDirectory(prefix="metaloop-doctor-") as folder:
        task = Task.load(variants.init(Path(folder) / "task"))
        with Trainer(task, DataStore(task, Streams.from_seed(1), Path(folder) / "data")) as trainer:
            outcome = trainer.run(Spec(task.baseline(), seed=1, fraction=FRACTION))
    if outcome.status != "ok":
        last_line = (outcome.log.strip().splitlines() or [""])[-1]
        raise EnvironmentProblem(
            f"an experiment in the sandbox ended with {outcome.status}: {outcome.reason or last_line}",
            hint="run metaloop task check strokes for details",
        )


def agents() -> str:
    """The programs that researchers start; `-r command:NAME` runs an agent."""
    versions = {name: here for kind in RESEARCHERS.names for name, here in describe(kind).installed().items()}
    installed, missing = ([name for name in versions if versions[name] == there] for there in (True, False))
    return f"{', '.join(installed) or 'none'}; not installed: {', '.join(missing) or 'none'}"


def plugins() -> str:
    """Parts that installed packages add."""
    kinds = (PROPOSERS, KEEP_RULES, MUTATORS, SCORERS, RESEARCHERS, RACE_RULES, METHODS, EXECUTORS)
    for problem in (problem for kind in kinds for problem in kind.problems()):
        raise problem
    return ", ".join(f"{kind.one} {name}" for kind in kinds for name in kind.added) or "none"


CHECKS = (
    Check("torch", lambda: importlib.import_module("torch").__version__, "fail", install_line("train")),
    Check("gpu", gpus, "warn"),
    Check("gpu command", gpu_command, "warn",
          "torch.compile needs a C compiler (apt install gcc) and Triton; METALOOP_DEVICES=cpu trains without the GPU"),
    Check("disk", disk, "warn", "a long study takes 1 to 2 GB: free some space, or work in another folder"),
    Check("git", lambda: good(shutil.which("git") is not None, str(shutil.which("git"))), "fail",
          "install git (apt install git, brew install git)"),
    Check("metering", lambda: f"CPU time by wait4, and by a cgroup: {cgroup.describe()}", "warn"),
    Check("LLM keys", lambda: ", ".join(name for name in os.environ if name.endswith("_API_KEY")) or "none", "warn"),
    Check("agent CLIs", agents, "warn"),
    Check("plug-ins", plugins, "warn"),
    Check("sandbox", sandbox, "fail"),
)  # fmt: skip
