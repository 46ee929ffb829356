"""A project on one machine: a host and volunteers, two of them hostile, with kills; and the same without strangers.

python -m bench.home FOLDER [MINUTES [VOLUNTEERS [TASK [BUDGET]]]]     default: 10 minutes, 8 volunteers, strokes

Fixed before it ran: the programs (stock, idea-queue, local), two hostile volunteers (one claims large gains for
worthless changes, one moderate gains for harmful ones, both as fast as their quota allows), `kill -9` of one honest
volunteer every 20 seconds and of the host once, half way. Afterwards main is audited on fresh seeds from a clone.

The comparison: as many honest volunteers for as long, whose claims are all believed, so that nothing is verified. The
gain of its last main over the baseline is measured as that of the other, on fresh seeds. The ratio of both gains per
device-second of search is what not trusting anybody costs.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from arena.home import volunteer
from arena.home.checks import source_of
from arena.home.client import HostClient, VolunteerFolder
from arena.home.e_values import SequentialOutcome
from arena.home.project import Project
from arena.home.protocol import RunResult, RunWork
from arena.home.tables import BlockRow, Pair, ProposalRow, RunLease, Volunteer
from arena.home.verifying import Verifier
from arena.verify import How, Sample, carry_out
from bench.common import METALOOP, figure
from trainer.streams import Streams

SEED, KILL_SECONDS, SEEDS = 20261124, 20.0, 12
PROGRAMS = "stock,idea-queue,local"
HOSTILE = ("worthless", "harmful")
PORT = 8441


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


class TrustingVerifier(Verifier):
    """Merges each claim above zero that applies to main, without a measurement."""

    def step(self, executor: Any) -> bool:
        with self.database.read() as connection:
            waiting = select(ProposalRow.proposal_id).where(ProposalRow.state == "waiting")
            chosen = connection.scalar(waiting.order_by(ProposalRow.claimed.desc()).limit(1))
        if chosen is not None and self._begin(chosen):
            self._merge(chosen, SequentialOutcome("crossed", 0.0, 0.0, 0.0, 0.0), [])
        return chosen is not None


def trusting(folder: str) -> None:
    from arena.home import work

    work.Verifier = TrustingVerifier  # type: ignore[attr-defined]
    work.carry_on(Project.open(Path(folder)), lambda _: None)


def hostile(url: str, folder: str, name: str) -> None:
    random.seed(SEED)
    session = HostileSession(HostClient(url), VolunteerFolder(Path(folder)), name, volunteer.MOST_GB, lambda _: None)
    session.join()
    while True:
        session.step()


@dataclass
class Fleet:
    """The processes of one project."""

    folder: Path
    port: int

    def __post_init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def serve(self) -> None:
        self.start("host", METALOOP, "home", "serve", str(self.folder / "project"), "--port", str(self.port))
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.url}/api/v1/project", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        sys.exit("the host does not answer")

    def join(self, name: str) -> None:
        self.start(
            name, METALOOP, "home", "join", self.url, "--name", name, "--set", f"folder={self.folder / name}", "-y"
        )

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """Of the one process; those that it started end with it."""
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait()

    def stop(self) -> None:
        for name in sorted(self.processes, key=lambda each: each == "host"):
            self.kill(name, signal.SIGKILL if name != "host" else signal.SIGTERM)


def made(folder: Path, task: str, budget: str, port: int) -> Fleet:
    folder.mkdir(parents=True)
    words = ["home", "init", str(folder / "project"), "-t", task, "-p", PROGRAMS]
    subprocess.run([METALOOP, *words, *(["-b", budget] if budget else [])], check=True, stdout=subprocess.DEVNULL)
    return Fleet(folder, port)


def strangers(folder: Path, minutes: float, count: int, task: str, budget: str) -> Fleet:
    """The project with hostile volunteers and kills."""
    fleet, drawn = made(folder, task, budget, PORT), random.Random(SEED)
    fleet.serve()
    honest = [f"honest-{k}" for k in range(count - len(HOSTILE))]
    for name in honest:
        fleet.join(name)
    for name in HOSTILE:
        fleet.start(name, sys.executable, "-m", "bench.home", "hostile", fleet.url, str(folder / name), name)
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
    return fleet


def trusted(folder: Path, minutes: float, count: int, task: str, budget: str) -> Fleet:
    """As many volunteers who are all believed."""
    fleet = made(folder, task, budget, PORT + 1)
    code = (
        "import sys; from pathlib import Path; from arena.home import server; from arena.home.project import Project;"
        "from arena.serving.wire import configured, listen; import uvicorn;"
        "s=listen('127.0.0.1', int(sys.argv[2]));"
        "uvicorn.Server(configured(server.create_app(Project.open(Path(sys.argv[1]))))).run(sockets=[s])"
    )
    fleet.start("host", sys.executable, "-c", code, str(folder / "project"), str(fleet.port))
    fleet.start("merging", sys.executable, "-m", "bench.home", "trusting", str(folder / "project"))
    for k in range(count):
        fleet.join(f"honest-{k}")
    time.sleep(60 * minutes)
    fleet.stop()
    return fleet


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


def searched(project: Project) -> float:
    with project.database.read() as connection:
        honest = select(RunLease.device_seconds).join(Volunteer, Volunteer.volunteer_id == RunLease.volunteer_id)
        return sum(connection.scalars(honest.where(Volunteer.name.not_in(HOSTILE))).all())


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
        enemies = select(Volunteer.contributed).where(Volunteer.name.in_(HOSTILE))
        hostile_seconds = sum(connection.scalars(enemies).all())
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
    total = searched(project) + hostile_seconds
    figure("device-seconds of search, honest", round(searched(project), 1))
    figure("verification over all contributed", round(pairs / total, 4) if total else "none")
    clone = fleet.folder / "clone"
    subprocess.run(["git", "clone", "-q", str(project.chain.folder), str(clone)], check=True)
    words = [METALOOP, "home", "audit", str(clone), "--blocks", "99", "--seeds", str(SEEDS), "--json"]
    audit = subprocess.run(words, capture_output=True, text=True, check=False)
    rows = json.loads(audit.stdout)["items"]
    verdicts = [row["verdict"] for row in rows]
    figure("blocks that the audit confirms", f"{verdicts.count('confirmed')} of {len(verdicts)}")
    figure("blocks that the audit contradicts", verdicts.count("contradicted"))


def main(folder: Path, minutes: float, count: int, task: str, budget: str) -> None:
    fleet = strangers(folder / "strangers", minutes, count, task, budget)
    report(fleet)
    other = trusted(folder / "trusted", minutes, count - len(HOSTILE), task, budget)
    per_second = []
    for name, each in (("strangers", fleet), ("all believed", other)):
        project = Project.open(each.folder / "project")
        gain, se = gain_of_main(project)
        seconds = searched(project)
        per_second.append(gain / seconds)
        figure(f"{name}: gain of main over the baseline, {project.task.unit}", f"{gain:.4f} ± {1.96 * se:.4f}")
        figure(f"{name}: for 100 device-seconds of search", f"{100 * gain / seconds:.4f} of {seconds:.0f}")
    figure("ratio of gain per device-second of search", round(per_second[0] / per_second[1], 3))


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] == ["hostile"]:
        hostile(*words[1:])
    elif words[:1] == ["trusting"]:
        trusting(words[1])
    else:
        main(
            Path(words[0]),
            float(words[1]) if words[1:] else 10.0,
            int(words[2]) if words[2:] else 8,
            words[3] if words[3:] else "strokes",
            words[4] if words[4:] else "",
        )
