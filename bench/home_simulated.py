"""A fleet of strangers in simulated time, on the policy and the tests of the product; then what a real host takes.

python -m bench.home_simulated [VOLUNTEERS [DAYS]]      default: 2,000 volunteers, 3 days
python -m bench.home_simulated host                     the second part only

Fixed before it ran. A training takes five minutes on a device of speed 1, a run has 24. Speeds are lognormal (SD of the
logarithm 1). Volunteers arrive evenly over the first half and stay for an exponential time of one day on average. A run
of an honest one improves main with probability .2, by an exponential amount with mean 2 SD of a paired difference,
which halves with every four blocks; its claim has an error of .7 SD. A proposal from an older block keeps its gain with
probability .8 for each block since, else it gains nothing.

Hostile ones, in equal parts: claims of 100 SD for nothing; claims of 2 SD for a loss of .2 SD; leases that never come
back; a new key after each refutation, with claims of 3 SD for nothing. They hand in as fast as the fastest honest
ones. The host has a device for every 200 volunteers and verifies as many proposals at once as the product does with
so many; a test that is under way when main moves begins again.
"""

from __future__ import annotations

import heapq
import json
import math
import resource
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from arena.home import policy
from arena.home.e_values import judge, level
from arena.home.project import Project
from arena.home.server import create_app
from arena.home.verifying import MOST_OF_ONE, TYPICAL_PAIRS
from arena.serving.limits import Rate
from arena.serving.wire import listen
from arena.setup import StudySetup
from bench.common import figure, share_interval
from programs.shelf import starter
from trainer.task import Task

SEED, HOSTILE_SHARES = 20261124, (0.05, 0.15, 0.3)
TRAINING, RUN, PER_DEVICE = 300.0, 24 * 300.0, 200
PAIR = 2 * TRAINING
DAY = 86400.0
IMPROVES, MEAN_GAIN, CLAIM_ERROR, KEEPS = 0.2, 2.0, 0.7, 0.8
KINDS = ("boaster", "harmful", "vanishing", "sybil")
LARGE = 2.0  # SD: gains that should be merged
VOLUNTEERS, ROUNDS, CLIENTS = 40, 6, 2  # of the real host's measurement; the last: processes of clients


@dataclass
class Proposal:
    number: int
    key: int
    base: int
    true: float
    claimed: float
    made: float


@dataclass
class Volunteer:
    kind: str
    speed: float
    leaves: float
    key: int


