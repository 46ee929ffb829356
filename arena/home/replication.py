"""Verification by volunteers: each pair is trained by three of them, and the median counts.

Who verifies has found a block before, or got five known results right. It gets two sources, in a drawn order, with the
host's seed and the seed of a hidden split that is made for this pair alone, after the proposal can no longer be
changed; never a proposal of its own, nor a pair that another one of its network trains too. Some of what it gets are
pairs whose result is known: who is wrong there, or deviates from what the host measures on the same seed and split,
verifies nothing any more.

A project's database holds what is wanted as rows (`Replica`): the verifier makes them, the server hands them out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session as Connection

from arena.contest.settings import utc_now
from arena.home import policy
from arena.home.e_values import Moments, log_e_value
from arena.home.project import Project
from arena.home.signing import Body
from arena.home.tables import BlockRow, Pair, ProposalRow, Replica, RunLease, Volunteer
from programs.errors import NotFound, UsageError
from trainer.constants import is_number
from trainer.data import DataStore
from trainer.streams import Stream

STREAM: Stream = "confirmation"
SIDES = ("main", "proposal")
SEEN_SECONDS = 3600.0  # who said something within them is counted on
LEAST_SECONDS, PAIR_FACTOR = 600.0, 20  # a replica is out so long, or for so many pairs' time
MOST_LAPSED = 3  # replicas that a volunteer may keep without a word
MOST_DROPPED = 2 * policy.REPLICAS  # of one pair; then the host trains it itself
KNOWN_PAIRS = 3  # measured by the host, of a pair whose result is known


@dataclass(frozen=True)
class Result:
    """One pair: main and proposal, trained on one seed and scored on one split. ``by``: the host, or volunteers with
    their numbers."""

    base_metric: float | None
    metric: float | None
    difference: float
    status: str
    device_seconds: float
    by: str = "host"
    reason: str = "in the hands of volunteers"


@dataclass(frozen=True)
class Replication:
    """Both halves: what the verifying process does, and what the server answers."""

    project: Project
    hidden: DataStore

    @classmethod
    def of(cls, project: Project) -> Replication:
        return cls(project, DataStore(project.task, project.study.streams, project.folder / "data"))

    @property
    def wanted(self) -> bool:
        """Whether the host lets volunteers verify."""
        return self.project.database.fact("project").get("verified_by") == "volunteers"

    # What the verifying process does.

    def verifiers(self, connection: Connection, proposal: ProposalRow | None = None) -> list[Volunteer]:
        """Those who may verify now: one for each network, none of the proposal's own."""
        since = utc_now() - timedelta(seconds=SEEN_SECONDS)
        there = (Volunteer.barred == "") & Volunteer.verifies & (Volunteer.seen_at > since)
        rows = [
            each
            for each in connection.scalars(select(Volunteer).where(there).order_by(Volunteer.volunteer_id))
            if policy.earned(each.confirmed, each.tried)
        ]
        own = group_of(connection.get_one(Volunteer, proposal.volunteer_id)) if proposal else ""
        return list({group_of(each): each for each in rows if group_of(each) != own}.values())

    def enough(self, connection: Connection, proposal: ProposalRow) -> bool:
        """Whether volunteers can verify it: three of distinct networks, and pairs with known results to try them on."""
        return len(self.verifiers(connection, proposal)) >= policy.REPLICAS and bool(self._known(connection))

    def collect(
        self, connection: Connection, proposal: ProposalRow, numbers: Iterable[int]
    ) -> dict[int, Result | None]:
        """What volunteers have measured of these pairs, up to the first that is still out; the others are asked for.

        None: the host has to train this pair itself, because too many kept it without a word.
        """
        out: dict[int, Result | None] = {}
        complete = True
        for k in numbers:
            rows = self._replicas(connection, proposal.proposal_id, k)
            live = [row for row in rows if not row.dropped]
            for row in live:
                if row.volunteer_id is not None and row.returned_at is None and row.expires_at < utc_now():
                    row.dropped = True
            live = [row for row in live if not row.dropped]
            if len(rows) - len(live) >= MOST_DROPPED:
                if complete:
                    out[k] = None
                continue
            for _ in range(policy.REPLICAS - len(live)):
                self._ask(connection, proposal.proposal_id, k)
            done = [row for row in live if row.returned_at is not None]
            complete = complete and len(done) == policy.REPLICAS
            if complete:
                out[k] = self._median(done)
        return out

    def remeasured(self, proposal: ProposalRow, k: int) -> bool:
        """Whether the host trains this pair too, and counts its own result: one of the first three of each test, and a
        tenth of the others, drawn from its secret."""
        first = proposal.first_pair + self._drawn(policy.REPLICAS, "first", proposal.proposal_id, proposal.first_pair)
        return k == first or self._drawn(10, "again", proposal.proposal_id, k) == 0

    def compare(self, connection: Connection, number: int, k: int, own: Result) -> None:
        """Hold the volunteers' results of a pair against the host's; bar who deviates beyond chance, in any of its
        pairs together."""
        for row in self._replicas(connection, number, k):
            if row.dropped or row.returned_at is None or row.volunteer_id is None:
                continue
            row.deviation = row.difference - own.difference
            volunteer = connection.get_one(Volunteer, row.volunteer_id)
            if (row.status == "ok ok") != (own.status == "ok ok"):
                bar(connection, volunteer, "its trainings failed where the host's did not, or the other way round")
                continue
            mine = Replica.volunteer_id == volunteer.volunteer_id
            seen = connection.scalars(select(Replica.deviation).where(mine, Replica.deviation.is_not(None))).all()
            deviations = [each for each in seen if each is not None]
            for sign in (1.0, -1.0):
                if log_e_value(Moments.of([sign * each for each in deviations])) > math.log(2 / policy.BARRED_AT):
                    bar(connection, volunteer, "its results deviate from the host's on the same seeds and splits")

    # What the server answers.

    def assign(
        self, connection: Connection, volunteer: Volunteer, have: Sequence[object], now: datetime
    ) -> Body | None:
        """A pair to train, for a volunteer that may; None if there is none."""
        if not self.wanted or volunteer.barred:
            return None
        mine = Replica.volunteer_id == volunteer.volunteer_id
        rows = connection.scalars(select(Replica).where(mine).order_by(Replica.replica_id)).all()
        out = [row for row in rows if row.returned_at is None and not row.dropped and row.expires_at > now]
        if lost := [row for row in out if row.replica_id not in have]:
            return self._described(connection, lost[0])
        if out or sum(row.returned_at is None and row.expires_at <= now for row in rows) >= MOST_LAPSED:
            return None
        known = sum(row.expected != 0 for row in rows)
        row = None
        if not policy.earned(volunteer.confirmed, volunteer.tried):
            if known < self._runs(connection, volunteer):  # one after each run
                row = self._known_pair(connection, volunteer, len(rows))
        elif known < policy.FIRST_KNOWN:
            row = self._known_pair(connection, volunteer, len(rows))
        else:
            if self._drawn(1000, "known", volunteer.volunteer_id, len(rows)) < 1000 * policy.KNOWN_SHARE:
                row = self._known_pair(connection, volunteer, len(rows))
            row = row or self._open(connection, volunteer)
        if row is None:
            return None
        seconds = max(LEAST_SECONDS, PAIR_FACTOR * 2 * self.project.task.cost_seconds)
        row.volunteer_id, row.issued_at, row.expires_at = volunteer.volunteer_id, now, now + timedelta(seconds=seconds)
        return self._described(connection, row)

    def take(self, connection: Connection, volunteer: Volunteer, body: Body, now: datetime) -> Body:
        """The result of a pair, in the order in which its sources were sent. A second time, nothing happens."""
        number = body.get("verify")
        row = connection.get(Replica, number) if type(number) is int and 0 < number < 2**53 else None
        if row is None or row.volunteer_id != volunteer.volunteer_id:
            raise NotFound("this key was not asked to verify that")
        sides = body.get("sides")
        if not isinstance(sides, list) or len(sides) != len(SIDES):
            raise UsageError("sides: not a list of two results")
        measured = [_side(each) for each in sides]
        if row.returned_at is not None or row.dropped:
            return {"counted": False}
        (main, main_status, _), (own, own_status, _) = reversed(measured) if row.swapped else measured
        row.returned_at, row.status = now, f"{main_status} {own_status}"
        row.base_metric, row.metric = main, own
        if main is not None and own is not None:
            row.difference = self.project.task.sign * (main - own)
        elapsed = (now - row.issued_at).total_seconds()
        row.device_seconds = policy.credited(sum(each[2] for each in measured), math.inf, elapsed)
        if row.expected and (row.status != "ok ok" or row.difference * row.expected <= 0):
            bar(connection, volunteer, "a pair with a known result came out wrong")
        volunteer.tried += row.expected != 0
        return {"counted": True}

    # Rows.

    @staticmethod
    def _runs(connection: Connection, volunteer: Volunteer) -> int:
        """That it has handed in."""
        own = (RunLease.volunteer_id == volunteer.volunteer_id) & RunLease.returned_at.is_not(None)
        return connection.scalar(select(func.count()).select_from(RunLease).where(own)) or 0

    def _replicas(self, connection: Connection, number: int, k: int) -> list[Replica]:
        own = (Replica.proposal_id == number) & (Replica.number == k) & (Replica.expected == 0)
        return list(connection.scalars(select(Replica).where(own).order_by(Replica.replica_id)).all())

    def _ask(self, connection: Connection, number: int, k: int, expected: int = 0) -> Replica:
        row = Replica(proposal_id=number, number=k, expected=expected)
        connection.add(row)
        connection.flush()
        row.swapped = bool(self._drawn(2, "order", row.replica_id))
        return row

    def _median(self, rows: Sequence[Replica]) -> Result:
        """Of three: no single one decides. A side that two of them saw fail has failed."""
        failed = [statistics.median(row.status.split()[side] != "ok" for row in rows) > 0 for side in range(len(SIDES))]
        good = [row for row in rows if row.status == "ok ok"]
        status = " ".join("failed" if each else "ok" for each in failed)
        if not any(failed) and len(good) < 2:
            status = "failed ok"  # they disagree on what failed: the pair says nothing
        seconds = math.fsum(row.device_seconds for row in rows)
        by = "volunteers " + " ".join(str(row.volunteer_id) for row in rows)
        if status != "ok ok":
            return Result(None, None, 0.0, status, seconds, by)
        middle = sorted(good, key=lambda row: row.difference)[(len(good) - 1) // 2]
        return Result(middle.base_metric, middle.metric, middle.difference, status, seconds, by)

    def _open(self, connection: Connection, volunteer: Volunteer) -> Replica | None:
        """The oldest pair that is asked for and that this volunteer may train."""
        rows = connection.execute(
            select(Replica, ProposalRow)
            .join(ProposalRow, ProposalRow.proposal_id == Replica.proposal_id)
            .where(Replica.volunteer_id.is_(None), ~Replica.dropped, ProposalRow.state == "verifying")
            .where(Replica.number >= ProposalRow.first_pair)
            .order_by(Replica.replica_id)
        )
        for row, proposal in rows.all():
            others = [
                connection.get_one(Volunteer, each.volunteer_id)
                for each in self._replicas(connection, row.proposal_id, row.number)
                if each.volunteer_id is not None
            ]
            others.append(connection.get_one(Volunteer, proposal.volunteer_id))
            if group_of(volunteer) not in map(group_of, others):
                return row
        return None

    def _known(self, connection: Connection) -> list[tuple[ProposalRow, int]]:
        """Proposals whose effect the host has seen clearly in its own pairs, with its sign."""
        pairs: dict[int, list[float]] = {}
        for pair in connection.scalars(select(Pair).where(Pair.by == "host", Pair.status == "ok ok")):
            pairs.setdefault(pair.proposal_id, []).append(pair.difference)
        out = []
        for number, differences in sorted(pairs.items()):
            seen = Moments.of(differences)
            spread = math.sqrt(seen.squares / max(1, seen.n - 1))
            if seen.n >= KNOWN_PAIRS and abs(seen.mean) >= policy.KNOWN_RATIO * spread:
                proposal = connection.get_one(ProposalRow, number)
                if proposal.state in ("merged", "hopeless", "stale", "void"):
                    out.append((proposal, 1 if seen.mean > 0 else -1))
        return out

    def _known_pair(self, connection: Connection, volunteer: Volunteer, count: int) -> Replica | None:
        rows = [row for row in self._known(connection) if row[0].volunteer_id != volunteer.volunteer_id]
        if not rows:
            return None
        proposal, sign = rows[self._drawn(len(rows), "which", volunteer.volunteer_id, count)]
        row = self._ask(connection, proposal.proposal_id, 0, sign)
        row.number = -row.replica_id  # none of the proposal's own pairs
        return row

    def _described(self, connection: Connection, row: Replica) -> Body:
        proposal = connection.get_one(ProposalRow, row.proposal_id)
        base = self.project.chain.files(connection.get_one(BlockRow, proposal.base).commit)
        sources = [base, dict(proposal.source)]
        split = self.hidden.labelled(f"{row.proposal_id}-{row.number}")
        return {
            "verify": row.replica_id,
            "task": self.project.bundle.digest,
            "sources": [{**files} for files in (sources[::-1] if row.swapped else sources)],
            "seed": self.project.study.streams.seed(STREAM, "pair", row.proposal_id, row.number),
            "split": str(split.split_seed(STREAM)),
            "expires_at": row.expires_at.isoformat(),
        }

    def _drawn(self, among: int, *labels: str | int) -> int:
        return self.project.study.streams.seed("selection", "replication", *labels) * among >> 31


def spoilt(connection: Connection, proposal: ProposalRow) -> bool:
    """Whether results of a volunteer that is barred now count in its last test."""
    own = (Pair.proposal_id == proposal.proposal_id) & (Pair.number >= proposal.first_pair) & (Pair.by != "host")
    names = " ".join(connection.scalars(select(Pair.by).where(own)).all()).split()
    barred = connection.scalars(select(Volunteer.volunteer_id).where(Volunteer.barred != "")).all()
    return not {str(each) for each in barred}.isdisjoint(names)


def verified_by(connection: Connection, proposal: ProposalRow) -> str:
    """Who measured the pairs of its last test."""
    own = (Pair.proposal_id == proposal.proposal_id) & (Pair.number >= proposal.first_pair)
    by = connection.scalars(select(Pair.by).where(own)).all()
    count = sum(each == "host" for each in by)
    return "host" if count == len(by) else f"volunteers, {count} of {len(by)} pairs by the host"


def group_of(volunteer: Volunteer) -> str:
    """Volunteers of one network count as one. Where the address says nothing, each key is its own."""
    return volunteer.network or volunteer.key


def bar(connection: Connection, volunteer: Volunteer, because: str) -> None:
    """It verifies nothing any more; what it has in hand, or has handed in for a test under way, does not count."""
    if volunteer.barred:
        return
    volunteer.barred = because
    mine = (Replica.volunteer_id == volunteer.volunteer_id) & ~Replica.dropped
    kept = select(Pair.number).where(Pair.proposal_id == Replica.proposal_id, Pair.number == Replica.number)
    for row in connection.scalars(select(Replica).where(mine, ~kept.exists())).all():
        row.dropped = True


def _side(report: object) -> tuple[float | None, str, float]:
    """Metric, status and device-seconds of one training. Raises UsageError."""
    if not isinstance(report, dict):
        raise UsageError("sides: not a list of two results")
    metric, status, seconds = report.get("metric"), report.get("status"), report.get("device_seconds")
    if status not in ("ok", "failed"):
        raise UsageError("status: neither ok nor failed")
    for name, value in (("metric", metric), ("device_seconds", seconds)):
        if status == "failed" and name == "metric" and value is None:
            continue
        if not is_number(value) or not math.isfinite(value):
            raise UsageError(f"{name}: not a finite number")
    return (
        (float(metric) if status == "ok" and metric is not None else None),
        str(status),
        max(0.0, float(seconds or 0)),
    )
