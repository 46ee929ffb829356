"""The reward of a program: its verified gain over stock on a task, by `metaloop match` and `metaloop sql`.

Both programs run from the same seeds with the same budget, and each run's final train.py is trained again on seeds and
data that no run saw. The same program, task and seed always give the same reward (steps are fixed, not seconds).
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meta.mutators.llm.reply import BadReply, build_child, parse_reply
from programs.common.errors import ProgramError
from programs.program import Program
from programs.shelf import starter

MOST_CHARACTERS = 60_000  # of a program
REFUSED = -1.0  # for a reply that contains no program that metaloop accepts
RUNS_SQL = "SELECT p.name, r.run_seed, r.verified_gain AS gain FROM runs r JOIN programs p USING (program_id)"
_PROGRAM = re.compile(r"<program>\n?(.*?)</program>", re.DOTALL)
_FENCE = re.compile(r"\A```\w*\n(.*)\n```\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Reward:
    """``reward``: the gain over stock divided by ``scale``, or REFUSED; ``se`` is over the run seeds, None for one."""

    reward: float
    gain: float | None = None
    se: float | None = None
    n: int = 0
    refusal: str = ""


def program_of(reply: str, parents: Sequence[str] = ()) -> str:
    """The program of a reply: of a JSON object that changes ``parents``, what it makes of them; else the text between
    <program> tags, or the whole reply without a code fence around it. Raises BadReply, ProgramError."""
    if parents:
        return build_child([Program.parse(text) for text in parents], parse_reply(reply))
    tagged = _PROGRAM.findall(reply)
    text = tagged[-1] if tagged else reply.strip()
    fenced = _FENCE.match(text.strip())
    return (fenced[1] if fenced else text).strip() + "\n"


def reward(
    reply: str,
    task: str,
    parents: Sequence[str] = (),
    *,
    seed: int = 0,
    runs: int = 4,
    scale: float = 1.0,
    timeout: float = 3600.0,
) -> Reward:
    """Run the program of a reply and stock on ``task`` (a name or a folder), ``runs`` times each. ``parents``: the
    programs that the reply changes, where it is one of an exported prompt.

    ``scale``: gain that counts as a reward of 1, in the unit of the task's metric. Raises RuntimeError where the runs
    could not be carried out, which says nothing about the program.
    """
    try:
        text = program_of(reply, parents)
    except (BadReply, ProgramError) as bad:
        return Reward(REFUSED, refusal=str(bad))
    if len(text) > MOST_CHARACTERS:
        return Reward(REFUSED, refusal=f"a program of {len(text)} characters")
    with tempfile.TemporaryDirectory(prefix="metaloop-reward-") as folder:
        path = Path(folder, "written.md")
        path.write_text(text, encoding="utf-8", errors="replace")
        checked = metaloop("program", "lint", str(path), timeout=timeout)
        if checked.returncode:
            return Reward(REFUSED, refusal=last_line(checked))
        if Program.parse(text).program_id == starter("stock").program_id:
            return Reward(0.0, 0.0)
        flags = ["--no-controls", "-j", "1", "-r", "scripted", "--seed", str(seed), "-n", str(runs)]
        flags += ["--set", "fixed_steps=true"]
        study = str(Path(folder, "study"))
        played = metaloop("match", str(path), "stock", "-t", task, *flags, "-s", study, timeout=timeout)
        if played.returncode:
            raise RuntimeError(f"metaloop match failed: {last_line(played)}")
        rows = metaloop("sql", study, RUNS_SQL, "--json", timeout=timeout)
        if rows.returncode:
            raise RuntimeError(f"metaloop sql failed: {last_line(rows)}")
    return compared(json.loads(rows.stdout), scale)


def compared(rows: list[dict[str, object]], scale: float) -> Reward:
    """The mean difference over the seeds that both have."""
    gains: dict[str, dict[object, float]] = {"written": {}, "stock": {}}
    for row in rows:
        gain = row["gain"]
        if isinstance(gain, int | float) and math.isfinite(gain):
            gains[str(row["name"])][row["run_seed"]] = float(gain)
    pairs = [gain - gains["stock"][seed] for seed, gain in gains["written"].items() if seed in gains["stock"]]
    if not pairs:
        return Reward(REFUSED, refusal="no run of it ended with a verified script")
    mean, n = math.fsum(pairs) / len(pairs), len(pairs)
    se = math.sqrt(math.fsum((one - mean) ** 2 for one in pairs) / (n - 1) / n) if n > 1 else None
    return Reward(mean / scale, mean, se, n)


def metaloop(*words: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """The command, as a user types it."""
    command = [sys.executable, "-m", "meta.cli.start", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def last_line(ran: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (ran.stderr or ran.stdout).splitlines() if line.strip()]
    return next(
        (line for line in lines if line.startswith("error") or "\terror\t" in line),
        lines[-1] if lines else "no message",
    )[:300]
