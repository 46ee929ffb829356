"""The size of the project: tokens and lines of each part and of the core, each beside its limit and its target.

python -m bench.size      exit status 1 where a number is over its limit in size.toml

A token is a name, operator, number or string of Python's tokenizer. Comments and docstrings do not count, so that
dense lines and cut docstrings gain nothing.
"""

from __future__ import annotations

import ast
import sys
import tokenize
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from programs.common.text import word_list

ROOT = Path(__file__).resolve().parents[1]
COUNTED = {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}
BEFORE_DOCSTRING = {tokenize.ENCODING, tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL}
ATTACKS = ("redteam", "hostile", "attacks")  # tests that attack are wanted, so they are not counted
PACKAGES = ("meta", "arena", "analysis", "inner_loop", "trainer", "programs")
NOT_CORE = ("trainer/sandbox/", "trainer/inside/", "trainer/tasks/", "meta/cli/")
TEXTS = (".sql", ".j2", ".html", ".js", ".css", ".toml", ".jinja")

#: words that do not say what they hold
VAGUE = frozenset(
    word_list(
        "found told asked said given made named shown gone again there here own mine one each on by place places kit"
        " crew staff desk purse toll seat hand frontier shelf parcel steward keeper feed broom crown wish dial"
    )
)


def tokens(file: Path) -> int:
    """Tokens of one file; raises SyntaxError or tokenize.TokenError where it is no Python."""
    count, before = 0, tokenize.ENCODING
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.COMMENT:
                continue
            is_docstring = token.type == tokenize.STRING and before in BEFORE_DOCSTRING
            count += token.type in COUNTED and not is_docstring
            before = token.type
    return count


def line_count(*files: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in files)


def sizes(root: Path, parts: list[str]) -> dict[str, tuple[float, int]]:
    """(thousand tokens, lines of Python) of each part; a file belongs to the most specific part that contains it."""
    thousands: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for file in sorted({file for part in parts for file in (root / part).rglob("*.py")}):
        name = file.relative_to(root).as_posix()
        if "__pycache__" in name or (name.startswith("tests/") and any(word in name for word in ATTACKS)):
            continue
        part = max((part for part in parts if name.startswith(f"{part}/")), key=len)
        thousands[part] += tokens(file)
        lines[part] += line_count(file)
    return {part: (thousands[part] / 1000, lines[part]) for part in parts}


def settings(root: Path = ROOT) -> dict[str, Any]:
    """What size.toml says: `core_roots`, and a limit and a target for each part and each count."""
    return tomllib.loads((root / "size.toml").read_text("utf-8"))


def imports(file: Path) -> set[str]:
    """Modules that a file imports, also inside functions; not those that only a type checker sees."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
    return names


def core(roots: list[str], root: Path = ROOT) -> list[Path]:
    """The roots (files, and the files of folders) with all that they import; raises ValueError for a missing root."""
    modules: dict[str, Path] = {}
    for file in (file for package in PACKAGES for file in (root / package).rglob("*.py")):
        path = file.relative_to(root).with_suffix("")
        modules[".".join(path.parent.parts if path.name == "__init__" else path.parts)] = file
    waiting = [
        file for name in roots for file in ((root / name).glob("*.py") if (root / name).is_dir() else [root / name])
    ]
    if missing := [str(file) for file in waiting if not file.is_file()]:
        raise ValueError(f"size.toml: no such root of the core: {', '.join(missing)}")
    found: set[Path] = set()
    while waiting:
        if (file := waiting.pop()) not in found:
            found.add(file)
            waiting += [modules[name] for name in imports(file) & modules.keys()]
    return sorted(file for file in found if not file.relative_to(root).as_posix().startswith(NOT_CORE))


def vague_names(files: list[Path]) -> int:
    """How many identifiers are words of VAGUE: names, arguments, functions and classes."""
    number = 0
    for file in files:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = (getattr(node, field, None) for field in ("id", "arg", "name"))
            number += any(isinstance(name, str) and name in VAGUE for name in names)
    return number


def counts(roots: list[str], root: Path = ROOT) -> dict[str, int]:
    """The numbers that size.toml limits beside tokens."""
    texts = [file for package in PACKAGES for file in (root / package).rglob("*") if file.suffix in TEXTS]
    core_files = core(roots, root)
    return {
        "files of the core": len(core_files),
        "lines of the core": line_count(*core_files),
        "vague names in the core": vague_names(core_files),
        "lines of SQL, templates, JS and TOML": line_count(*(file for file in texts if "shipped" not in file.parts)),
        "lines of TOML and shell in bench": line_count(
            *(root / "bench").rglob("*.toml"), *(root / "bench").rglob("*.sh")
        ),
        "lines of docs, docs/log apart": line_count(
            *(f for f in (root / "docs").rglob("*.md") if "log" not in f.parts)
        ),
        "lines of LOG.md": line_count(root / "LOG.md"),
        "words of README.md": len((root / "README.md").read_text("utf-8").split()),
    }


def main() -> int:
    listed = settings()
    parts = sizes(ROOT, list(listed["thousand_tokens"]))
    rows = [
        (f"{part}, thousand tokens", round(size, 1), listed["thousand_tokens"][part])
        for part, (size, _) in parts.items()
    ]
    rows += [(name, number, listed["counts"][name]) for name, number in counts(listed["core_roots"]).items()]
    print(f"{'':38}{'now':>10}{'limit':>10}{'target':>10}")
    for name, number, row in rows:
        print(f"{name:38}{number:>10,}{row['limit']:>10,}{row['target']:>10,}")
    product = [size for part, size in parts.items() if part.split("/")[0] in PACKAGES]
    thousand, lines = (round(sum(column)) for column in zip(*product, strict=True))
    print(f"product: {thousand} thousand tokens, {lines:,} lines of Python")
    print("lines of Python:", ", ".join(f"{part} {lines:,}" for part, (_, lines) in parts.items()))
    return int(any(number > row["limit"] for _, number, row in rows))


if __name__ == "__main__":
    sys.exit(main())
