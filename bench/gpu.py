"""The parts of `bench/gpu.sh` that are Python: what is found, the steps of docs/gpu.md, a short copy of the task gpt.

python -m bench.gpu found [command] | header [command] | steps | short FOLDER | stand-in FOLDER

With ``command`` the GPU is for a repository's own command, which needs no torch of Metaloop's that is built for CUDA.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.common import figure
from programs.errors import MetaloopError
from trainer import gpu, gpus
from trainer.device_profile import DeviceProfile
from trainer.device_trial import try_device

SHORT_SECONDS, SHORT_COST, SHORT_EXPERIMENTS = 20, 26, 8
_SMI = """#!/bin/sh
case "$1" in
  *uuid*) echo "0, GPU-stand-in, stand-in for a GPU, 81920, 0.0" ;;
  *memory.used,utilization*) echo "100, 90" ;;
  *memory.used*) echo "100" ;;
esac
"""
_HOLD = "import torch, sys; x = torch.ones(1 << 28, device='cuda'); print('held', flush=True); sys.stdin.read()"
_FORK = (
    "import os, torch; torch.cuda.is_available(); print(torch.cuda.is_initialized(), flush=True)\n"
    "pid = os.fork()\nif pid == 0: print(float(torch.ones(3, device='cuda').sum()), flush=True); os._exit(0)\nos.wait()"
)


def check_gpu() -> int:
    """One line where there is no GPU to be used; 2 then."""
    survey = gpus.survey(torch=not _for_command())
    if not survey.gpus:
        print(f"no GPU here: {survey.reason}" + (f" ({survey.cure})" if survey.cure else ""))
        return 2
    return 0


def _for_command() -> bool:
    return sys.argv[2:3] == ["command"]


def header() -> int:
    """Hardware, versions and date, for the file of figures."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"\n# bench/gpu.sh, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit.strip() or 'unknown'}\n")
    for one in gpus.usable(torch=not _for_command()):
        print(f"- {one.hardware}, {one.memory_mb} MiB")
    print(f"- {platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    return 0


def steps() -> int:
    """The steps of docs/gpu.md, one figure each; 1 where one fails."""
    one = gpus.usable()[0]
    failed = 0
    for name, step in (("nodes", _nodes), ("fork", _fork), ("clean", _clean), ("leftover", _leftover)):
        began = time.perf_counter()
        try:
            said = step(one)
        except (MetaloopError, AssertionError, subprocess.SubprocessError, OSError) as problem:
            said, failed = f"FAILED: {type(problem).__name__}: {problem}".splitlines()[0], 1
        figure(f"gpu_{name}", f"{said} ({time.perf_counter() - began:.1f} s)")
    return failed


def _nodes(one: gpus.Gpu) -> str:
    """The sandbox with this GPU, its self-test, a matrix product, torch.compile."""
    tried = try_device(DeviceProfile(one))
    assert not tried.compiles, f"torch.compile: {tried.compiles}"
    return f"{tried.name}: sandbox, matrix product, torch.compile"


def _fork(one: gpus.Gpu) -> str:
    """A parent that asked whether there is a GPU is not initialised, and its fork can use it."""
    environment = {**os.environ, "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "CUDA_VISIBLE_DEVICES": one.uuid}
    done = subprocess.run([sys.executable, "-c", _FORK], capture_output=True, text=True, timeout=200, env=environment)
    assert done.stdout.split() == ["False", "3.0"], f"{done.stdout!r} {done.stderr[-300:]!r}"
    return "a fork of a warm parent computes"


def _clean(one: gpus.Gpu) -> str:
    before, findings = gpu.clean_before(one.index)
    return f"{before.memory_mb} MiB in use, {len(findings)} processes; load {gpu.load(one.index)}"


def _leftover(one: gpus.Gpu) -> str:
    """A process that holds a GiB is a finding, by its pid or, where pids are hidden, by its memory."""
    before, _ = gpu.clean_before(one.index)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": one.uuid}
    command = [sys.executable, "-c", _HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        seen = gpu.clean_after(one.index, before, patience=0.0)
        holder.kill()
    gone = gpu.clean_after(one.index, before)
    assert seen and not gone, f"seen {seen}, afterwards {gone}"
    return seen[0]


def short() -> int:
    """A copy of the task gpt with short experiments, for a study that fits into one call."""
    from trainer.task import TASKS

    folder = Path(sys.argv[2])
    shutil.rmtree(folder, ignore_errors=True)
    ignored = shutil.ignore_patterns("card.json", "__pycache__", "checkpoint.pt")
    shutil.copytree(TASKS / "gpt", folder, ignore=ignored)
    path = folder / "task.toml"
    text = path.read_text("utf-8")
    for key, value in (("seconds", SHORT_SECONDS), ("cost", SHORT_COST), ("run", SHORT_COST * SHORT_EXPERIMENTS)):
        text, count = re.subn(rf"(?m)^{key} = [\d.]+", f"{key} = {float(value)}", text, count=1)
        assert count == 1, f"{path}: no line {key} = …"
    text = re.sub(r"(?m)^hard_extra = [\d.]+", "hard_extra = 60.0", text)  # an edit's kernels are made anew
    path.write_text(re.sub(r'(?m)^name = "gpt"', 'name = "gpt-short"', text), "utf-8")
    print(folder)
    return 0


def stand_in() -> int:
    """Files that stand in for one GPU: device nodes, nvidia-smi, and a start-up file that makes Metaloop look there."""
    folder = Path(sys.argv[2])
    folder.chmod(0o755)  # the sandbox of root runs as another user
    (folder / "dev").mkdir(exist_ok=True)
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (folder / "dev" / name).touch()
    (folder / "nvidia-smi").write_text(_SMI)
    (folder / "nvidia-smi").chmod(0o755)
    start = f"from pathlib import Path\nfrom trainer import gpus\ngpus.DEV = Path({str(folder / 'dev')!r})\n"
    (folder / "sitecustomize.py").write_text(start)
    return 0


COMMANDS: dict[str, Callable[[], int]] = {
    "found": check_gpu,
    "header": header,
    "steps": steps,
    "short": short,
    "stand-in": stand_in,
}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]]())
