"""Each option that a message, a hint or a template names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.cli.options import model_settings
from meta.cli.reference import commands

ROOT = Path(__file__).parents[2]
PACKAGES = ("analysis", "arena", "inner_loop", "meta", "programs", "trainer")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?![\w-]*\{)")
#: Of other programs: git, pip, docker, systemd-run, ray, curl, and `experiment` of an agent.
OTHERS = (
    "--help --stdout --no-hardlinks --ref-format --hard --no-ext-diff --no-textconv --no-renames --no-color "
    "--src-prefix --dst-prefix --no-walk --stdin --format --force-reinstall --upgrade --security-opt --scope --head "
    "--data-binary --fraction --again"
)
COMMANDS = [command for _, command in commands()]
KNOWN = {name for command in COMMANDS for one in command.params for name in (*one.opts, *one.secondary_opts)} | set(
    OTHERS.split()
)
SETTINGS = {name for command in COMMANDS for name in getattr(command, "settings", ())} | {*model_settings(), "help"}


def literals(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each string that is no docstring and no single word of another program's command line."""
    if file.suffix != ".py":
        yield from enumerate(file.read_text("utf-8").splitlines(), 1)
        return
    tree = ast.parse(file.read_text("utf-8"))
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docs = {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and " " in node.value.strip()
        ):
            yield node.lineno, node.value


def false_options(text: str) -> list[str]:
    """The options that a text names and no command has, and the settings after ``--set``."""
    options = [word for word in OPTION.findall(text) if word not in KNOWN]
    cut = [word for word in options if text.endswith(word) and any(name.startswith(word) for name in KNOWN)]
    return [word for word in options if word not in cut] + [
        f"--set {name}" for name in re.findall(r"--set ([a-z]\w*)=", text) if name not in SETTINGS
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_options_that_messages_name_exist(package: str) -> None:
    files = [file for end in ("py", "j2", "sql", "html") for file in sorted((ROOT / package).rglob(f"*.{end}"))]
    texts = [(file, line, text) for file in files for line, text in literals(file)]
    wrong = [f"{file.relative_to(ROOT)}:{line}: {name}" for file, line, text in texts for name in false_options(text)]
    assert texts and wrong == []


def test_names_of_settings_and_unknown_options_are_false_options() -> None:
    assert false_options("init again with --metric-file F, --set reedable=PATH") == ["--metric-file", "--set reedable"]
    assert false_options("--set readable=PATH, --metric NAME, is more than --max-") == []
