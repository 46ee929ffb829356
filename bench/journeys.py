"""From a clone of a repository to a branch that a coding agent can use: five small repositories, no person.

python -m bench.journeys [BUDGET [NAME ...]]      default 30s of device time for each improve; about six minutes

Each is what its owner might have: a numpy script with options, a torch script with a dataclass, a shell benchmark that
prints a rate, a program that prints JSON, and a program of several roles. For each: whether `task init` is right about
the command, metric, direction and files (or asks), what `task check` finds, the verdict of `improve`, and whether the
branch of `--apply` runs with the repository's own command.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.common import METALOOP, figure

_FIT = """rng = np.random.default_rng({seed})
x = np.random.default_rng(1).normal(size=(4000, 8))
y = np.tanh(x @ np.random.default_rng(2).normal(size=8)) + x[:, 0]
w = rng.normal(size=8) * 0.1
for step in range({steps}):
    batch = rng.integers(0, 3000, {batch})
    w -= {rate} * x[batch].T @ (x[batch] @ w - y[batch]) / len(batch)
loss = float(np.mean((x[3000:] @ w - y[3000:]) ** 2))
"""
_NUMPY = (
    "import argparse\n\nimport numpy as np\n\np = argparse.ArgumentParser()\n"
    'p.add_argument("--lr", type=float, default=0.002)\np.add_argument("--batch-size", type=int, default=16)\n'
    'p.add_argument("--seed", type=int, default=0)\na = p.parse_args()\n'
    + _FIT.format(seed="a.seed", steps=300, batch="a.batch_size", rate="a.lr")
    + 'print(f"val_mse: {loss:.5f}")\n'
)
_TORCH = (
    "import numpy as np\nimport torch\n\nfrom config import Config\n\ncfg = Config()\ntorch.manual_seed(cfg.seed)\n"
    "x = torch.tensor(np.random.default_rng(1).normal(size=(4000, 8)), dtype=torch.float32)\n"
    "y = torch.tanh(x.sum(1)) + x[:, 0]\nw = torch.zeros(8, requires_grad=True)\n"
    "opt = torch.optim.SGD([w], lr=cfg.lr, momentum=cfg.momentum)\nfor _ in range(cfg.steps):\n"
    "    rows = torch.randint(0, 3000, (cfg.batch_size,))\n    loss = ((x[rows] @ w - y[rows]) ** 2).mean()\n"
    "    opt.zero_grad()\n    loss.backward()\n    opt.step()\n"
    'print(f"done | val_loss {((x[3000:] @ w - y[3000:]) ** 2).mean().item():.5f}")\n'
)
_CONFIG = (
    "from dataclasses import dataclass\n\n\n@dataclass\nclass Config:\n    lr: float = 0.001\n"
    "    momentum: float = 0.0\n"
    "    batch_size: int = 16\n    steps: int = 200\n    seed: int = 7\n"
)
_ENGINE = (
    "import time\n\nCACHE_SIZE = 8\nCHUNK = 4\n\ntexts = [str(i * i % 997) for i in range(40000)]\ncache = {}\n"
    "begin = time.perf_counter()\nfor at in range(0, len(texts), CHUNK):\n    for text in texts[at : at + CHUNK]:\n"
    "        if text not in cache:\n            if len(cache) >= CACHE_SIZE:\n                cache.clear()\n"
    "            cache[text] = sum(ord(c) ** k for k in range(9) for c in text)\n"
    'print("n", len(texts), "in", time.perf_counter() - begin)\n'
)
_BENCH = "set -e\npython3 engine.py | awk '{ printf \"ok\\ntokens/s: %.0f\\n\", $2 / $4 }'\n"
_JSON = (
    "import argparse\nimport json\n\nimport numpy as np\n\nRATE = 0.002\nBATCH = 16\n"
    'STEPS = 300  # part of the rules\n\np = argparse.ArgumentParser()\np.add_argument("--seed", type=int, default=0)\n'
    "a = p.parse_args()\n"
    + _FIT.format(seed="a.seed", steps="STEPS", batch="BATCH", rate="RATE")
    + 'print(json.dumps({"setup": {"rows": 4000}, "scores": {"held_out": loss}}, indent=1))\n'
)
_ROLES = (
    "import numpy as np\n\nLEARNING_RATE = 0.002\nBATCH_SIZE = 16\nSEED = 1\n"
    + _FIT.format(seed="SEED", steps=300, batch="BATCH_SIZE", rate="LEARNING_RATE")
    + 'print(f"final loss: {loss:.5f}")\n'
)


@dataclass(frozen=True)
class Journey:
    """A repository, and what a careful reader takes from it: command, metric, direction and editable files."""

    files: dict[str, str]
    program: str
    command: str
    truth: tuple[str, str, tuple[str, ...]]


JOURNEYS = {
    "numpy": Journey({
        "train.py": _NUMPY,
        "program.md": "# Night shift\n\nEdit `train.py` and nothing else, so that `val_mse` becomes smaller; lower is "
        "better.\nRun `python train.py`. The learning rate is surely too small.\n",
    }, "program.md", "python train.py", ("val_mse", "lower", ("train.py",))),
    "torch": Journey({
        "train.py": _TORCH, "config.py": _CONFIG,
        "README.md": "# Small\n\n    python train.py\n\nThe last line has `val_loss`, lower is better.\n",
        "AGENTS.md": "# For agents\n\nYou may change `config.py` and `train.py`. Keep `steps` at 200.\n",
    }, "AGENTS.md", "python train.py", ("val_loss", "lower", ("config.py", "train.py"))),
    "shell": Journey({
        "bench.sh": _BENCH, "engine.py": _ENGINE,
        "program.md": "# Faster\n\nRaise tokens/s of `bash bench.sh`, higher is better. Only `engine.py` may change.\n",
    }, "program.md", "bash bench.sh", ("tokens/s", "higher", ("engine.py",))),
    "json": Journey({
        "fit/__init__.py": "", "fit/run.py": _JSON,
        "program.md": "# Fit\n\n`python -m fit.run` prints JSON. We want `scores.held_out` down; smaller is better.\n"
        "Edit `fit/run.py` only. More steps are not an improvement.\n",
    }, "program.md", "python -m fit.run", ("scores.held_out", "lower", ("fit/run.py",))),
    "roles": Journey({
        "src/train.py": _ROLES,
        "org.md": "# Lab\n\nOnly `src/train.py` may be edited. Run `python src/train.py`; a lower loss is better.\n\n"
        "- the [planner](roles/planner.md) changes the plan\n- the [runner](roles/runner.md) edits and runs\n",
        "roles/planner.md": "# Planner\n\nPropose the largest step first.\n",
        "roles/runner.md": "# Runner\n\nMake one change, run it, revert what does not help.\n",
    }, "org.md", "python src/train.py", ("loss", "lower", ("src/train.py",))),
}  # fmt: skip


def main() -> None:
    budget, names = (sys.argv[1:2] or ["30s"])[0], sys.argv[2:] or list(JOURNEYS)
    for name in names:
        if name == "torch" and find_spec("torch") is None:
            figure("torch", "not installed here")
            continue
        with tempfile.TemporaryDirectory() as folder:
            travel(name, JOURNEYS[name], Path(folder), budget)


def travel(name: str, journey: Journey, folder: Path, budget: str) -> None:
    """One journey, with a figure for each of its steps."""
    began, clone = time.perf_counter(), folder / name
    for file, text in journey.files.items():
        (folder / "origin" / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / "origin" / file).write_text(text)
    git = ["git", "-C", str(folder / "origin"), "-c", "user.name=owner", "-c", "user.email=owner@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"], ["clone", "-q", ".", str(clone)]):
        subprocess.run([*git, *words], check=True)
    done = said(folder, METALOOP, "task", "init", "--from", str(clone))
    figure(f"{name}, init", read_right(clone, journey) if not done.returncode else f"asks: {done.stderr.strip()}")
    if done.returncode:
        return
    done = said(folder, METALOOP, "task", "check", str(clone), "--write", "--json")
    errors, warnings = (done.stdout.count(f'"{level}"') for level in ("error", "warning"))
    figure(f"{name}, check", f"{errors} errors, {warnings} warnings")
    words = ["improve", str(clone / journey.program), "-t", str(clone), "--budget", budget, "-s", str(folder / "study")]
    done = said(folder, METALOOP, *words, "-y", "--apply")
    verdicts = [line.partition("\t")[2] for line in done.stdout.splitlines() if line.startswith("verdict")]
    figure(f"{name}, improve", verdicts[0] if verdicts else f"none: {done.stderr[-160:]}")
    add = ["git", "-C", str(clone), "worktree", "add", "-q", str(folder / "used"), "metaloop/study"]
    branch = subprocess.run(add, capture_output=True, check=False)
    used = None if branch.returncode else said(folder / "used", "sh", "-c", journey.command)
    figure(f"{name}, branch", done.stderr.strip()[-160:] if used is None else
           f"{journey.command}: {'runs' if not used.returncode else used.stderr[-160:]}")  # fmt: skip
    figure(f"{name}, seconds", round(time.perf_counter() - began, 1), "of it the person's: three commands")


def said(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(words, cwd=folder, env={**os.environ, "PATH": path}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)  # fmt: skip


def read_right(clone: Path, journey: Journey) -> str:
    """``right``, or what is not as a careful reader has it."""
    task = tomllib.loads((clone / "task.toml").read_text("utf-8"))
    values = task["task"]["metric"], task["task"]["direction"], tuple(task["task"]["editable"])
    wrong = [f"{ours} for {true}" for ours, true in zip(values, journey.truth, strict=True) if ours != true]
    wrong += [task["run"]["command"]] if not task["run"]["command"].startswith(journey.command) else []
    return "right" if not wrong else f"wrong: {'; '.join(map(str, wrong))}"


if __name__ == "__main__":
    main()
