"""A shared project: its tests under laws with a known truth, and a whole one with hostile volunteers and kills.

python -m bench.home tests [PROPOSALS [PROJECTS]]                         default: 10,000 in each of 20 projects
python -m bench.home play FOLDER [MINUTES [VOLUNTEERS [TASK [BUDGET]]]]   default: 10 minutes, 8, strokes

tests: proposals tested one after the other by the product's own test. Fixed before it ran: laws of the noise of a
paired difference (in its standard deviations), shares of proposals that are true gains, their size. A proposal without
gain has a mean of exactly 0, the hardest case that is still false. A flood is a project without any true gain. Printed
for each: false merges for 1,000 merged, the share of true gains that were merged, pairs for each proposal. Intervals
are those of shares (Clopper and Pearson) over all projects.

play: a host and volunteers on this machine. Fixed before it ran: the programs (stock, idea-queue, local), two hostile
volunteers (one claims large gains for worthless changes, one moderate gains for harmful ones, both as fast as their
quota allows), `kill -9` of one honest volunteer every 20 seconds and of the host once, half way. Afterwards the gain of
main over the baseline is measured on fresh seeds, and every block is audited from a clone.
"""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from arena.audit.verify import How, Sample, carry_out
from arena.home import volunteer
from arena.home.checks import source_of
from arena.home.client import HostClient, VolunteerFolder
from arena.home.e_values import HOPE, LEAST_PAIRS, MOST_PAIRS, PRIOR, level
from arena.home.project import Project
from arena.home.protocol import RunResult, RunWork
from arena.home.tables import BlockRow, Pair, ProposalRow, RunLease, Volunteer
from bench.common import METALOOP, figure, share_interval
from trainer.streams import Streams

SEED, KILL_SECONDS, SEEDS = 20261124, 20.0, 12
PROGRAMS = "stock,idea-queue,local"
HOSTILE = ("worthless", "harmful")
PORT = 8441
URL = f"http://127.0.0.1:{PORT}"
Floats = NDArray[np.float64]
Law = Callable[[np.random.Generator, tuple[int, int]], Floats]
PROPOSALS, PROJECTS = 10_000, 20
SHARES = (0.0, 0.02, 0.1, 0.5)  # of proposals with a true gain
SIZES = (1.0, 2.0, 4.0)  # of a true gain, in standard deviations of a difference


