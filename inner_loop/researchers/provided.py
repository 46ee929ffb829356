"""What the editable files of a task use of its read-only Python files, as their texts describe it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

from inner_loop.researchers.quoting import sentences_of
from trainer.task import Task
from trainer.values.constants import syntax_tree

ABOUT, MOST = 280, 400  # characters of one description, and of all


def provided(task: Task) -> list[str]:
    """One line for each name that is used and described: ``load_train()``: its docstring. Empty where a file is no
    Python or nothing is described; as many lines as MOST characters hold."""
    trees = [tree for _, text in task.baseline().files if (tree := syntax_tree(text))]
    lines: list[str] = []
    for name in task.read_only:
        path = task.folder / name
        tree = syntax_tree(path.read_text("utf-8", "replace")) if name.endswith(".py") and path.is_file() else None
        module = PurePosixPath(name).stem
        lines += _described(tree, module, {used for one in trees for used in _used(one, module)}) if tree else ()
    fitting = [sum(map(len, lines[: at + 1])) <= MOST for at in range(len(lines))]
    return [text for text, fits in zip(lines, fitting, strict=True) if fits]


def _used(tree: ast.Module, module: str) -> Iterator[str]:
    """The names of a module that a file uses: ``module.name``, or imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module:
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2] == module:
            yield from (alias.name for alias in node.names)


def _described(tree: ast.Module, module: str, used: set[str]) -> Iterator[str]:
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name):
            names = [name.id for name in node.targets if isinstance(name, ast.Name)]
            about: ast.FunctionDef | ast.ClassDef | None = classes.get(node.value.func.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names, about = [node.name], node
        else:
            continue
        text = " ".join((ast.get_docstring(about) or "").split()) if about else ""
        if text and not used.isdisjoint(names):
            yield f"`{module}.{names[0]}`: {sentences_of(text, ABOUT)}"
