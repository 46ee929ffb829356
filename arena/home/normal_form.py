"""Child processes that parse what strangers sent, within limits: some texts take minutes or gigabytes.

As a program, this file reads a JSON object of Python sources by name, and prints for each its syntax tree without
layout, comments and docstrings, or the fault of the first that is not Python. It imports nothing but the standard
library.
"""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

CPU_SECONDS = 2  # an honest source of 64 KB takes a tenth of one
WALL_SECONDS = 60.0
MEMORY = 1 << 30  # of address space


def confine(cpu_seconds: int) -> None:
    """Limit this process for good."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def limited_python(words: Sequence[str], request: object) -> dict[str, Any] | None:
    """The answer of a Python process with these arguments, which confines itself; None where a limit ended it."""
    try:
        done = subprocess.run(
            [sys.executable, *words],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=WALL_SECONDS,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return answer


def normal_form(text: str) -> str:
    """The dump of the tree. Raises SyntaxError, ValueError, RecursionError or MemoryError."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            body[:] = [statement for statement in body if not has_no_effect(statement)]
    return ast.dump(tree)


def has_no_effect(node: ast.stmt) -> bool:
    """A statement that only states a constant, as docstrings do, or nothing."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def main() -> None:
    confine(CPU_SECONDS)
    settings: dict[str, str] = {}
    for name, text in json.load(sys.stdin).items():
        try:
            settings[name] = normal_form(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            json.dump({"fault": f"{name} is not Python: {error}"[:200]}, sys.stdout)
            return
    json.dump({"found": settings}, sys.stdout)


if __name__ == "__main__":
    main()
