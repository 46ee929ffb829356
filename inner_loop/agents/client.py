"""Runs inside an agent's sandbox: the commands `experiment`, `python`, `python3`, `uv`, one script with several names.

It uses only the standard library; `inner_loop.agents.worktree` puts its text on the sandbox's PATH. It sends a request
to the bench through the socket $METALOOP_DOOR and prints the answer. `uv run train.py`, `python train.py` and a foreign
repository's own command ($METALOOP_COMMAND) also request an experiment and print a training's output, so a stock
program.md works unchanged. Any other use of these programs runs directly. The bench trusts nothing here: a process that
uses the socket without this script gets the same answers.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import NoReturn

_UNREACHABLE = 4
_PYTHON_FLAGS = ("-u", "-B", "-E", "-s", "-O", "-I", "-P")
USAGE = """\
experiment [-m TEXT] [--because ID]... [--fraction F] [--again] [--json]
    train the work tree as it is now and print the result; the source must have changed unless --again is given,
    which trains the same source with a new seed
experiment status          budget, head, the last experiments
experiment log [NUMBER]    output of train.py
experiment directives      ids for --because
The bench keeps what is better than the head. Your commits and resets move only your files.
"""


def main(name: str, arguments: list[str]) -> int:
    if name == "experiment":
        return _experiment(arguments)
    words = [name, *arguments]
    if _asks(_plain(words)):
        return ask("run", style="log")
    if name == "uv":
        if arguments[:1] != ["run"]:
            print("uv: the environment is complete; nothing can be installed in it", file=sys.stderr)
            return 0 if arguments[:1] == ["sync"] else 1
        words = _after_uv(words)
    if words:
        _become(words)
    return 0


def _asks(plain: list[str]) -> bool:
    """Whether a command line starts the training script, or is $METALOOP_COMMAND, called in the work tree, with any
    seed and budget."""
    import re
    import shlex

    worktree = os.environ.get("METALOOP_WORKTREE", "")
    entry = os.path.join(worktree, os.environ.get("METALOOP_ENTRY", "train.py"))
    if plain[:1] == ["python"] and plain[1:] and os.path.realpath(plain[1]) == os.path.realpath(entry):
        return True
    command = _plain(shlex.split(os.environ.get("METALOOP_COMMAND", "")))
    if not command or os.path.realpath(os.getcwd()) != os.path.realpath(worktree):
        return False
    pattern = re.escape(" ".join(command))
    for name in ("seed", "budget"):
        pattern = pattern.replace(re.escape(f"{{{name}}}"), r"\S+")
    return re.fullmatch(pattern, " ".join(plain)) is not None


def _plain(words: list[str]) -> list[str]:
    """A command line without what makes no difference: variables before it, `uv run`, Python's flags, `./`."""
    rest = list(words)
    while rest and "=" in rest[0]:
        del rest[0]
    if rest[:2] == ["uv", "run"]:
        rest = _after_uv(rest)
    if rest and _is_python(rest[0]):
        rest[0] = "python"
        while rest[1:2] and rest[1] in _PYTHON_FLAGS:
            del rest[1]
    return [word.removeprefix("./") for word in rest]


def _after_uv(words: list[str]) -> list[str]:
    """`uv run X` is X, because all dependencies are there already."""
    rest = words[2:]
    while rest and rest[0].startswith("-"):
        del rest[0]
    return ["python3", *rest] if rest and rest[0].endswith(".py") else rest


def _is_python(word: str) -> bool:
    return os.path.basename(word).startswith("python")


def _experiment(arguments: list[str]) -> int:
    """The command line of `experiment`; its exit code comes from the bench."""
    import argparse

    verbs = ("run", "status", "log", "directives")
    parser = argparse.ArgumentParser("experiment", usage=USAGE, add_help=False)
    parser.add_argument("verb", nargs="?", choices=verbs, default="run")
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("-m", "--message", default="")
    parser.add_argument("--because", action="append", default=[])
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--json", dest="style", action="store_const", const="json", default="text")
    parser.add_argument("-h", "--help", action="store_true")
    options = vars(parser.parse_args(arguments))
    if options.pop("help"):
        print(USAGE, end="")
        return 0
    return ask(**options)


def _become(words: list[str]) -> NoReturn:
    """Replace this process by the next program of that name on PATH; Python by the usual interpreter."""
    name = os.environ.get("METALOOP_PYTHON", words[0]) if _is_python(words[0]) else words[0]
    own_folder = os.path.dirname(os.path.abspath(__file__))
    folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder != own_folder]
    for folder in folders if "/" not in name else [""]:
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            os.execv(path, words)
    print(f"{name}: not found", file=sys.stderr)
    sys.exit(127)


def ask(verb: str, **more: object) -> int:
    """Send a request, print the answer, and return its exit code. A run without a message has HEAD's subject as its
    message, if the editable files are as committed."""
    if verb == "run" and not more.get("message"):
        names = [name for name in os.environ.get("METALOOP_EDITABLE", "").split(":") if name]
        if _git("diff", "--quiet", "HEAD", "--", *names) is not None:
            more["message"] = (_git("log", "-1", "--format=%s") or "")[:300]
    body = json.dumps({"verb": verb, **more}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.connect(os.environ.get("METALOOP_DOOR", "/run/metaloop/door"))
            server.sendall(body)
            answer = b"".join(iter(lambda: server.recv(1 << 16), b""))
        reply = json.loads(answer)
    except (OSError, ValueError) as error:
        print(f"experiment: no answer from the bench ({error}); this run may be over", file=sys.stderr)
        return _UNREACHABLE
    print(reply["text"], end="" if reply["text"].endswith("\n") else "\n")
    return int(reply["code"])


def _git(*words: str) -> str | None:
    """The output of git in the work tree; None if it fails."""
    worktree = os.environ.get("METALOOP_WORKTREE", ".")
    try:
        done = subprocess.run(["git", "-C", worktree, *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main(os.path.basename(sys.argv[0]), sys.argv[1:]))
