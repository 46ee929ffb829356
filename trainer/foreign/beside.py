"""Reports files that a repository needs but does not contain: links to the outside, Git LFS files, submodules."""

from __future__ import annotations

import os
import re
from pathlib import Path

from trainer.foreign.facts import RepositoryFact
from trainer.foreign.repository import ForeignRepository

FLAG = "--readable"
_POINTER = "version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024
_MODULE = re.compile(r"^\s*path\s*=\s*(\S.*?)\s*$", re.MULTILINE)
_PACKAGES = "node_modules"


def links(repository: ForeignRepository, readable: tuple[str, ...]) -> dict[str, str]:
    """Name in the repository → target: paths that the user allowed, links inside the repository, its own packages.

    A link out of the repository is used only if the user names its target, because it may point to the user's keys.
    """
    root, shown = repository.folder, {}
    named = [Path(os.path.realpath(Path(text).expanduser())) for text in readable]
    for name in repository.links:
        real = Path(os.path.realpath(root / name))
        if any(real.is_relative_to(path) for path in named):
            shown[name] = str(real)
        elif real.is_relative_to(root) and str(real.relative_to(root)) in repository.files:
            shown[name] = os.path.relpath(real, (root / name).parent)
    for text, path in zip(readable, named, strict=True):
        if path.is_relative_to(root) and path != root and ".venv" not in path.parts:
            shown[str(path.relative_to(root))] = str(Path(text).expanduser().absolute())
    if (root / _PACKAGES).is_dir() and not (root / _PACKAGES).is_symlink():
        shown[_PACKAGES] = str(root / _PACKAGES)
    return shown


def missing(repository: ForeignRepository, led: dict[str, str]) -> list[RepositoryFact]:
    """One fact for each missing file, link or submodule, with the command that provides it."""
    facts = []
    for name in repository.links:
        if name not in led:
            target = os.path.realpath(repository.folder / name)
            note = f"a link, not followed; --readable {target} shows it" if os.path.exists(target) else "a broken link"
            facts.append(RepositoryFact("left out", name, note, FLAG))
    for name, (size, _) in repository.files.items():
        if size < _POINTER_BYTES and repository.text(name).startswith(_POINTER):
            facts.append(
                RepositoryFact("not there", name, f"{name}:1", "", "stored in Git LFS: git lfs pull, then init again")
            )
    for name in _MODULE.findall(_modules(repository.folder)):
        folder = repository.folder / name
        if not (folder.is_dir() and any(folder.iterdir())):
            note = "a submodule: git submodule update --init, then init again"
            facts.append(RepositoryFact("not there", name, ".gitmodules", "", note))
    return facts


def _modules(folder: Path) -> str:
    path = folder / ".gitmodules"
    return path.read_text("utf-8", "replace") if path.is_file() and not path.is_symlink() else ""
