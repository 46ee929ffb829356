"""Would the tests notice? Mutations drawn in Python files, each tried on the tests in a copy of the tree.

    python -m bench.mutants draw FILE… [-n 20] [--seed 1] [--tests TEST…]      exit status 1 if any survives

A mutation changes one comparison, constant, boolean or arithmetic operator, or deletes one statement. The tests are
those given, or the test files that name the mutated module, slow tests apart. Where no test names it, or one fails
without the mutation, the mutation counts as not run.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bench.common import figure, share_interval

ROOT = Path(__file__).resolve().parents[1]
PAIRS = [
    (ast.Eq, ast.NotEq), (ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Is, ast.IsNot), (ast.In, ast.NotIn),
    (ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.FloorDiv, ast.Mod),
]  # fmt: skip
SWAPPED: dict[type[Any], type[Any]] = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
FIXED = ("annotation", "returns", "decorator_list", "defaults", "kw_defaults")  # fields of nodes, left as they are
COPY = """set -e
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$1"
cp -rl "$2" "$1/.venv"  # hard links, but its packages are the copy's
cd "$1" && git init -q && git add -A  # some tests ask git which files there are
find .venv/bin .venv/lib/*/site-packages/__editable__* -type f -print0 | xargs -0 sed -i "s|$2|$1/.venv|g; s|$3|$1|g"
"""


@dataclass(frozen=True)
class Mutation:
    file: str  # below the tree
    kind: str
    line: int
    before: str
    after: str
    text: str  # the whole file with the mutation


def replacement(node: ast.AST) -> tuple[str, ast.AST] | None:
    """The kind of mutation that a node allows, and the new node."""
    match node:
        case ast.Compare(left=left, ops=[operator], comparators=right) if type(operator) in SWAPPED:
            return "comparison", ast.Compare(left, [SWAPPED[type(operator)]()], right)
        case ast.BinOp(left=first, op=operation, right=second) if type(operation) in SWAPPED:
            return "arithmetic", ast.BinOp(first, SWAPPED[type(operation)](), second)
        case ast.BoolOp(op=connective, values=values):
            return "boolean operator", ast.BoolOp(SWAPPED[type(connective)](), values)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return "boolean operator", operand
        case ast.Constant(value=int() | float() as value):
            return "constant", ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Raise() | ast.Continue() | ast.Break():
            return "statement deleted", ast.Pass()
    return None


def places(node: ast.AST) -> Iterator[tuple[Any, str, ast.AST]]:
    """Each node that may change, the kind, and the new node. Parts of f-strings have wrong positions: left out."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and name not in FIXED and not isinstance(child, ast.JoinedStr | ast.pattern):
                if found := replacement(child):
                    yield child, *found
                yield from places(child)


def mutations(file: str, text: str) -> Iterator[Mutation]:
    """Every mutation of a file."""
    raw, lines = text.encode(), text.encode().splitlines(keepends=True)
    for node, kind, new in places(ast.parse(text)):
        starts = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
        ends = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
        after = f"({ast.unparse(new)})" if isinstance(new, ast.expr) else ast.unparse(new)
        mutated = (raw[:starts] + after.encode() + raw[ends:]).decode()
        yield Mutation(file, kind, node.lineno, " ".join(raw[starts:ends].decode().split()), after, mutated)


def draw(files: Sequence[str], count: int, seed: int) -> list[Mutation]:
    """Mutations of the files, the kinds by turns."""
    rng, by_kind = random.Random(seed), dict[str, list[Mutation]]()
    for file in files:
        for mutation in mutations(file, (ROOT / file).read_text("utf-8")):
            by_kind.setdefault(mutation.kind, []).append(mutation)
    by_turns = zip_longest(*(rng.sample(found, len(found)) for _, found in sorted(by_kind.items())))
    return [mutation for turn in by_turns for mutation in turn if mutation is not None][:count]


def naming_tests(file: str) -> list[str]:
    """The test files that name a module."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package, _, name = module.rpartition(".")
    names = re.compile(rf"\b{re.escape(module)}\b|from {re.escape(package)} import (\([^)]*|[^\n]*)\b{name}\b")
    return [str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("tests/**/test_*.py")) if names.search(p.read_text())]


def passes(tree: Path, tests: Sequence[str]) -> bool:
    words = ["timeout", "900", f"{tree}/.venv/bin/python", "-m", "pytest", *tests, "-x", "-n", "0"]
    around = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "VIRTUAL_ENV", "PYTHONPATH"))}
    return subprocess.run(words, cwd=tree, env=around, capture_output=True, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["draw"])
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("-n", type=int, default=20, help="mutations to draw")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", nargs="+", help="instead of those that name the module")
    given = parser.parse_args()
    counts, sound = Counter[str](), dict[str, bool]()
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=ROOT.parent) as folder:
        tree = Path(folder)
        subprocess.run(["bash", "-c", COPY, "copy", folder, sys.prefix, str(ROOT)], cwd=ROOT, check=True)
        for number, drawn in enumerate(draw(given.files, given.n, given.seed)):
            tests, file = given.tests or naming_tests(drawn.file), tree / drawn.file
            if drawn.file not in sound:
                sound[drawn.file] = bool(tests) and passes(tree, tests)
            state = "not run"
            if sound[drawn.file]:
                file.write_text(drawn.text, "utf-8")
                os.utime(file, (1e9 + number,) * 2)  # by this, Python tells whether a compiled copy is of the text
                state = "survived" if passes(tree, tests) else "killed"
                shutil.copy2(ROOT / drawn.file, file)
            counts[state] += 1
            print(f"{state}: {drawn.file}:{drawn.line}: {drawn.before} → {drawn.after}", flush=True)
    tried = counts["killed"] + counts["survived"]
    low, high = share_interval(counts["killed"], tried)
    figure("killed", f"{counts['killed']} of {tried} [{low:.3f}, {high:.3f}]", "≥ 95%")
    figure("not run", counts["not run"], "0")
    return int(counts["survived"] > 0)


if __name__ == "__main__":
    sys.exit(main())
