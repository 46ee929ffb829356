"""Would the tests notice? Runs them on mutated copies of the tree; a mutation that no test notices is a survivor.

    python -m bench.mutants [--only NAME ...] [--sample N] [--full] [--processes 2]     exit status 1 if any survives
    python -m bench.mutants draw --seed 14 -n 75 > bench/mutants_drawn.toml

Mutations stand in bench/mutants.toml (by hand, and the areas from which others are drawn) and in
bench/mutants_drawn.toml, which was drawn and committed before it was first run. Each is applied to a copy of the tree,
never to the tree itself, and the tests named with it run there until one fails; with --full the whole default suite. A
test that failed runs again on the copy without the mutation: if it fails there too, that says nothing about the
mutation. Slow tests do not count.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import tomli_w

from bench.common import figure, share_interval
from bench.mutations import LostError, Mutation, apply, draw

ROOT = Path(__file__).resolve().parents[1]
TABLE, DRAWN = ROOT / "bench" / "mutants.toml", ROOT / "bench" / "mutants_drawn.toml"
MOST_SECONDS = 900.0  # of the tests of one mutation; one that never ends is noticed
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """What became of a mutation: killed, survived, equivalent, or unclear (a test fails without it, too)."""

    mutation: Mutation
    state: str
    by: str  # the test that noticed
    seconds: float


class Copy:
    """A copy of the tree with a virtual environment of its own: hard links to ours, but its packages are the copy's."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True,
            text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file():
                (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.tree / name)
        for command in (["init", "-q"], ["add", "-A"]):  # some tests ask git which files there are
            subprocess.run(["git", *command], cwd=self.tree, check=True)
        self.python = self._environment()
        self._clock = time.time() - 1e6

    def _environment(self) -> Path:
        ours, theirs = Path(sys.prefix), self.tree / ".venv"
        shutil.copytree(ours, theirs, symlinks=True, copy_function=os.link)
        for path in (*theirs.glob("bin/*"), *theirs.glob("lib/*/site-packages/__editable__*metaloop*")):
            if path.is_symlink() or not path.is_file():
                continue
            raw = path.read_bytes()
            if str(ROOT).encode() in raw or str(ours).encode() in raw:
                path.unlink()  # a hard link: what is written to it would be written to ours
                raw = raw.replace(str(ours).encode(), str(theirs).encode())
                path.write_bytes(raw.replace(str(ROOT).encode() + b"/", str(self.tree).encode() + b"/"))
                path.chmod(0o755)
        return theirs / "bin" / "python"

    def write(self, name: str, text: str) -> None:
        """Each time under another time of change, by which Python tells whether its compiled copy is of this text."""
        self._clock += 10.0
        path = self.tree / name
        path.write_text(text, encoding="utf-8")
        os.utime(path, (self._clock, self._clock))

    def test(self, tests: Sequence[str], *, processes: str = "0") -> tuple[bool, str, str]:
        """(whether all passed, the first test that did not, what pytest printed)."""
        command = [self.python, "-m", "pytest", *tests, "-x", "-n", processes, "-q", "-p", "no:cacheprovider", "-rfE"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "VIRTUAL_ENV", "PYTHONPATH"))}
        with tempfile.TemporaryDirectory(prefix="pytest-", dir=self.tree.parent) as base:
            try:
                done = subprocess.run(
                    [*command, "--basetemp", f"{base}/t"], cwd=self.tree, env=environment, capture_output=True,
                    text=True, timeout=MOST_SECONDS, check=False,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return False, "", "out of time"
        failed = _FAILED.findall(done.stdout)
        return done.returncode == 0, failed[0] if failed else "", done.stdout[-3000:] + done.stderr[-2000:]


def run(mutation: Mutation, copy: Copy, full: bool) -> Ended:
    """Apply it, run its tests, take it back, and look whether the test that failed passes without it."""
    began = time.monotonic()
    original = (copy.tree / mutation.file).read_text(encoding="utf-8")
    copy.write(mutation.file, apply(mutation, original))
    try:
        passed, by, printed = copy.test(() if full else mutation.tests, processes="2" if full else "0")
    finally:
        copy.write(mutation.file, original)
    if passed:
        return Ended(mutation, "survived", "", time.monotonic() - began)
    if printed == "out of time":
        return Ended(mutation, "killed", "out of time", time.monotonic() - began)
    sound, _, clean = copy.test([by] if by else mutation.tests)
    if not sound:
        print(clean, file=sys.stderr)
    return Ended(mutation, "killed" if sound else "unclear", by or "collection", time.monotonic() - began)


def read() -> tuple[list[Mutation], dict[str, dict[str, list[str]]]]:
    """(all mutations, those by hand first; area → its files and tests)."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    drawn = tomllib.loads(DRAWN.read_text(encoding="utf-8")) if DRAWN.exists() else {}
    rows = [*table["mutant"], *drawn.get("mutant", [])]
    areas, by_file = table["area"], table["tests"]
    named = [row.get("tests") or by_file.get(row["file"]) or areas[row["area"]]["tests"] for row in rows]
    made = [Mutation(**row | {"tests": tuple(tests)}) for row, tests in zip(rows, named, strict=True)]
    twice = [name for name, count in Counter(m.name for m in made).items() if count > 1]
    if twice:
        raise SystemExit(f"two mutations of one name: {', '.join(twice)}")
    return made, areas


def lost(mutations: Sequence[Mutation]) -> list[str]:
    """A line for each mutation whose anchor is not there, or whose tests are not."""
    problems = []
    for mutation in mutations:
        try:
            apply(mutation, (ROOT / mutation.file).read_text(encoding="utf-8"))
        except (LostError, OSError, SyntaxError) as error:
            problems.append(str(error))
        missing = [test for test in mutation.tests if not (ROOT / test.partition("::")[0]).exists()]
        problems += [f"{mutation.name}: {test} is not there" for test in missing]
    return problems


def drawn(areas: dict[str, dict[str, list[str]]], seed: int, count: int) -> list[dict[str, Any]]:
    """The rows of so many mutations, the areas by turns; no two alike."""
    rng, rows, seen = random.Random(seed), [], set()
    names = sorted(areas)
    while len(rows) < count:
        area = names[len(rows) % len(names)]
        made = draw(area, areas[area]["files"], ROOT, rng)
        if (made.file, made.where, made.node, made.becomes) in seen:
            continue
        seen.add((made.file, made.where, made.node, made.becomes))
        made = replace(made, name=f"d{len(rows) + 1}-{made.name}")
        rows.append({key: value for key, value in asdict(made).items() if value or key == "where"})
    return rows


def measure(chosen: Sequence[Mutation], full: bool, processes: int) -> list[Ended]:
    ended: list[Ended] = []
    copies: SimpleQueue[Copy] = SimpleQueue()
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=ROOT.parent) as folder:
        for i in range(min(processes, len(chosen))):
            copies.put(Copy(Path(folder) / str(i)))

        def one(mutation: Mutation) -> None:
            copy = copies.get()
            try:
                ended.append(run(mutation, copy, full))
                print(f"{ended[-1].state}: {mutation.name} ({ended[-1].seconds:.0f} s) {ended[-1].by}", flush=True)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(one, chosen))
    return ended


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("run", "draw", "check"), default="run")
    parser.add_argument("--only", nargs="+", default=[], help="mutations whose names begin so")
    parser.add_argument("--sample", type=int, help="so many of them, drawn by --seed")
    parser.add_argument("--full", action="store_true", help="run the whole default suite, not only the tests named")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("-n", type=int, default=75, help="mutations to draw")
    parser.add_argument("--areas", nargs="+", help="areas to draw from, instead of all")
    given = parser.parse_args()
    mutations, areas = read()
    if given.what == "draw":
        wanted = {name: areas[name] for name in given.areas or areas}
        print(tomli_w.dumps({"mutant": drawn(wanted, given.seed, given.n)}, multiline_strings=True))
        return 0
    chosen = [m for m in mutations if not given.only or m.name.startswith(tuple(given.only))]
    problems = lost(chosen)
    print("\n".join(problems), end="\n" if problems else "")
    real = [m for m in chosen if not m.equivalent]
    if given.sample is not None:
        real = random.Random(given.seed).sample(real, min(given.sample, len(real)))
    figure("mutations", len(chosen), "≥ 100")
    figure("equivalent", len(chosen) - sum(not m.equivalent for m in chosen))
    figure("lost", len(problems), "0")
    if problems or given.what == "check":
        return int(bool(problems))
    ended = measure(real, given.full, given.processes)
    states = Counter(each.state for each in ended)
    low, high = share_interval(states["killed"], len(ended)) if ended else (None, None)
    figure("killed", f"{states['killed']} of {len(ended)} [{low:.3f}, {high:.3f}]", "≥ 98%")
    for state in ("survived", "unclear"):
        figure(state, states[state], "0")
        for each in ended:
            if each.state == state:
                print(f"  {each.mutation.name}: {each.mutation.file}, {each.mutation.where}: {each.mutation.node} → "
                      f"{each.mutation.becomes}")  # fmt: skip
    return int(states["killed"] < len(ended))


if __name__ == "__main__":
    sys.exit(main())
