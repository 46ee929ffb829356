"""What an experiment needs beside its repository: an interpreter with packages, data in the user's cache, a GPU."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from programs.errors import UsageError
from trainer.foreign.facts import Fact
from trainer.foreign.repository import Repository

FLAG = "--readable"
_CACHE = re.compile(r"""["'](\.cache)["']\s*,\s*["']([\w.-]{1,60})["']|~/\.cache/([\w.-]{1,60})""")
_GPU = re.compile(r"""torch\.cuda\.|\.cuda\(|device\s*=\s*["']cuda|nvidia-smi|\bnvcc\b|jax\.devices\(["']gpu""")
_ENVIRONMENTS = (".venv", "venv")


def find(repository: Repository, given: Sequence[str]) -> list[Fact]:
    """Paths that the command must see, and what stands in the way of running it here."""
    facts = [Fact("readable", _absolute(path), "given", FLAG) for path in given]
    facts += _packages(repository)
    seen: set[str] = set()
    for file in [*repository.code, *repository.prose]:
        for line in repository.lines(file):
            for match in _CACHE.finditer(line.text):
                path = f"~/.cache/{match[2] or match[3]}"
                if path in seen or "metaloop" in path:
                    continue
                seen.add(path)
                there = Path(path).expanduser().is_dir()
                note = "shown read-only" if there else "not there yet: prepare the data first, then init again"
                facts.append(Fact("readable", path if there else None, line.where, FLAG, f"{path}: {note}"))
    gpu = next((line for file in repository.code for line in repository.lines(file) if _GPU.search(line.text)), None)
    if gpu is not None:
        facts.append(Fact("gpu", None, gpu.where, "", "asks for a GPU: the sandbox of a command shows none"))
    return facts


def _absolute(text: str) -> str:
    """A path as task.toml may name it; what starts with ``~/`` keeps its place in a home. UsageError if it is none."""
    path = Path(text).expanduser().absolute()
    if not path.exists():
        raise UsageError(f"{FLAG} {text}: is not there", hint="name a file or folder of this machine")
    return text if text.startswith("~/") else str(path)


def _packages(repository: Repository) -> list[Fact]:
    """A virtual environment in the repository, with the interpreter that it stands on."""
    for name in _ENVIRONMENTS:
        folder = repository.folder / name
        python = folder / "bin" / "python"
        if folder.is_symlink() or not (folder / "pyvenv.cfg").is_file() or not os.path.lexists(python):
            continue
        facts = [Fact("readable", str(folder), name, FLAG, "its packages; first on PATH")]
        base = Path(os.path.realpath(python)).parent.parent
        outside = not base.is_relative_to("/usr") and not base.is_relative_to(folder)
        if outside and any((base / "lib").glob("python3*/os.py")):
            facts.append(Fact("readable", str(base), f"{name}/bin/python", FLAG, "the interpreter of that environment"))
        return facts
    wanted = next((one for one in ("uv.lock", "pyproject.toml", "requirements.txt") if _has(repository, one)), None)
    if wanted is None:
        return []
    note = "no .venv: runs with Metaloop's own interpreter; make one there (uv sync) for packages of its own"
    return [Fact("packages", None, wanted, FLAG, note)]


def _has(repository: Repository, name: str) -> bool:
    return (repository.folder / name).is_file()
