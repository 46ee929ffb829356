"""Finds what an experiment needs outside its repository: an interpreter with packages, cached data, a GPU."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from programs.errors import UsageError
from trainer import login_keys
from trainer.foreign.facts import RepositoryFact
from trainer.foreign.repository import ForeignRepository
from trainer.gpus import survey

FLAG = "--readable"
DEVICE = "device"
LEAST_MEMORY_MB = 4096
_ABOVE = 1.25  # times the memory that the prose names
_CACHE = re.compile(
    r"""["']\.cache["']\s*[,/]\s*["']([\w./-]{1,200})["']|(?:~|\$HOME|\$\{HOME\})/\.cache/([\w./-]{1,200})"""
)
_FETCHED = re.compile(r"""(from_pretrained|load_dataset|snapshot_download)\(\s*["']([\w.-]+/[\w.-]+)["']""")
_COMMENT = re.compile(r"^\s*(#|//|--|\*|%|;)|\s#\s.*$|\s//\s.*$")
_HUB = "~/.cache/huggingface"
_GPU = re.compile(r"""torch\.cuda\.|\.cuda\(|device\s*=\s*["']cuda|nvidia-smi|\bnvcc\b|jax\.devices\(["']gpu""")
_EITHER = re.compile(r"cuda\.is_available|[\"']cpu[\"']|device_count\(\)|mps")
_ENVIRONMENTS = (".venv", "venv")
_PACKAGE_LISTS = ("uv.lock", "pyproject.toml", "requirements.txt")


def find(repository: ForeignRepository, given: Sequence[str]) -> list[RepositoryFact]:
    """Paths that the command needs to read, and obstacles to running it here."""
    facts = [RepositoryFact("readable", _absolute(path), "given", FLAG) for path in given]
    facts += _packages(repository)
    facts += _caches(repository)
    return facts + device(repository)


def device(repository: ForeignRepository) -> list[RepositoryFact]:
    """Whether experiments take a GPU: where the code uses one and this machine has one, or cannot do without."""
    code = list(repository.lines(*repository.code))
    line = next((line for line in code if _GPU.search(line.text)), None)
    if line is None:
        return []
    here, other = survey(torch=False), any(_EITHER.search(one.text) for one in code)
    if here.gpus:
        return [RepositoryFact(DEVICE, "gpu", line.where, "", f"uses a GPU; here is {here.gpus[0].name}")]
    if other:
        return [
            RepositoryFact(DEVICE, "cpu", line.where, "", f"would use a GPU; here it runs on the CPU: {here.reason}")
        ]
    return [RepositoryFact(DEVICE, "gpu", line.where, "", f"needs a GPU, and nothing runs here: {here.reason}")]


def offline(repository: ForeignRepository) -> dict[str, str]:
    """Variables that keep a library from asking its hub, where the code loads models or data sets from one."""
    fetches = any(_FETCHED.search(_COMMENT.sub("", line.text)) for line in repository.lines(*repository.code))
    return {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"} if fetches else {}


def memory_mb(on_gpu: bool, named: float) -> int:
    """Limit of the memory of an experiment's processes: with a GPU, for which much is kept, 3/4 of the machine's.
    Above what the prose names (``named``), so that its own limit is measured before this one kills."""
    if not on_gpu:
        return max(LEAST_MEMORY_MB, round(named * _ABOVE))
    return max(
        round(named * _ABOVE),
        LEAST_MEMORY_MB,
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 3 // 4 // 2**20,
    )


def _caches(repository: ForeignRepository) -> list[RepositoryFact]:
    """Folders of the user's cache that the code names. Folders mentioned only in comments or prose are not shown.

    Of a cache that programs share, only the folder of the downloaded model or data set is shown.
    """
    facts: dict[str, RepositoryFact] = {}
    for line in repository.lines(*repository.code, *repository.prose):
        code = "" if line.file in repository.prose else _COMMENT.sub("", line.text)
        for kind, name in _FETCHED.findall(code):
            folder = name.replace("/", "--")
            sets = [f"{_HUB}/hub/datasets--{folder}", f"{_HUB}/datasets/{name.replace('/', '___').lower()}"]
            for path in [f"{_HUB}/hub/models--{folder}"] if kind == "from_pretrained" else sets:
                if Path(path).expanduser().is_dir():
                    facts.setdefault(
                        path, RepositoryFact("readable", path, line.where, FLAG, f"{path}: shown read-only")
                    )
        named = {_own(match) for match in _CACHE.finditer(code)}
        for path in dict.fromkeys(_own(match) for match in _CACHE.finditer(line.text)):
            if "metaloop" not in path and not (path in facts and facts[path].is_known):
                facts[path] = _cache(path, path in named, line.where)
    return list(facts.values())


def _own(match: re.Match[str]) -> str:
    """The repository's folder in the cache; for a cache that programs share, the full path as written."""
    parts = (match[1] or match[2]).strip("/").split("/")
    deep = parts if parts[0].lower() in login_keys.SHARED_CACHES else parts[:1]
    return "/".join(["~/.cache", *deep])


def _cache(path: str, in_code: bool, where: str) -> RepositoryFact:
    there = Path(path).expanduser()
    if not in_code:
        return RepositoryFact("cache", None, where, FLAG, f"{path}: only mentioned, not shown; {FLAG} {path} shows it")
    if reason := login_keys.refusal(there):
        return RepositoryFact("cache", None, where, FLAG, f"{path}: {reason}")
    note = "shown read-only" if there.is_dir() else "does not exist yet: prepare the data first, then init again"
    return RepositoryFact("readable", path if there.is_dir() else None, where, FLAG, f"{path}: {note}")


def _absolute(text: str) -> str:
    """A path for task.toml; one that starts with ``~/`` stays as written. UsageError if it may not be shown."""
    path = Path(text).expanduser().absolute()
    if reason := login_keys.refusal(path):
        raise UsageError(f"{FLAG} {text}: {reason}", hint="name a folder that contains only data")
    if not path.exists():
        raise UsageError(f"{FLAG} {text}: does not exist", hint="name a file or folder of this machine")
    return text if text.startswith("~/") else str(path)


def _packages(repository: ForeignRepository) -> list[RepositoryFact]:
    """A virtual environment in the repository, and its base interpreter."""
    for name in _ENVIRONMENTS:
        folder = repository.folder / name
        python = folder / "bin" / "python"
        if folder.is_symlink() or not (folder / "pyvenv.cfg").is_file() or not os.path.lexists(python):
            continue
        facts = [RepositoryFact("readable", str(folder), name, FLAG, "its packages; first on PATH")]
        base = Path(os.path.realpath(python)).parent.parent
        outside = not base.is_relative_to("/usr") and not base.is_relative_to(folder)
        if outside and any((base / "lib").glob("python3*/os.py")):
            facts.append(
                RepositoryFact("readable", str(base), f"{name}/bin/python", FLAG, "the interpreter of that environment")
            )
        return facts
    wanted = next((one for one in _PACKAGE_LISTS if (repository.folder / one).is_file()), None)
    if wanted is None:
        return []
    note = "no .venv: runs with Metaloop's interpreter and packages; make one there (uv sync) for its own packages"
    return [RepositoryFact("packages", None, wanted, FLAG, note)]
