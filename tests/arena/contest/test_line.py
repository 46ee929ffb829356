"""The queue that is kept gives the turns of the queue that is read anew."""

from __future__ import annotations

import random
from pathlib import Path

from arena.contest import accounts
from arena.contest.entries import change, store
from arena.contest.line import ActiveRun, QueueState
from arena.contest.queue import Costs, turns
from arena.contest.tables import ENDED, ContestEntry
from programs.program import Program
from tests.arena.contest.hosting import RUNS, founded

COSTS = Costs(screen=0.3, run=0.7)


def test_whose_turn_it_is_stays_right_while_entries_come_and_move(tmp_path: Path) -> None:
    contest, rng = founded(tmp_path).contest, random.Random(3)
    people = [accounts.join(contest.database, contest.config, f"P{i}", "")[0] for i in range(4)]
    kept, held = QueueState(COSTS, RUNS), list[ActiveRun]()
    told = []
    for step in range(150):
        if rng.random() < 0.3:
            with contest.database.write() as connection:
                program = Program.parse(f"# {step}\n\nOne.\n".encode(), file="program.md")
                store(connection, contest.config, program, role="program", person=rng.choice(people))
        if rng.random() < 0.2:  # somebody else's doing, the host's for one
            change(contest, rng.randint(1, 2), attempts=rng.randint(0, 1), state=rng.choice(("void", "queued")))
        kept.look(contest.database)
        anew = QueueState(COSTS, RUNS)
        anew.look(contest.database)
        found = kept.next(held)
        waiting, served = anew.waiting(held)
        ready = {w.number: w for w in waiting if not w.blocked}
        number = next(turns(ready.values(), served, COSTS), None)
        assert (found.number if found else None) == number and found == ready.get(number or 0)
        told.append(number)
        if found is not None and len(held) < 2:
            held.append(ActiveRun(found.number, found.person, found.screening))
        elif held:
            ended(contest, held.pop(rng.randrange(len(held))), rng)
    assert len(set(told)) > 20


def ended(contest, hand: ActiveRun, rng: random.Random) -> None:  # type: ignore[no-untyped-def]
    with contest.database.read() as connection:
        entry = connection.get_one(ContestEntry, hand.number)
    if entry.state in ENDED:
        return
    if hand.screening:
        change(contest, hand.number, state=rng.choice(("waiting", "waiting", "failed")))
    elif entry.runs_done < RUNS:
        done = entry.runs_done + 1
        change(contest, hand.number, runs_done=done, attempts=0, state="verified" if done == RUNS else "running")
