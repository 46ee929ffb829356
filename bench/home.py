"""A shared project on this machine: four honest and two hostile volunteers; its tests under laws with a known truth.

python -m bench.home [--minutes 10]
python -m bench.home tests [PROPOSALS [PROJECTS]]        default: 10,000 in each of 20 projects

Fixed before it ran: `kill -9` of one honest volunteer every 20 seconds and of the host once, half way. One hostile
volunteer claims large gains for worthless changes, the other moderate gains for harmful ones, each every two seconds.
Printed: blocks, those of hostile volunteers, what was acknowledged and is not in the database, requests a second.

tests: proposals tested one after the other by the product's own test. Fixed before it ran: laws of the noise of a
paired difference (in its standard deviations), shares of proposals that are true gains, their size. A proposal without
gain has a mean of exactly 0, the hardest case that is still false. A flood is a project without any true gain. Printed
for each: false merges for 1,000 merged, the share of true gains that were merged, pairs for each proposal. Intervals
are those of shares (Clopper and Pearson) over all projects.
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from arena.home.e_values import HOPE, LEAST_PAIRS, MOST_PAIRS, PRIOR, level
from arena.home.project import Project, ProposalRow
from arena.home.protocol import Introduction, ProjectAbout, Proposal, ProposalAnswer, Welcome, parsed
from arena.home.state import state_of
from arena.home.volunteer import HostClient, Unreachable, stored
from bench.common import METALOOP, figure, share_interval

SEED, KILL_SECONDS = 20261124, 20.0
HONEST, HOSTILE = 4, ("worthless", "harmful")
PORT = 8441
URL = f"http://127.0.0.1:{PORT}"
Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Floats]
PROPOSALS, PROJECTS = 10_000, 20
SHARES = (0.0, 0.02, 0.1, 0.5)  # of proposals with a true gain
SIZES = (1.0, 2.0, 4.0)  # of a true gain, in standard deviations of a difference


def _rare_failure(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """One pair in fifty loses ten standard deviations, and the others make up for it: mean 0."""
    return np.where(rng.random(shape) < 0.02, -10.0, 10 * 0.02 / 0.98) + rng.standard_normal(shape)


LAWS: dict[str, Law] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails (t, 3 degrees)": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),
    "skewed, long tail of gains": lambda rng, shape: rng.standard_exponential(shape) - 1,
    "skewed, long tail of losses": lambda rng, shape: 1 - rng.standard_exponential(shape),
    "one pair in 50 fails": _rare_failure,
}


@dataclass(frozen=True)
class Courses:
    """For each proposal [m]: log e after each pair [m, n], and its projection on the last pair."""

    log_e: Floats
    projected: Floats

    @classmethod
    def of(cls, differences: Floats) -> Courses:
        n = np.arange(1, MOST_PAIRS + 1)
        mean = np.cumsum(differences, 1) / n
        squares = np.maximum(np.cumsum(differences**2, 1) - n * mean**2, 1e-12)
        variance = squares / np.maximum(n - 1, 1)
        hoped = mean + HOPE * np.sqrt(variance / n)
        last = np.full_like(mean, MOST_PAIRS)
        return cls(_log_e(n + 0.0 * mean, mean, squares), _log_e(last, hoped, variance * (MOST_PAIRS - 1)))

    def play(self, proposal: int, at: float) -> tuple[bool, int]:
        """Whether it is merged, and after how many pairs its test ends: `e_values.judge`, for a whole course."""
        bound = math.log(1 / at)
        crossed = self.log_e[proposal] >= bound
        ends = crossed | (self.projected[proposal] < bound) & (np.arange(1, MOST_PAIRS + 1) >= LEAST_PAIRS)
        ends[-1] = True
        last = int(np.argmax(ends))
        return bool(crossed[last]), last + 1


def _log_e(n: Floats, mean: Floats, squares: Floats) -> Floats:
    k, r = PRIOR / (n + PRIOR), n * mean**2 / squares
    value = 0.5 * np.log(k) + 0.5 * n * (np.log1p(r) - np.log1p(k * r))
    return np.where((mean > 0) & (n > 1), value, 0.0)


def tested_project(
    law: Law, true_share: float, size: float, proposals: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """False merges, true merges, true gains, pairs of one project."""
    true = rng.random(proposals) < true_share
    courses = Courses.of(law(rng, (proposals, MOST_PAIRS)) + np.where(true, size, 0.0)[:, None])
    merged, false, pairs = 0, 0, 0
    for t in range(proposals):
        crossed, spent = courses.play(t, level(t + 1, merged))
        merged += crossed
        false += crossed and not true[t]
        pairs += spent
    return np.array([false, merged - false, int(true.sum()), pairs])


def tests(proposals: int = PROPOSALS, projects: int = PROJECTS) -> None:
    rng = np.random.default_rng(SEED)
    figure("budget", f"{projects} projects of {proposals} proposals each; at most {MOST_PAIRS} pairs a proposal")
    for name, law in LAWS.items():
        for true_share in SHARES:
            for size in SIZES if true_share else (0.0,):
                counts = np.sum([tested_project(law, true_share, size, proposals, rng) for _ in range(projects)], 0)
                false, right, true, pairs = map(int, counts)
                low, high = share_interval(false, max(1, false + right))
                power = f"merged {right / true:.3f} of the true gains; " if true else ""
                figure(
                    f"{name}, {true_share:.0%} gain {size:g} SD",
                    f"false {false} of {false + right} merged, {1000 * false / max(1, false + right):.2f} in 1,000 "
                    f"[{1000 * low:.2f}, {1000 * high:.2f}]; {power}{pairs / (projects * proposals):.1f} pairs each",
                )


def hostile(name: str) -> None:
    """Claims what is not so, without any training."""
    client, drawn = HostClient(URL), random.Random(SEED)
    client.token = parsed(Welcome, client.ask("/api/v1/volunteers", Introduction(name=name))).token
    while True:
        with suppress(Unreachable):
            main = parsed(ProjectAbout, client.ask("/api/v1/project"))
            text, claim = f"{main.files['train.py']}\nUNUSED = {drawn.random()}\n", 1.0
            if name == "harmful":
                worse, claim = f"LR = {drawn.random() / 1000}", 0.2
                text = re.sub(r"^LR = .*", worse, main.files["train.py"], flags=re.MULTILINE)
            client.ask("/api/v1/proposals", Proposal(base=main.commit, files={"train.py": text}, gain=claim))
        time.sleep(2.0)


@dataclass
class Fleet:
    """The processes of one project, in ``folder``."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def serve(self) -> None:
        words = ("home", "serve", str(self.folder / "project"), "--port", str(PORT))
        self.start("host", METALOOP, *words, "--set", "max_pairs_a_day=1000000")
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{URL}/api/v1/project", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        sys.exit("the host does not answer")

    def join(self, name: str) -> None:
        self.start(name, METALOOP, "home", "join", URL, "--name", name, "--set", f"folder={self.folder / name}", "-y")

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """Of the one process; those that it started end with it."""
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait()


