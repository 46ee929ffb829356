"""git as a command, without the configuration of the user or of a repository, without network, and with limits on time,
memory and output."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from programs.common.errors import EnvironmentProblem
from programs.common.text import one_line, word_list

SECONDS = 600.0
MOST_OUTPUT = 64 << 20
ENVIRONMENT = {
    "GIT_DIR": "/dev/null",  # unless a command names one: no repository above the current folder
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_ALLOC_LIMIT": "512m",
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "LC_ALL": "C",
}
NO_VARIABLES: Mapping[str, str] = {}
_OPTIONS = word_list(
    "-c core.hooksPath=/dev/null -c core.attributesFile=/dev/null -c core.fsmonitor=false -c core.multiPackIndex=false"
    " -c core.commitGraph=false -c core.bigFileThreshold=400k -c log.showSignature=false"
)


def run(
    words: Sequence[str], data: bytes = b"", most: int | None = None, environment: Mapping[str, str] = NO_VARIABLES
) -> subprocess.CompletedProcess[bytes]:
    """A git command that reads ``data``; it is killed after SECONDS, or when it prints more than ``most`` bytes (else
    MOST_OUTPUT), of which the result then has one more."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    most = most or MOST_OUTPUT
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(data)
        stdin.seek(0)
        with subprocess.Popen(
            ["git", *_OPTIONS, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**variables, **ENVIRONMENT, **environment},
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                out = process.stdout.read(most + 1)
                if len(out) > most:
                    process.kill()
                code = process.wait()
            finally:
                timer.cancel()
        stderr.seek(0)
        code = -signal.SIGKILL if len(out) > most else code  # it may have ended before
        return subprocess.CompletedProcess(list(words), code, out, stderr.read(1 << 16))


def run_in(folder: Path, *words: str, data: bytes = b"") -> str:
    """What git prints in a work tree that we have made and no other process uses. Turns its errors, usually a full
    disk, into one line."""
    done = run(["--git-dir", str(folder / ".git"), "--work-tree", str(folder), *words], data)
    if done.returncode:
        problem = one_line(done.stderr.decode(errors="replace"), 300)
        hint = "free disk space or repair the folder, then run the same command again: nothing is lost"
        raise EnvironmentProblem(f"{folder}: git {words[0]} failed: {problem}", hint=hint)
    return done.stdout.decode(errors="replace").strip()
