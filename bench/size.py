"""The size of each part: thousand tokens against its budget in size.toml, and lines of Python.

python -m bench.size      exit status 1 where a part is over its budget

A token is a name, operator, number or string of Python's tokenizer. Comments and docstrings do not count, so that
dense lines and cut docstrings gain nothing.
"""

from __future__ import annotations

import sys
import tokenize
import tomllib
from collections import Counter
from pathlib import Path

from bench.common import figure

ROOT = Path(__file__).resolve().parents[1]
COUNTED = {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}
BEFORE_DOCSTRING = {tokenize.ENCODING, tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL}
ATTACKS = ("redteam", "hostile", "attacks")  # tests that attack are wanted, so they are not counted


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


def line_count(file: Path) -> int:
    return file.read_bytes().count(b"\n")


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


def budgets(root: Path = ROOT) -> dict[str, float]:
    """Thousand tokens that each part may have."""
    table: dict[str, float] = tomllib.loads((root / "size.toml").read_text("utf-8"))["thousand_tokens"]
    return table


def core(root: Path = ROOT) -> list[Path]:
    """The files of the core; raises ValueError for a pattern that names no file."""
    files: set[Path] = set()
    for pattern in tomllib.loads((root / "size.toml").read_text("utf-8"))["core"]:
        named = set(root.glob(pattern))
        if not named:
            raise ValueError(f"size.toml: no file is named {pattern}")
        files |= named
    return sorted(files)


def main() -> int:
    budget = budgets()
    measured = sizes(ROOT, list(budget))
    for part, (thousand, lines) in measured.items():
        figure(part, f"{thousand:.1f} thousand tokens, {lines:,} lines", f"≤ {budget[part]:g} thousand tokens")
    figure("core", f"{sum(map(line_count, core())):,} lines in {len(core())} files")
    return int(any(thousand > budget[part] for part, (thousand, _) in measured.items()))


if __name__ == "__main__":
    sys.exit(main())
