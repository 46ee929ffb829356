"""The files of the user's repository, listed and read as data, without following links or running git; and what else of
the machine its command is shown: packages, caches, data elsewhere.

``git ls-files`` would use the repository's configuration, which can start programs (git-config(1), core.fsmonitor).
"""

from __future__ import annotations

import fnmatch
import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from programs import folder as program_folder
from programs.common.errors import Corrupt, MetaloopError, NotFound, UsageError
from programs.common.files import read_regular
from trainer.sandbox import login_keys

_FOLDERS = {"__pycache__", "node_modules", "target", "wandb", "runs", "build", "dist", "studies"}
_LEFT_OUT = (
    "*.pyc",
    "*.o",
    "*.so",
    "results.tsv",
    "run.log",
    "*.log",
    "task.toml",
    "card.json",
    "check.json",
    "uv.lock",
)
_MOST_FILES, _MOST_MB, _DEEPEST = 2_000, 256, 12
_FOR_AGENTS = ("program.md", "agents.md", "claude.md", "task.md", "prompt.md")
_PROSE = {"readme.txt", "readme", "notes.txt", "instructions.txt"}  # beside .md and .rst
_TEXT_BYTES, _LINE = 1 << 20, 400
HUB = "~/.cache/huggingface"
_ENVIRONMENTS = (".venv", "venv")


@dataclass(frozen=True)
class RepositoryLine:
    """One line of a text of the repository: ``where`` is FILE:LINE."""

    file: str
    number: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.number}"


@dataclass(frozen=True)
class OwnRepository:
    """``files``: name → (bytes, executable); ``left_out``: "name: reason" for skipped files that may matter.

    ``links``: name → target of the link, which is not followed.
    """

    folder: Path
    files: dict[str, tuple[int, bool]]
    left_out: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict, compare=False)

    def text(self, name: str) -> str:
        """A file's text; empty if the file is large, binary or gone."""
        if name not in self._texts:
            self._texts[name] = _read(self.folder / name)
        return self._texts[name]

    def lines(self, *names: str) -> Iterator[RepositoryLine]:
        """The lines of files, without very long ones, which are usually generated."""
        for name in names:
            for number, text in enumerate(self.text(name).splitlines(), 1):
                if len(text) <= _LINE:
                    yield RepositoryLine(name, number, text)

    @cached_property
    def prose(self) -> list[str]:
        """The files with instructions for agents or people."""
        names = {name: name.lower() for name in self.files}
        return [
            name for name, low in names.items()
            if low in _PROSE or (low.endswith((".md", ".rst")) and low.count("/") < 2)
        ]  # fmt: skip

    @cached_property
    def program(self) -> list[str]:
        """The program beside the code: the first page for agents, and the pages that it names, if it can be read."""
        pages = {name.lower(): name for name in self.files}
        first = [pages[name] for name in _FOR_AGENTS if name in pages][:1]
        with suppress(MetaloopError):
            programs = [program_folder.load(self.folder / name) for name in first]
            first += [path for program in programs for path, _ in (*program.files, *program.living)]
        return first

    @cached_property
    def code(self) -> list[str]:
        """All other text files, those near the top first."""
        rest = [name for name in self.files if name not in self.prose and self.files[name][0] <= _TEXT_BYTES]
        return sorted(rest, key=lambda name: (name.count("/"), name))


def read(folder: Path, exclude: Sequence[str] = (), shown: Sequence[str] = ()) -> OwnRepository:
    """List a repository without ``shown``, which is mounted in place. NotFound; UsageError if it is too large."""
    root = folder.expanduser().resolve()
    if not root.is_dir():
        raise NotFound(f"{folder}: no such folder", hint="name the folder of a repository")
    files: dict[str, tuple[int, bool]] = {}
    left: list[str] = []
    links: dict[str, str] = {}
    in_place = [path for text in shown if (path := Path(text).expanduser().resolve()).is_relative_to(root)]
    for name, form in _walk(root, "", 0, left, links):
        if any(fnmatch.fnmatch(part, pattern) for pattern in _LEFT_OUT for part in (name, Path(name).name)):
            continue
        if any(fnmatch.fnmatch(name, pattern) or name.startswith(f"{pattern.rstrip('/')}/") for pattern in exclude):
            left.append(f"{name}: excluded")
            continue
        if any((root / name).is_relative_to(path) for path in in_place):
            continue
        files[name] = form.st_size, bool(form.st_mode & stat.S_IXUSR)
        if len(files) > _MOST_FILES:
            raise UsageError(f"{folder}: more than {_MOST_FILES} files", hint="leave some out: --set exclude='data/*'")
    if sum(size for size, _ in files.values()) > _MOST_MB << 20:
        name = max(files, key=lambda one: files[one][0])
        message = f"{folder}: more than {_MOST_MB} MB of files, most of it {name} ({files[name][0] >> 20} MB)"
        data = shlex.quote(str(root / name.split("/")[0]))
        raise UsageError(
            message, hint=f"mount data in place: --set readable={data}; or leave it out: --set exclude=NAME"
        )
    return OwnRepository(root, dict(sorted(files.items())), tuple(left), links)