@dataclass
class Fleet:
    """One project of simulated volunteers."""

    rng: np.random.Generator
    count: int
    days: float
    share: float
    tails: int = 0  # degrees of freedom of the noise; 0: normal
    known: set[int] = field(default_factory=set)  # keys with a confirmed proposal
    claimed: float = 0.0
    standings: dict[int, policy.VolunteerRecord] = field(default_factory=dict)
    waiting: dict[int, list[Proposal]] = field(default_factory=lambda: defaultdict(list))
    best: dict[int, policy.WaitingProposal] = field(default_factory=dict)  # of each key, until something changes
    gains: list[float] = field(default_factory=list)  # of the blocks, as verified
    tests: int = 0
    merged: int = 0
    false: int = 0
    clock: float = 0.0
    under_way: list[tuple[float, int, int, Proposal, float, list[float], bool]] = field(default_factory=list)
    large: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests: int = 0
    handed_in: int = 0

    def totals(self) -> policy.Totals:
        return policy.Totals(
            spent=self.spent,
            spent_on_new=self.spent - self.spent_on_known,
            contributed=self.contributed,
            claimed=self.claimed,
        )

    def play(self) -> None:
        self.spent = self.spent_on_known = self.contributed = 0.0
        end, keys = self.days * DAY, 0
        queue: list[tuple[float, int, Volunteer]] = []
        hostile = round(self.share * self.count)
        for k in range(self.count):
            arrives = self.rng.uniform(0, end / 2)
            kind = KINDS[k % len(KINDS)] if k < hostile else "honest"
            speed = float(self.rng.lognormal(0, 1)) if kind == "honest" else 5.0
            who = Volunteer(kind, speed, arrives + self.rng.exponential(DAY), k)
            self.standings[k] = policy.VolunteerRecord()
            heapq.heappush(queue, (arrives + RUN / speed, k, who))
            keys = k + 1
        while queue and queue[0][0] < end:
            now, tie, who = heapq.heappop(queue)
            self.advance(now)
            if who.kind == "sybil" and self.standings[who.key].refuted:
                who = replace(who, key=keys)
                self.standings[keys], keys = policy.VolunteerRecord(), keys + 1
            self.hand_in(now, who)
            if now < who.leaves:
                heapq.heappush(queue, (now + RUN / who.speed, tie, who))

    def hand_in(self, now: float, who: Volunteer) -> None:
        self.requests += 1
        if who.kind == "vanishing":
            return
        self.requests += 1
        self.handed_in += 1
        standing = self.standings[who.key]
        counted = policy.credited(RUN, RUN, RUN)
        self.standings[who.key] = replace(standing, contributed=standing.contributed + counted)
        self.best.pop(who.key, None)
        self.claimed += counted
        if who.key in self.known:
            self.claimed, self.contributed = self.claimed - counted, self.contributed + counted
        true, claimed = 0.0, {"boaster": 100.0, "harmful": 2.0, "sybil": 3.0}.get(who.kind, 0.0)
        if who.kind == "harmful":
            true = -0.2
        elif who.kind == "honest":
            if self.rng.random() < IMPROVES:
                true = float(self.rng.exponential(MEAN_GAIN)) * 0.5 ** (len(self.gains) / 4)
            claimed = true + CLAIM_ERROR * float(self.rng.standard_normal())
        if claimed > 0:
            self.waiting[who.key].append(Proposal(self.handed_in, who.key, len(self.gains), true, claimed, now))
            if true > LARGE:
                self.large["proposed"] += 1

    def advance(self, now: float) -> None:
        """Let the host verify until ``now``."""
        while True:
            while len(self.under_way) < self.slots and self.begin():
                pass
            if not self.under_way or self.under_way[0][0] > now:
                self.clock = now
                return
            self.clock, _, block, one, true, differences, merged = heapq.heappop(self.under_way)
            if block < len(self.gains):
                self.waiting[one.key].append(one)  # main moved on meanwhile
                self.best.pop(one.key, None)
            else:
                self.finish(one, true, differences, merged)

    @property
    def left(self) -> float:
        """Gains above ``LARGE`` that wait at the end and are still gains over main, as expected."""
        large = [one for own in self.waiting.values() for one in own if one.true > LARGE]
        return math.fsum(KEEPS ** (len(self.gains) - one.base) for one in large)

    @property
    def slots(self) -> int:
        return max(1, self.count // PER_DEVICE // (2 * policy.BATCH))

    def begin(self) -> bool:
        """Begin the test of the next proposal; False if none may be verified."""
        totals = self.totals()
        totals = replace(totals, spent=totals.spent + len(self.under_way) * TYPICAL_PAIRS * PAIR)
        if not policy.may_verify(totals, PAIR, TYPICAL_PAIRS):
            return False
        drawn = float(self.rng.random())
        if not (self.known & self.waiting.keys() or policy.may_verify_new(totals, PAIR, TYPICAL_PAIRS)):
            return False  # as the policy would say, after a look at all that waits
        plausible = 2 * max(self.gains, default=math.inf)
        later = np.concatenate([np.cumsum(self.gains[::-1])[::-1], [0.0]]) if self.gains else [0.0]
        for key in self.waiting.keys() - self.best.keys():
            own = self.waiting[key] = sorted(self.waiting[key], key=lambda one: (-one.base, -one.claimed))
            self.best[key] = policy.best(
                policy.WaitingProposal(
                    one.number, self.standings[key], one.claimed, key, float(later[one.base]), plausible
                )
                for one in own[:MOST_OF_ONE]
            )
        rows = [self.best[key] for key in self.waiting]
        chosen = policy.next_proposal(rows, totals, PAIR, TYPICAL_PAIRS, drawn)
        if chosen is None:
            return False
        [one] = [each for each in self.waiting[chosen.volunteer] if each.number == chosen.proposal_id]
        self.waiting[one.key].remove(one)
        self.best.pop(one.key)
        if not self.waiting[one.key]:
            del self.waiting[one.key]
        self.tests += 1
        kept = self.rng.random() < KEEPS ** (len(self.gains) - one.base)
        true = one.true if kept else min(one.true, 0.0)
        at, standing = level(self.tests, self.merged), self.standings[one.key]
        differences: list[float] = []
        seconds = 0.0
        while (outcome := judge(differences, at)).state == "open":
            size = policy.batch(standing)
            noise = (
                self.rng.standard_t(self.tails, size) / math.sqrt(2) if self.tails else self.rng.standard_normal(size)
            )
            differences += (true + noise).tolist()
            seconds += TRAINING
        self.spent += PAIR * len(differences)
        self.spent_on_known += PAIR * len(differences) * standing.known
        merged = outcome.state == "crossed"
        row = (self.clock + seconds, self.tests, len(self.gains), one, true, differences, merged)
        heapq.heappush(self.under_way, row)
        return True

    def finish(self, one: Proposal, true: float, differences: list[float], merged: bool) -> None:
        """Enter the result of a test."""
        standing = self.standings[one.key]
        cost = PAIR * len(differences)
        if true > LARGE:
            self.large["tested"] += 1
            self.large["merged"] += merged
        if merged:
            self.known.add(one.key)
            self.merged += 1
            self.false += true <= 0
            self.gains.append(math.fsum(differences) / len(differences))
            self.best.clear()  # what is left of each claim is less now
            if not standing.known:
                self.spent_on_known += standing.checking + cost
                self.claimed -= standing.contributed
                self.contributed += standing.contributed
        self.standings[one.key] = replace(
            standing,
            checking=standing.checking + cost,
            confirmed=standing.confirmed + merged,
            refuted=standing.refuted + (not merged),
            streak=standing.streak + 1 if merged else 0,
        )
        self.best.pop(one.key, None)


def fleets(count: int, days: float) -> None:
    heads = ("hostile", "noise", "runs", "tests", "merged", "false", "of 1,000 merged [95%]", "gains > 2 SD")
    print(f"| {' | '.join(heads)} | verification / search | requests a volunteer and day |")
    print("|---" * (len(heads) + 2) + "|")
    for share, tails in [*((share, 0) for share in HOSTILE_SHARES), (0.15, 4)]:
        fleet = Fleet(np.random.default_rng(SEED), count, days, share, tails)
        fleet.play()
        low, high = share_interval(fleet.false, fleet.merged) if fleet.merged else (math.nan, math.nan)
        search = fleet.handed_in * RUN
        print(
            f"| {share:.0%} | {f't, {tails} degrees' if tails else 'normal'} | {fleet.handed_in} | {fleet.tests} "
            f"| {fleet.merged} | {fleet.false} | {1000 * fleet.false / max(1, fleet.merged):.1f} "
            f"[{1000 * low:.1f}, {1000 * high:.1f}] | {fleet.large['tested']} of {fleet.large['proposed']} tested, "
            f"{fleet.large['merged']} merged, {fleet.left:.0f} still gains at the end "
            f"| {fleet.spent / search:.4f} | {fleet.requests / count / days:.1f} |",
            flush=True,
        )


def host() -> None:
    """Requests that one process of the real host answers: joins, then leases and results of many volunteers."""
    with tempfile.TemporaryDirectory() as folder:
        setup = StudySetup("home", Task.load("strokes"), 2.5, seed=1, programs=[starter("stock")])
        project = Project.create(Path(folder) / "p", setup, "Load", [(starter("stock"), 1.0)])
        listening = listen("127.0.0.1", 0)
        unlimited = Rate(10**9, 1.0)
        server = uvicorn.Server(uvicorn.Config(create_app(project, unlimited, unlimited), log_level="critical"))
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
        while not server.started:
            time.sleep(0.02)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
        text, numbers = project.task.baseline().text(), range(1, VOLUNTEERS + 1)
        with ProcessPoolExecutor(CLIENTS, get_context("spawn")) as processes:
            list(processes.map(abs, numbers))  # they have started
            began, cpu = time.perf_counter(), _cpu()
            work = [(url, text, numbers[k::CLIENTS]) for k in range(CLIENTS)]
            sent = [one for each in processes.map(clients, work) for one in each]
            wall, used = time.perf_counter() - began, _cpu() - cpu
        server.should_exit = True
    figure("requests a second, with the clients on the same two cores", round(len(sent) / wall, 1), "200")
    figure("CPU-seconds of the host for 1,000 requests", round(1000 * used / len(sent), 2))
    for kind in dict(sent):
        figure(f"bytes of {kind} with its answer", round(np.mean([size for each, size in sent if each == kind])))


def clients(work: tuple[str, str, Sequence[int]]) -> list[tuple[str, int]]:
    """What these volunteers send to the host at ``url``, at the same time: kind and bytes of each request with its
    answer."""
    url, text, numbers = work
    sent: list[tuple[str, int]] = []

    def client(k: int) -> None:
        headers = {"Content-Type": "application/json"}

        def ask(kind: str, path: str, **body: Any) -> dict[str, Any]:
            raw = json.dumps(body).encode()
            with urllib.request.urlopen(urllib.request.Request(url + path, raw, headers), timeout=60) as reply:
                answer: bytes = reply.read()
            sent.append((kind, len(raw) + len(answer)))
            return dict(json.loads(answer))

        token = ask("volunteers", "/volunteers", name=f"v{k}", hardware="cpu", devices=1)["token"]
        headers["Authorization"] = f"Bearer {token}"
        for turn in range(ROUNDS):
            lease = ask("leases", "/leases", have=[])["lease"]
            result = {"device_seconds": 2.0, "experiments": 24, "events": "x" * 50_000, "claimed_gain": 0.1}
            files = {"train.py": f"{text}\nNUMBER = {k * ROUNDS + turn}\n"}
            ask("result", f"/leases/{lease}/result", **result, files=files)

    with ThreadPoolExecutor(len(numbers)) as threads:
        list(threads.map(client, numbers))
    return sent


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    words = sys.argv[1:]
    if words[:1] != ["host"]:
        fleets(int(words[0]) if words else 2000, float(words[1]) if words[1:] else 3.0)
    host()