def _rare_failure(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """One pair in fifty loses ten standard deviations, and the others make up for it: mean 0."""
    failed = rng.random(shape) < 0.02
    return np.where(failed, -10.0, 10 * 0.02 / 0.98) + rng.standard_normal(shape)


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


class HostileSession(volunteer.VolunteerSession):
    """Claims what is not so, without any training."""

    def run(self, lease: RunWork) -> RunResult:
        time.sleep(2.0)
        text = lease.base.files["train.py"]
        if self.name == "worthless":
            files, claim = {"train.py": f"{text}\nUNUSED = {random.random()}\n"}, 1.0
        else:
            files, claim = {"train.py": text.replace("LR = 0.", f"LR = 0.00{random.randrange(10**6)}", 1)}, 0.2
        return RunResult(files=files, claimed_gain=claim, device_seconds=lease.budget, experiments=24, events="")


def hostile(folder: str, name: str) -> None:
    random.seed(SEED)
    session = HostileSession(HostClient(URL), VolunteerFolder(Path(folder)), name, volunteer.MOST_GB, lambda _: None)
    session.join()
    while True:
        session.step()


@dataclass
class Fleet:
    """The processes of one project."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def serve(self) -> None:
        self.start("host", METALOOP, "home", "serve", str(self.folder / "project"), "--port", str(PORT))
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

    def stop(self) -> None:
        for name in sorted(self.processes, key=lambda each: each == "host"):
            self.kill(name, signal.SIGKILL if name != "host" else signal.SIGTERM)


def play(folder: Path, minutes: float, count: int, task: str, budget: str) -> None:
    folder.mkdir(parents=True)
    words = ["home", "init", str(folder / "project"), "-t", task, "-p", PROGRAMS]
    subprocess.run([METALOOP, *words, *(["-b", budget] if budget else [])], check=True, stdout=subprocess.DEVNULL)
    fleet, drawn = Fleet(folder), random.Random(SEED)
    fleet.serve()
    honest = [f"honest-{k}" for k in range(count - len(HOSTILE))]
    for name in honest:
        fleet.join(name)
    for name in HOSTILE:
        fleet.start(name, sys.executable, "-m", "bench.home", "hostile", str(folder / name), name)
    began, host_killed = time.monotonic(), False
    while (left := began + 60 * minutes - time.monotonic()) > 0:
        time.sleep(min(KILL_SECONDS, left))
        victim = drawn.choice(honest)
        fleet.kill(victim)
        fleet.join(victim)
        if not host_killed and time.monotonic() - began > 30 * minutes:
            host_killed = True
            fleet.kill("host")
            fleet.serve()
    fleet.stop()
    report(fleet)


def gain_of_main(project: Project) -> tuple[float, float]:
    """Gain of the last main over block 0, in the task's unit, and its standard error, on fresh seeds."""
    commits = project.chain.commits()
    both = (("0", commits[0]), ("1", commits[-1]))
    sides = [Sample(name, source_of(project.chain.files(commit)), SEEDS) for name, commit in both]
    check = carry_out(project.task, sides, 1, How(Streams.from_seed(SEED), workers=2), lambda _: None)
    zero, last = ([value for value in check.taken[name].metrics if value is not None] for name in ("0", "1"))
    mean = [sum(side) / len(side) for side in (zero, last)]
    variances = [sum((v - m) ** 2 for v in side) / (len(side) - 1) for side, m in zip((zero, last), mean, strict=True)]
    se = (variances[0] / len(zero) + variances[1] / len(last)) ** 0.5
    return project.task.sign * (mean[0] - mean[1]), se


def report(fleet: Fleet) -> None:
    """What became of the project with strangers."""
    project = Project.open(fleet.folder / "project")
    with project.database.read() as connection:
        blocks = connection.scalars(select(BlockRow).where(BlockRow.proposal_id.is_not(None))).all()
        by = dict(
            connection.execute(
                select(ProposalRow.proposal_id, Volunteer.name).join(
                    Volunteer, Volunteer.volunteer_id == ProposalRow.volunteer_id
                )
            ).all()
        )
        proposals = connection.scalars(select(ProposalRow)).all()
        pairs = sum(connection.scalars(select(Pair.device_seconds)).all())
        runs = connection.scalars(select(RunLease).where(RunLease.returned_at.is_not(None))).all()
        contributed = sum(connection.scalars(select(Volunteer.contributed)).all())
        names = dict(connection.execute(select(Volunteer.volunteer_id, Volunteer.name)).all())
    handed_in = Counter(names[lease.volunteer_id] for lease in runs)
    lost = 0
    for log in fleet.folder.glob("honest-*.log"):
        answered = sum(": gain " in line for line in log.read_text("utf-8").splitlines())
        lost += max(0, answered - handed_in[log.stem])
    figure("runs handed in", len(runs))
    figure("runs of honest volunteers that were acknowledged and are not in the database", lost, "0")
    figure("proposals by state", json.dumps(Counter(each.state for each in proposals)))
    figure("blocks", len(blocks))
    figure("blocks of hostile volunteers", sum(by[b.proposal_id] in HOSTILE for b in blocks if b.proposal_id))
    figure("verification over all contributed", round(pairs / contributed, 4) if contributed else "none")
    gain, se = gain_of_main(project)
    figure(f"gain of main over the baseline, {project.task.unit}", f"{gain:.4f} ± {1.96 * se:.4f}")
    clone = fleet.folder / "clone"
    subprocess.run(["git", "clone", "-q", str(project.chain.folder), str(clone)], check=True)
    words = [METALOOP, "home", "audit", str(clone), "--blocks", "99", "--seeds", str(SEEDS), "--json"]
    audit = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = json.loads(audit.stdout)["items"]
    verdicts = [row["verdict"] for row in rows]
    figure("blocks that the audit confirms", f"{verdicts.count('confirmed')} of {len(verdicts)}")
    figure("blocks that the audit contradicts", verdicts.count("contradicted"))


def main(what: str, *words: str) -> None:
    if what == "tests":
        tests(*map(int, words))
    elif what == "play":
        folder, minutes, count, task, budget = [*words, *("", "10", "8", "strokes", "")[len(words) :]]
        play(Path(folder), float(minutes), int(count), task, budget)
    else:
        hostile(*words)


if __name__ == "__main__":
    main(*sys.argv[1:])