def _walk(
    root: Path, inner: str, depth: int, left: list[str], links: dict[str, str]
) -> Iterator[tuple[str, os.stat_result]]:
    try:
        entries = sorted(os.scandir(root / inner), key=lambda entry: entry.name)
    except OSError as error:
        left.append(f"{inner or '.'}: {error.strerror}")
        return
    for entry in entries:
        name = f"{inner}/{entry.name}" if inner else entry.name
        form = entry.stat(follow_symlinks=False)
        if not name.isprintable():  # this includes names that are not UTF-8
            left.append(f"{inner or '.'}: a name with unprintable characters")
        elif stat.S_ISDIR(form.st_mode):
            if entry.name in _FOLDERS or entry.name.startswith(".") or (Path(entry.path) / "pyvenv.cfg").is_file():
                continue  # a virtual environment can have any name, and a package may be called env
            if depth >= _DEEPEST:
                left.append(f"{name}: nested too deeply")
                continue
            yield from _walk(root, name, depth + 1, left, links)
        elif stat.S_ISREG(form.st_mode):
            if login_keys.holds_key(Path(entry.path)):
                left.append(f"{name}: may contain keys")
            elif not entry.name.startswith(".") or entry.name == ".python-version":
                yield name, form
        elif stat.S_ISLNK(form.st_mode):
            links[name] = os.readlink(entry.path)
        else:
            left.append(f"{name}: not a regular file")


def _read(path: Path) -> str:
    """The text of a file, up to a limit; never through a link, and not from a pipe that replaced the file."""
    try:
        data = read_regular(path, _TEXT_BYTES)
    except (OSError, Corrupt):
        return ""
    return "" if b"\0" in data else data.decode("utf-8", "replace")


def readable_text(text: str) -> str:
    """A path for task.toml; one that starts with ``~/`` stays as written. UsageError if it may not be shown."""
    path = Path(text).expanduser().absolute()
    if reason := login_keys.refusal(path):
        raise UsageError(f"--set readable={text}: {reason}", hint="name a folder that contains only data")
    if not path.exists():
        raise UsageError(f"--set readable={text}: does not exist", hint="name a file or folder of this machine")
    return text if text.startswith("~/") else str(path)


def packages_of(source: OwnRepository) -> list[str]:
    """The virtual environment of the repository, and its interpreter if that is elsewhere."""
    for name in _ENVIRONMENTS:
        folder = source.folder / name
        python = folder / "bin" / "python"
        if (folder / "pyvenv.cfg").is_file() and not folder.is_symlink() and os.path.lexists(python):
            base = Path(os.path.realpath(python)).parent.parent
            outside = not base.is_relative_to("/usr") and not base.is_relative_to(folder)
            return [str(folder), *([str(base)] if outside and any((base / "lib").glob("python3*/os.py")) else [])]
    return []


def hub_of(source: OwnRepository) -> list[str]:
    """The folders of models, kernels and data sets of Hugging Face that are on this machine and named in the code."""
    code = "\n".join(source.text(name) for name in source.code).lower()
    hubs = []
    hub = Path(HUB).expanduser()
    for path in [*sorted(hub.glob("hub/*--*")), *sorted(hub.glob("datasets/*___*"))]:
        name = path.name.replace("___", "/") if "___" in path.name else "/".join(path.name.split("--")[1:])
        if path.is_dir() and name.lower() in code:
            hubs.append(f"{HUB}/{path.parent.name}/{path.name}")
    return hubs


def links_of(source: OwnRepository, readable: Sequence[str]) -> dict[str, str]:
    """Name in the repository → where it leads: links within it, its own node_modules, and what the user allows to be
    read. Another link out of the repository is left out, because it may lead to the user's keys."""
    root, links = source.folder, {}
    targets = {text: Path(os.path.realpath(Path(text).expanduser())) for text in readable}
    for name in source.links:
        real = Path(os.path.realpath(root / name))
        if any(real.is_relative_to(path) for path in targets.values()):
            links[name] = str(real)
        elif real.is_relative_to(root) and str(real.relative_to(root)) in source.files:
            links[name] = os.path.relpath(real, (root / name).parent)
    for text, path in targets.items():
        if path.is_relative_to(root) and path != root:
            links[str(path.relative_to(root))] = str(Path(text).expanduser().absolute())
    node = root / "node_modules"
    return links | ({node.name: str(node)} if node.is_dir() and not node.is_symlink() else {})
