"""The runs of a match as the ledger grows: what the views `runs` and `verifications` say of them, read on from where
the last look ended, so that a board of thousands of entries costs what has come since, and not all there is."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.ledger import segments
from analysis.trust import counts, weakest

KINDS = {  # of event → what is kept of it
    "run_started": ("kind", "run_id", "match_id", "arm_id", "program_id", "task", "stream"),
    "run_ended": ("kind", "run_id", "state", "charged", "tokens", "usd", "claimed_gain", "wall_seconds",
                  "experiment_wall_seconds"),
    "experiment": ("kind", "run_id", "number", "device_seconds_charged"),
    "verification": ("kind", "run_id", "stream", "seed", "status", "gain", "trust"),
    "call": ("kind", "run_id", "tokens", "usd"),
    "act": ("kind", "what", "arm_ids"),
}  # fmt: skip
MARKS = {b'"kind":"%b"' % kind.encode(): fields for kind, fields in KINDS.items()}
HEAD = 320  # bytes of a line that hold all that stands before its event, and its kind

Row = dict[str, Any]


@dataclass
class Run:
    """What the ledger says of a run so far."""

    started: Mapping[str, Any]
    ended: Mapping[str, Any] | None = None
    charges: dict[int, float] = field(default_factory=dict)  # number of an experiment → device-seconds
    calls: list[Mapping[str, Any]] = field(default_factory=list)
    scores: dict[int, Mapping[str, Any]] = field(default_factory=dict)  # seed → verification

    def row(self) -> Row:
        """The columns of the view `runs` that standings are made from."""
        ended = self.ended or {}
        scores = [self.scores[seed] for seed in sorted(self.scores)]
        gains = [gain for told in scores if (gain := _gain(told)) is not None]
        charged = ended.get("charged")
        if charged is None:
            charged = sum(self.charges[n] for n in sorted(self.charges))
        asked = {"tokens": _total(self.calls, "tokens"), "usd": None}
        if self.calls and all(call.get("usd") is not None for call in self.calls):
            asked["usd"] = _total(self.calls, "usd")
        spend = asked if ended.get("tokens") is None else ended
        return {
            **{key: self.started.get(key) for key in ("run_id", "match_id", "arm_id", "program_id", "task", "stream")},
            "state": (ended.get("state") or "running"), "claimed_gain": ended.get("claimed_gain"),
            "verified_gain": sum(gains) / len(gains) if gains else None,
            "failed_seeds": sum(_status(told) not in ("ok", "baseline", "fault") for told in scores),
            "trust": weakest(told.get("trust") for told in scores if counts(_counted(told))),
            "device_seconds_charged": charged,
            "tokens": spend.get("tokens"), "usd": spend.get("usd"), "wall_seconds": ended.get("wall_seconds"),
            "experiment_wall_seconds": ended.get("experiment_wall_seconds"),
            "score_stream": self.started.get("stream") if scores else None,
            "role": None, "name": None, "words": None, "purpose": None,
        }  # fmt: skip


class Tally:
    """The runs of one match by arm. The ledger was checked when the study was opened; what grows since is our own."""

    def __init__(self, ledger: Path, match_id: str) -> None:
        self.ledger, self.match_id = ledger, match_id
        self.runs: dict[str, Run] = {}
        self.arms: dict[str, list[str]] = defaultdict(list)  # arm → its runs
        self.void: set[str] = set()  # arms that the host has declared void, and not taken back
        self._read: dict[str, int] = {}  # name of a segment → bytes taken in
        self._others: set[str] = set()  # runs of other matches
        self._early: dict[str, list[Mapping[str, Any]]] = defaultdict(list)  # of runs whose start is in a later segment

    def look(self) -> set[str]:
        """Take in what was written since; returns the arms that it is about."""
        touched = set()
        for path in sorted(segments(self.ledger), key=_natural):
            for event in self._news(path):
                if event["kind"] == "act":
                    touched |= self._act(event)
                elif (arm := self._take(event)) is not None:
                    touched.add(arm)
        return touched

    def rows(self, arm: str) -> list[Row]:
        """The arm's runs, in the order of the view."""
        return [self.runs[run_id].row() | {"void": arm in self.void} for run_id in sorted(self.arms[arm])]

    def _news(self, path: Path) -> Iterator[Mapping[str, Any]]:
        begin = self._read.get(path.name, 0)
        if path.stat().st_size <= begin:
            return
        with path.open("rb") as file:
            file.seek(begin)
            for line in file:
                if not line.endswith(b"\n"):  # still being written, or torn for ever
                    break
                begin += len(line)
                head = line[:HEAD]
                fields = next((fields for mark, fields in MARKS.items() if mark in head), None)
                if fields is not None:
                    event = json.loads(line)
                    yield {key: event.get(key) for key in fields}
        self._read[path.name] = begin

    def _act(self, event: Mapping[str, Any]) -> set[str]:
        arms = set(event["arm_ids"])
        self.void = self.void | arms if event["what"] == "void" else self.void - arms
        return arms & self.arms.keys()

    def _take(self, event: Mapping[str, Any]) -> str | None:
        run_id = event.get("run_id")
        if not run_id or run_id in self._others:
            return None
        if event["kind"] == "run_started":
            return self._start(run_id, event)
        run = self.runs.get(run_id)
        if run is None:
            self._early[run_id].append(event)
            return None
        _add(run, event)
        return str(run.started["arm_id"])

    def _start(self, run_id: str, event: Mapping[str, Any]) -> str | None:
        """A run goes on under its first record. Runs of other matches are let go of."""
        early = self._early.pop(run_id, [])
        if event["match_id"] != self.match_id:
            self._others.add(run_id)
        if event["match_id"] != self.match_id or run_id in self.runs:
            return None
        run = self.runs[run_id] = Run(event)
        for told in early:
            _add(run, told)
        self.arms[event["arm_id"]].append(run_id)
        return str(event["arm_id"])


def _add(run: Run, event: Mapping[str, Any]) -> None:
    kind = event["kind"]
    if kind == "experiment":
        run.charges.setdefault(event["number"], event.get("device_seconds_charged") or 0.0)
    elif kind == "call":
        run.calls.append(event)
    elif kind == "run_ended":  # of two ends the first finished one counts, else the last
        if run.ended is None or run.ended.get("state") != "finished":
            run.ended = event
    elif event.get("stream") == run.started.get("stream"):
        before = run.scores.get(event["seed"])
        if before is None or (_status(before) == "fault" and _status(event) != "fault"):
            run.scores[event["seed"]] = event


def _status(told: Mapping[str, Any]) -> str:
    return str(told.get("status") or "ok")


def _gain(told: Mapping[str, Any]) -> float | None:
    """As the view has it: a source that failed under a seed gains 0 there, our own faults count for nothing."""
    status = _status(told)
    return told.get("gain") if status == "ok" else None if status == "fault" else 0.0


def _counted(told: Mapping[str, Any]) -> Row:
    return {"status": _status(told), "trust": told.get("trust")}


def _total(calls: list[Mapping[str, Any]], key: str) -> Any:
    return sum(call.get(key) or 0 for call in calls) if calls else None


def _natural(path: Path) -> list[Any]:
    """main-10 after main-9: the order in which one writer's segments were opened."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]
