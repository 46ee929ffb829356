"""Functions of analysis and meta that return prose: a string literal of three words or more in a return statement.

python -m bench.prose [COMMIT]      of the working tree, or of a commit
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.common import figure

PARTS = ("analysis", "meta")
HOME = Path(__file__).parent.parent


def says(node: ast.AST) -> bool:
    """Whether there is prose in it, an f-string's words taken together."""
    if isinstance(node, ast.JoinedStr):
        text = " x ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        return sum(word.isalpha() for word in text.split()) > 2
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) > 2


def prose(source: str) -> int:
    """How many functions of a module return some."""
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return sum(
        any(says(part) for node in ast.walk(one) if isinstance(node, ast.Return) for part in ast.walk(node))
        for one in functions
    )


def sources(part: str, commit: str) -> Iterator[str]:
    if not commit:
        yield from (path.read_text("utf-8") for path in sorted((HOME / part).rglob("*.py")))
        return
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", commit, part], cwd=HOME, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        if name.endswith(".py"):
            yield subprocess.run(
                ["git", "show", f"{commit}:{name}"], cwd=HOME, capture_output=True, text=True, check=True
            ).stdout


def main(commit: str = "") -> None:
    for part in PARTS:
        figure(f"functions of {part} that return prose", sum(map(prose, sources(part, commit))))


if __name__ == "__main__":
    main(*sys.argv[1:])
