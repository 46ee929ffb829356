"""A contest that has been going on for long: thousands of entries with their runs, for the benches of its pages.

A handful of entries is really carried out on a simulated task; their runs, as the ledger has them, are the pattern for
all others: entries through the real `store`, programs, matches and entries told to the ledger by the real `admit`, runs
and verifications with ids, seeds and gains of their own. The board is left to the host.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from analysis.ledger import Ledger, read
from analysis.ledger.events import Event, VerificationEvent
from arena.arms import TaskMatch
from arena.contest.contest import Contest
from arena.contest.create import ContestOptions, create_contest
from arena.contest.entering import accounts
from arena.contest.entering.entries import accept, store
from arena.contest.running import arms
from arena.contest.running.work import carry_on
from arena.contest.tables import ContestEntry, Person
from arena.measuring import run_job
from arena.serving.clock import utc_now
from arena.study import Study
from arena.task_study import TaskStudy
from programs.ids import content_id
from programs.program import Program
from programs.shelf import starter
from trainer.laws.planted import random_law, simulated_task
from trainer.task import Task

EACH = 4  # entries of a person
RUNS, BATCH = 2, 500
POOL = 400  # ideas that programs choose from
TOKENS = "tokens.json"
OWN = frozenset({"seq", "prev", "hash", "schema", "at"})
Record = dict[str, Any]


class Bulk(Study):
    """A study whose events go to the disk by the batch."""

    batch: list[Event]

    def record(self, event: Event) -> None:
        if self._ledger is None:
            raise RuntimeError("not open")
        self.__dict__.setdefault("batch", []).append(event)
        self.state.take(event)

    def flush(self) -> None:
        if self._ledger is not None:
            self._ledger.extend((event.to_record() for event in self.__dict__.pop("batch", [])), sync=False)


def founded(folder: Path, entrants: int, runs: int = RUNS) -> Contest:
    """A new contest on a simulated task, open for a day, with so many people in it; tokens.json has their tokens."""
    task = Task.load(simulated_task(random_law(7), folder / "law", name="law"))
    made = create_contest(folder / "contest", ContestOptions(
        title="Load", task=task, opens=utc_now() - timedelta(days=1), closes=utc_now() + timedelta(days=1),
        run_budget=0.4, runs=runs, confirm_runs=3, entries_per_person=100_000, join_open=True, workers=1,
        fixed_steps=False, sandbox=True,
    ))  # fmt: skip
    tokens = [accounts.fresh(accounts.PERSON) for _ in range(entrants)]
    with made.contest.database.write() as connection:
        for i, token in enumerate(tokens):
            connection.add(Person(name=f"Person {i}", token_hash=accounts.hashed(token), joined_at=utc_now()))
    (folder / TOKENS).write_text(json.dumps(tokens), encoding="utf-8")
    return made.contest


def filled(folder: Path, entries: int, entrants: int) -> Contest:
    """The contest with so many entries that have all their results."""
    contest = founded(folder, entrants + entries // EACH)
    with contest.database.read() as connection:
        people: Sequence[Person] = connection.query(Person).order_by(Person.person_id).all()
    for name, person in zip(("local", "one-line"), people, strict=False):
        accept(contest, person, starter(name).raw)
    carry_on(contest, lambda _: None, until_idle=True)
    rng = random.Random(11)
    pattern = patterns(contest)
    with Bulk.open(contest.folder) as study, Ledger(contest.folder / "ledger", "worker-0") as worker:
        assert isinstance(study, Bulk)
        for first in range(0, entries, BATCH):
            wanted = [people[entrants + i // EACH] for i in range(first, min(entries, first + BATCH))]
            rows = stored(contest, wanted, rng)
            events = [event for row in rows for event in results(contest, study, row, pattern, rng)]
            worker.extend(events, sync=False)
            study.flush()
    return contest


def text(rng: random.Random) -> str:
    """A small program of ideas that others have too."""
    ideas = "".join(f"- Try idea {i} of the pool, and keep it if it helps.\n" for i in rng.sample(range(POOL), 6))
    return f"# Attempt {rng.getrandbits(48):012x}\n\n## Ideas\n\n{ideas}"


def stored(contest: Contest, people: Sequence[Person], rng: random.Random) -> list[ContestEntry]:
    """An entry of each person, all its runs done as far as the database knows."""
    with contest.database.write() as connection:
        rows = []
        for who in people:
            program = Program.parse(text(rng), file="program.md")
            identity = program.program_id  # as its behaviour: no two are copies
            rows.append(store(connection, contest.config, program, role="program", behaviour=identity, person=who))
        for row in rows:
            row.state, row.runs_done = "verified", contest.config.runs
    return rows


def patterns(contest: Contest) -> dict[str, list[Record]]:
    """The events of a screening run and of a run at full budget, as a worker wrote them."""
    runs: dict[str, list[Record]] = {}
    ids: dict[str, str] = {}
    screening = content_id("m", contest.study.study_id, arms.SCREENING)
    for event in read(contest.folder / "ledger"):
        if event["kind"] == "run_started":
            ids[event["run_id"]] = arms.SCREENING if event["match_id"] == screening else arms.BOARD
        if event.get("run_id") in ids and event["kind"] in ("run_started", "experiment", "decision", "run_ended"):
            runs.setdefault(event["run_id"], []).append({k: v for k, v in event.items() if k not in OWN})
    return {ids[run_id]: events for run_id, events in runs.items()}


def results(
    contest: Contest, study: Bulk, entry: ContestEntry, pattern: Mapping[str, Sequence[Record]], rng: random.Random
) -> Iterable[Record]:
    """Tell the ledger of an entry and of the verifications of its runs; returns the events of its worker."""
    board, screening = (arms.match_of(TaskStudy(study), label) for label in (arms.BOARD, arms.SCREENING))
    pair = (arms.arm_of(screening, entry, 0), arms.arm_of(board, entry, 0))
    on = TaskStudy(study)
    arms.admit(study, entry, [(TaskMatch(on, screening), pair[0]), (TaskMatch(on, board), pair[1])])
    jobs = [arms.screening_job(TaskMatch(on, screening), pair[0], contest.config.screen_budget)]
    jobs += [run_job(on, board, pair[1], i) for i in range(contest.config.runs)]
    merit = 0.0 if rng.random() < 0.1 else rng.gauss(0.1, 0.08)  # a tenth end at the untouched script
    for job in jobs:
        ids = {"run_id": job.run_id, "arm_id": job.arm_id, "program_id": job.program_id, "match_id": job.match_id}
        for record in pattern[arms.BOARD if job.verify_seeds else arms.SCREENING]:
            own = {k: v for k, v in ids.items() if k in record}
            if "experiment_id" in record:
                own["experiment_id"] = content_id("e", job.run_id, record["experiment_id"])
            yield record | own | ({"run_seed": job.run_seed} if "run_seed" in record else {})
        luck = rng.gauss(0.0, 0.03) if merit else 0.0
        for seed in job.verify_seeds:
            gain = merit + luck + rng.gauss(0.0, 0.01) if merit else 0.0
            event = VerificationEvent(
                run_id=job.run_id, arm_id=job.arm_id, program_id=job.program_id, task=study.task.name,
                stream=job.stream, seed=seed, status="ok" if merit else "baseline", metric=2.0 - gain,
                baseline_metric=2.0, gain=gain, trust="scored" if merit else "",
            )  # fmt: skip
            study.record(event)
