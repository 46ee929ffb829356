"""Checks that the recorded seeds of a contest were derived from its secret, as the rules promise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, TypedDict, cast

from arena.audit.scratch import secret_hash
from arena.contest.settings import ContestConfig
from programs.common.errors import Corrupt
from programs.common.ids import content_id
from trainer.streams import DECIDING, Stream

if TYPE_CHECKING:
    from arena.study.study import Study

MOST_RUNS = 2_000  # of an entry in a match: more than `contest init` allows


class DerivedSeeds(TypedDict):
    """What was derived again and was the same. The hashes are those that were published at the opening."""

    runs: int
    seeds: int
    secret_hash: str
    rules_hash: str


def derive_seeds(study: Study) -> DerivedSeeds:
    """Derive the seeds of all runs, of their measurement and of the untouched script from the secret again, and compare
    them with the ledger's. Raises Corrupt at the first other one, and where secret or rules do not match their hash."""
    config, state, streams = ContestConfig.read(study.folder), study.state, study.streams
    if secret_hash(streams) != config.secret_hash:
        raise Corrupt(
            f"{study.folder}: the secret does not match the published hash", hint="ask the host for the right copy"
        )
    same = Counter(entry.program_id for entry in state.entries.values())
    unrecorded = max((entry.number for entry in state.entries.values()), default=0) - len(state.entries)
    runs = seeds = 0
    for run_id, run in state.runs.items():
        if (start := run.started) is None:
            continue
        match = state.matches[start.match_id]
        stream = cast(Stream, match.stream)
        number = _number(start.arm_id, run_id)
        of_runs: Stream = stream if stream in DECIDING else "search"
        twins = ((), *((str(k),) for k in range(1, same[start.program_id] + unrecorded)))  # entries of the same text
        own = (streams.seed(of_runs, "run", match.label, number, *twin) for twin in twins)
        _derived(f"run {run_id}", [start.run_seed], own)
        fresh = [streams.seed(stream, "verify", run_id, k) for k in range(study.config.seeds_on(stream))]
        _derived(f"the measurement of run {run_id}", run.verifications, fresh)
        runs, seeds = runs + 1, seeds + 1 + len(run.verifications)
    for _, name, seed, _ in state.baselines:
        known = (streams.seed(cast(Stream, name), "baseline", k) for k in range(study.config.baseline_seeds))
        _derived("the untouched script", [seed], known)
        seeds += 1
    return {"runs": runs, "seeds": seeds, "secret_hash": config.secret_hash, "rules_hash": config.rules_hash}


def _number(arm_id: str, run_id: str) -> int:
    """Which run of its arm it is: its id is derived from that."""
    for number in range(MOST_RUNS):
        if content_id("r", arm_id, str(number)) == run_id:
            return number
    raise Corrupt(f"run {run_id} is none of the runs of its entry", hint="ask the host")


def _derived(what: str, seeds: Collection[int], expected: Iterator[int] | Collection[int]) -> None:
    for seed in seeds:
        if seed not in expected:
            hint = "ask the host: the rules say that all seeds are derived from the secret"
            raise Corrupt(f"the seed {seed} of {what} is not derived from the published secret", hint=hint)
