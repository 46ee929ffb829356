"""The parts of `bench/gpu.sh` that are Python: what is found, a short copy of the task gpt, a stand-in for a GPU.

python -m bench.gpu found | header | short FOLDER SECONDS | measure FOLDER | stand-in FOLDER
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bench.common import figure
from trainer import gpu

SHORT_EXPERIMENTS, SHORT_EXTRA = 8, 30  # seconds beyond training
_SMI = """#!/bin/sh
case "$1" in
  *uuid*) echo "0, GPU-stand-in, stand-in for a GPU, 81920, 0.0, 00000000:01:00.0" ;;
  *memory.used*) echo "100, 90" ;;
esac
"""


def check_gpu() -> int:
    """One line where there is no GPU to be used; 2 then."""
    survey = gpu.survey()
    if not survey.gpus:
        print(f"no GPU here: {survey.reason}" + (f" ({survey.cure})" if survey.cure else ""))
        return 2
    return 0


def header() -> int:
    """Hardware, versions and date, for the file of figures."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"\n# bench/gpu.sh, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit.strip() or 'unknown'}\n")
    for one in gpu.usable():
        print(f"- {one.hardware}, {one.memory_mb} MiB")
    print(f"- {platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    return 0


def short() -> int:
    """A copy of the task gpt with short experiments, for a study that fits into one call."""
    from trainer.task import TASKS

    folder, seconds = Path(sys.argv[2]), float(sys.argv[3])
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(TASKS / "gpt", folder, ignore=shutil.ignore_patterns("card.json", "__pycache__"))
    path = folder / "task.toml"
    text = path.read_text("utf-8")
    cost = seconds + SHORT_EXTRA
    for key, value in (("seconds", seconds), ("cost", cost), ("run", cost * SHORT_EXPERIMENTS)):
        text, count = re.subn(rf"(?m)^{key} = [\d.]+", f"{key} = {value}", text, count=1)
        assert count == 1, f"{path}: no line {key} = …"
    path.write_text(re.sub(r'(?m)^name = "gpt"', 'name = "gpt-short"', text), "utf-8")
    print(folder)
    return 0


def measure() -> int:
    """What an experiment prints, and its charge: with kernels in the compile cache, and of another model without."""
    from trainer.data import DataStore
    from trainer.edits import Edit
    from trainer.experiment import Spec, Trainer
    from trainer.streams import Streams
    from trainer.task import Task

    task = Task.load(sys.argv[2])
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainer(task, DataStore(task, Streams.from_seed(1), Path(folder))) as trainer,
    ):
        for name, edit in (("warm", Edit()), ("cold", Edit({}, ("rope",)))):
            outcome = trainer.run(Spec(task.edits.apply(task.baseline(), edit), 1))
            if outcome.status != "ok":
                print(f"{name}: {outcome.status}: {outcome.reason}")
                return 1
            for key, value in re.findall(r"^(\w+): (.+)$", outcome.log, re.MULTILINE):
                figure(f"{name} {key}", value)
            figure(f"{name} charged", f"{outcome.device_seconds_charged:.1f} s")
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
    start = f"from pathlib import Path\nfrom trainer import gpu\ngpu.DEV = Path({str(folder / 'dev')!r})\n"
    (folder / "sitecustomize.py").write_text(start)
    return 0


COMMANDS: dict[str, Callable[[], int]] = {
    "found": check_gpu,
    "header": header,
    "short": short,
    "measure": measure,
    "stand-in": stand_in,
}

if __name__ == "__main__":
    sys.exit(COMMANDS[sys.argv[1]]())
