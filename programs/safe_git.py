"""git that executes nothing of a repository that may come from someone else.

A repository's configuration and hooks can name programs. So git never runs in the repository of another: it runs in an
empty one of ours that reads the other's objects (`borrow`), without the user's configuration, without network, and with
limits on time, memory and output.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from programs.files import read_regular

SECONDS = 600.0
MOST_OUTPUT = 64 << 20
MOST_REFS_BYTES = 16 << 20
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_ALLOC_LIMIT": "512m",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}
_CONFIG = """[core]
\trepositoryformatversion = 0
\tbare = true
\tbigFileThreshold = 400k
\tattributesFile = /dev/null
\thooksPath = /dev/null
"""
_NO_PROGRAMS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")


def run(words: Sequence[str], data: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A git command that reads ``data``; it is ended after SECONDS, or when it prints more than MOST_OUTPUT."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(data)
        stdin.seek(0)
        with subprocess.Popen(
            ["git", *_NO_PROGRAMS, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**own, **ENVIRONMENT, **environment},
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                out = process.stdout.read(MOST_OUTPUT + 1)
                if len(out) > MOST_OUTPUT:
                    process.kill()
                code = process.wait()
            finally:
                timer.cancel()
        stderr.seek(0)
        return subprocess.CompletedProcess(list(words), code, out, stderr.read(1 << 16))


def borrow(ours: Path, objects: Path, main: str = "") -> None:
    """Creates an empty repository that also reads the other's objects; ``main``: the commit of its branch."""
    (ours / "objects" / "info").mkdir(parents=True)
    (ours / "refs" / "heads").mkdir(parents=True)
    (ours / "HEAD").write_text("ref: refs/heads/main\n")
    (ours / "config").write_text(_CONFIG)
    path = str(objects.resolve())
    if "\n" in path:
        raise ValueError("its path contains a line break")
    (ours / "objects" / "info" / "alternates").write_text(path + "\n")
    if main:
        (ours / "refs" / "heads" / "main").write_text(f"{main}\n")


def branch_of(git_folder: Path, branch: str) -> str:
    """The hash that a reference's file or packed-refs names; empty if there is none. Raises OSError, or Corrupt."""
    try:
        return _hash(read_regular(git_folder / branch, 1_000).decode("ascii", "replace"))
    except FileNotFoundError:
        pass
    try:
        packed = read_regular(git_folder / "packed-refs", MOST_REFS_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    rows = (line.partition(" ") for line in packed.splitlines())
    return next((_hash(name) for name, _, ref in rows if ref == branch), "")


def _hash(text: str) -> str:
    text = text.strip()
    return text if len(text) == 40 and set(text) <= set("0123456789abcdef") else ""
