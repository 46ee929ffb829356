"""Cures for a baseline that fails, chosen by its output."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.commands.view import HOME
from trainer.outcome import Outcome
from trainer.task import Task

_TOLD = (
    (
        r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]{1,60})'",
        "{0} is not installed: make a .venv in the repository (uv sync), then init again",
    ),
    (
        r"""(?:<frozen os>|/os\.py)", line \d+, in __getitem__\n(?:.*\n){0,3}KeyError: '(\w{1,60})'"""
        r"|(\w{1,60}): (?:unbound variable|parameter not set)",
        "the command does not get your variable {0}: put {0}=VALUE before it in --command, or into [run] environment",
    ),
    (r"Cannot find (?:module|package) '([\w@/.-]{1,80})'", "{0} is not installed: npm install, then init again"),
    (
        r"uv: (?:not found|No such file)",
        "uv needs the network, which the sandbox lacks: make a .venv in the repository, and use python train.py",
    ),
    (
        r"name resolution|getaddrinfo|ENOTFOUND|Network is unreachable|[Cc]ould not resolve host|service not known",
        "it needs the network, which the sandbox lacks: download the files first, then init with --set readable=PATH",
    ),
    (r"No space left on device", "[run] disk_mb = {disk_mb} is too small"),
    (r"No NVIDIA|CUDA (?:error|driver)|not compiled with CUDA|no CUDA", "it needs a GPU, which the sandbox lacks"),
    (r"(\S{1,80}): (?:Permission denied|cannot execute)", "add {0} to [run] executable if it is a program"),
    (
        r"(?:sh: \d+: |bash: (?:line \d+: )?)([\w./+-]{1,60}): (?:command )?not found",
        "{0} is not in the sandbox: install it, or add its folder to [run] readable",
    ),
    (
        r"No such file or directory: '([^'\n]{1,120})'|([\w./-]{1,120}): No such file|open '([^'\n]{1,120})'",
        "{0} is not in the task: run the setup step that makes it, or init with --set readable=PATH",
    ),
)


def _installed_elsewhere(module: str, task: Task) -> str:
    """The folder of a package that a shown environment only links to (pip install -e); empty if it has none."""
    for environment in map(Path, task.run.readable if task.run else ()):
        packages = environment.expanduser().glob("lib/python*/site-packages")
        for link in (link for site in packages for end in ("*.pth", "__editable__*.py") for link in site.glob(end)):
            for installed_path in re.findall(
                r"^/.*$|(?<=')/[^'\n]+(?=')", link.read_text("utf-8", "replace"), re.MULTILINE
            ):
                folder = Path(installed_path).parent if Path(installed_path).name == module else Path(installed_path)
                if (folder / module).is_dir() or (folder / f"{module}.py").is_file():
                    return str(folder)
    return ""


_BROKEN = re.compile(r"^Traceback \(most recent call last\)|^thread '.*' panicked at|Segmentation fault|core dumped")


def traceback_in(log: str) -> str:
    """The last line of the first traceback that a program printed, or of another report of a crash; empty without."""
    lines = log.splitlines()
    start = next((number for number, line in enumerate(lines) if _BROKEN.search(line)), None)
    if start is None:
        return ""
    ends = (line for line in lines[start + 1 :] if line[:1].strip() and not line.startswith("During handling"))
    return (next(ends, "") if lines[start].startswith("Traceback") else lines[start]).strip()[:200]


def cure(outcome: Outcome, task: Task) -> str:
    """One line: the first cure whose pattern matches the output, otherwise a cure for the status."""
    log = outcome.log[-4000:].replace(f"{HOME}/", "~/")
    score_files = task.run.score_files if task.run else []
    for name in score_files:
        if re.search(rf"(?:No such file|No module|not found|can't open).*\b{re.escape(Path(name).stem)}\b", log):
            others = " ".join(f"--set score_files={other}" for other in score_files if other != name)
            others = others or "--set score_files=none"
            return f"the training does not see {name}: [run] score_files has it; without it, init with {others}"
    if (module := re.search(_TOLD[0][0], log)) and (origin := _installed_elsewhere(module[1].partition(".")[0], task)):
        where = f"{module[1]} is installed from {origin}, which the sandbox does not show"
        return f"{where}: init with --set readable={origin}"
    disk = task.run.disk_mb if task.run else 0
    for pattern, words in _TOLD if outcome.status in ("crash", "invalid") else ():
        if match := re.search(pattern, log):
            return words.format(*[text for text in match.groups() if text], disk_mb=disk)
    if outcome.status == "timeout":
        return f"[budget] seconds = {task.budget_seconds:g} is too small, or hard_factor is"
    if outcome.status == "oom":
        return f"[budget] memory_mb = {task.memory_mb} is too small"
    if outcome.status == "invalid":
        last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
        printed = f"its last line of output is {last[:60]!r}" if last else "it printed nothing"
        rows = task.scoring["rows"]
        if rows and rows in outcome.reason:
            return f"let the command write one number for each row to {rows} (docs/night.md), or correct [score] rows"
        return f"{printed}; correct [score] pattern, or init again with --metric NAME, --set metric_file=FILE"
    return "the unchanged files must run: try the command in a fresh copy of the repository, without the network"
