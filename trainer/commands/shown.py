"""What a command is shown beside its files: packages, caches, data elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from programs.common.errors import UsageError
from trainer.commands.repository import OwnRepository
from trainer.sandbox import login_keys

HUB = "~/.cache/huggingface"
_ENVIRONMENTS = (".venv", "venv")


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
    found = []
    hub = Path(HUB).expanduser()
    for path in [*sorted(hub.glob("hub/*--*")), *sorted(hub.glob("datasets/*___*"))]:
        name = path.name.replace("___", "/") if "___" in path.name else "/".join(path.name.split("--")[1:])
        if path.is_dir() and name.lower() in code:
            found.append(f"{HUB}/{path.parent.name}/{path.name}")
    return found


def links_of(source: OwnRepository, readable: Sequence[str]) -> dict[str, str]:
    """Name in the repository → where it leads: links within it, its own node_modules, and what the user allows to be
    read. Another link out of the repository is left out, because it may lead to the user's keys."""
    root, shown = source.folder, {}
    named = {text: Path(os.path.realpath(Path(text).expanduser())) for text in readable}
    for name in source.links:
        real = Path(os.path.realpath(root / name))
        if any(real.is_relative_to(path) for path in named.values()):
            shown[name] = str(real)
        elif real.is_relative_to(root) and str(real.relative_to(root)) in source.files:
            shown[name] = os.path.relpath(real, (root / name).parent)
    for text, path in named.items():
        if path.is_relative_to(root) and path != root:
            shown[str(path.relative_to(root))] = str(Path(text).expanduser().absolute())
    node = root / "node_modules"
    return shown | ({node.name: str(node)} if node.is_dir() and not node.is_symlink() else {})