def requests_a_second(seconds: float) -> float:
    """Of one client that keeps its connection, for the page."""
    connection, count, until = http.client.HTTPConnection("127.0.0.1", PORT), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        connection.request("GET", "/")
        connection.getresponse().read()
        count += 1
    return count / seconds


def play(folder: Path, minutes: float) -> None:
    subprocess.run([METALOOP, "home", "init", str(folder / "project")], check=True, stdout=subprocess.DEVNULL)
    fleet, drawn = Fleet(folder), random.Random(SEED)
    fleet.serve()
    figure("requests a second, nothing else running", f"{requests_a_second(5.0):.0f}", "200")
    honest = [f"honest-{k}" for k in range(HONEST)]
    for name in honest:
        fleet.join(name)
    for name in HOSTILE:
        fleet.start(name, sys.executable, "-m", "bench.home", "hostile", name)
    began, is_host_killed = time.monotonic(), False
    while (left := began + 60 * minutes - time.monotonic()) > 0:
        time.sleep(min(KILL_SECONDS, left))
        victim = drawn.choice(honest)
        fleet.kill(victim)
        fleet.join(victim)
        if not is_host_killed and time.monotonic() - began > 30 * minutes:
            is_host_killed = True
            fleet.kill("host")
            fleet.serve()
    for name in (*honest, *HOSTILE):
        fleet.kill(name)
    fleet.kill("host", signal.SIGTERM)
    report(folder, honest)


def report(folder: Path, honest: list[str]) -> None:
    """What became of the project with strangers."""
    project = Project.open(folder / "project")
    state = state_of(project)
    with project.database.read() as connection:
        known = set(connection.scalars(select(ProposalRow.proposal_id)))
    answers = [stored(path, ProposalAnswer) for name in honest for path in (folder / name).glob("runs/*/answer.json")]
    acknowledged = {answer.proposal for answer in answers if answer and answer.proposal}
    merged = [block for block in state.blocks if block.proposal]
    figure("runs of honest volunteers", len(answers))
    figure("proposals acknowledged that are not in the database", len(acknowledged - known), "0")
    figure("proposals by state", json.dumps(state.counts))
    figure("blocks merged", len(merged))
    figure("blocks of hostile volunteers", sum(block.by.startswith(HOSTILE) for block in merged), "0")
    figure(f"gain of main over the baseline, {state.unit}", f"{state.gain:.4f}")
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(project.chain.folder), str(clone)], check=True)
    words = [METALOOP, "home", "audit", str(clone), "--blocks", "99", "--json"]
    audit = subprocess.run(words, capture_output=True, text=True, check=False)
    figure("verdicts of the audit", json.dumps(Counter(row["verdict"] for row in json.loads(audit.stdout)["items"])))


def main(*words: str) -> None:
    if words[:1] == ("tests",):
        tests(*map(int, words[1:]))
    elif words[:1] == ("hostile",):
        hostile(*words[1:])
    else:
        options = argparse.ArgumentParser(prog="python -m bench.home")
        options.add_argument("--minutes", type=float, default=10.0)
        with tempfile.TemporaryDirectory(prefix="metaloop-bench-home-") as folder:
            play(Path(folder), options.parse_args(words).minutes)


if __name__ == "__main__":
    main(*sys.argv[1:])
