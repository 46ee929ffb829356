"""`metaloop home audit`: is each block of a clone of main what it says it is?

What needs no training is checked for all blocks: git's hashes, the order of the commits, the trailers, and the test,
whose evidence, level and interval are computed again from the recorded differences. Then some blocks are trained
again beside the main that they were compared with, on fresh seeds and a fresh hidden split of the auditor's own.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from analysis.statistics import welch_difference
from arena.audit.scratch import Say
from arena.audit.verify import How, Sample, carry_out
from arena.home.chain import Chain, Trailers, Voided
from arena.home.checks import checked_files, source_of
from arena.home.e_values import LEAST_PAIRS, Moments, confidence, level, log_e_value
from programs.common.errors import Corrupt, UsageError
from trainer.task import Task

NEAR = 1e-9


@dataclass(frozen=True)
class AuditedBlock:
    """A block measured again. ``gain`` with its 95% interval is the auditor's, ``recorded`` the host's.

    ``verdict``: confirmed (the interval is above zero), contradicted (it is below the host's interval or below zero
    altogether), else open.
    """

    block: int
    commit: str
    recorded: float
    gain: float | None
    low: float | None
    high: float | None
    verdict: str


def problems(chain: Chain, task: Task) -> Iterator[str]:
    """What is wrong with a chain, as sentences; nothing if all is right."""
    if damage := chain.check():
        yield f"git fsck: {damage}"
        return
    commits = chain.commits()
    if not commits:
        yield "main has no commit"
        return
    if chain.files(commits[0]) != dict(task.baseline().files):
        yield f"block 0 is not the untouched source of the task {task.name}"
    merges, tests = 0, set[int]()
    by_block = {0: commits[0]}
    for before, commit in pairwise(commits):
        if chain.parents(commit) != [before]:
            yield f"{commit[:10]}: it does not follow {before[:10]} alone"
        try:
            trailers = chain.trailers(commit)
        except Corrupt as fault:
            yield f"{commit[:10]}: {fault.message}"
            continue
        if trailers is None:
            yield f"{commit[:10]}: a commit that is no block"
            continue
        if trailers.block != len(by_block):
            yield f"{commit[:10]}: block {trailers.block} follows block {len(by_block) - 1}"
        if trailers.base != before:
            yield f"block {trailers.block}: it was compared with {trailers.base[:10]}, not with the main before it"
        if isinstance(trailers, Voided):
            yield from _void_problems(chain, trailers, commit, by_block, commits)
        else:
            yield from _test_problems(trailers, merges)
            yield from _file_problems(chain, task, before, commit, trailers.block)
            if trailers.test in tests:
                yield f"block {trailers.block}: test {trailers.test} is named twice"
            tests.add(trailers.test)
            merges += 1
        by_block[trailers.block] = commit


def _file_problems(chain: Chain, task: Task, before: str, commit: str, block: int) -> Iterator[str]:
    """What a proposal could not have changed: files that come or go, or that are too large."""
    try:
        main, files = chain.files(before), chain.files(commit)
        checked_files(files, task, main)
    except (Corrupt, UsageError) as fault:
        yield f"block {block}: {fault.message}"
        return
    if removed := main.keys() - files.keys():
        yield f"block {block}: it lacks {min(removed)}"


def _test_problems(trailers: Trailers, merges: int) -> Iterator[str]:
    """Those of one block's figures; ``merges``: blocks merged before it."""
    name, seen = f"block {trailers.block}", Moments.of(trailers.differences)
    if not all(map(math.isfinite, trailers.differences)):
        yield f"{name}: a difference is not finite"
        return
    if not len(trailers.seeds) == len(trailers.splits) == seen.n or seen.n < LEAST_PAIRS - 1:
        yield f"{name}: {len(trailers.seeds)} seeds, {len(trailers.splits)} splits and {seen.n} differences"
    if len(set(trailers.splits)) < len(trailers.splits) or len(set(trailers.seeds)) < len(trailers.seeds):
        yield f"{name}: a seed or a split was used twice"
    if not math.isclose(log_e_value(seen), trailers.log_e, rel_tol=NEAR, abs_tol=NEAR):
        yield f"{name}: log e is {log_e_value(seen):.6f} by its differences, and recorded as {trailers.log_e:.6f}"
    if trailers.test < 1 or trailers.level > level(max(1, trailers.test), merges) * (1 + NEAR):
        yield f"{name}: level {trailers.level:.3g} is more than the error budget grants to test {trailers.test}"
    if trailers.log_e < -math.log(trailers.level):
        yield f"{name}: log e is {trailers.log_e:.3f}, and a merge needs {-math.log(trailers.level):.3f}"
    low, high = confidence(seen)
    if not all(
        math.isclose(a, b, rel_tol=NEAR, abs_tol=NEAR)
        for a, b in ((seen.mean, trailers.gain), (low, trailers.low), (high, trailers.high))
    ):
        yield f"{name}: its gain or interval does not follow from its differences"


def _void_problems(
    chain: Chain, trailers: Voided, commit: str, by_block: dict[int, str], commits: Sequence[str]
) -> Iterator[str]:
    first = by_block.get(min(trailers.void, default=0), "")
    if not first or first == commits[0]:
        yield f"block {trailers.block}: it voids no block that there is"
    elif chain.files(commit) != chain.files(commits[commits.index(first) - 1]):
        yield f"block {trailers.block}: it is not the main before block {min(trailers.void)}"


def retrain(
    chain: Chain, task: Task, how: How, most: int, seeds: int, say: Say, drawn: random.Random
) -> list[AuditedBlock]:
    """Train up to ``most`` blocks again, drawn at random, with ``seeds`` fresh seeds on each side."""
    entries = [(commit, chain.trailers(commit)) for commit in chain.commits()]
    void = {block for _, trailers in entries if isinstance(trailers, Voided) for block in trailers.void}
    standing = [
        (commit, trailers)
        for commit, trailers in entries
        if isinstance(trailers, Trailers) and trailers.block not in void
    ]
    chosen = sorted(drawn.sample(standing, min(most, len(standing))), key=lambda pair: pair[1].block)
    sides = {commit: None for commit, trailers in chosen for commit in (trailers.base, commit)}
    samples = [Sample(commit, source_of(chain.files(commit)), seeds) for commit in sides]
    if not samples:
        return []
    check = carry_out(task, samples, 1, how, say)
    return [
        _audited(trailers, commit, check.taken[trailers.base].metrics, check.taken[commit].metrics, task.sign)
        for commit, trailers in chosen
    ]


def _audited(
    trailers: Trailers, commit: str, main: Sequence[float | None], block: Sequence[float | None], sign: float
) -> AuditedBlock:
    before, after = ([sign * value for value in side if value is not None] for side in (main, block))
    if min(len(before), len(after)) < 2 or len(after) < len(block):
        failed = len(block) - len(after)
        verdict = f"failed on {failed} seeds" if failed else "open"
        return AuditedBlock(trailers.block, commit, trailers.gain, None, None, None, verdict)
    gain = welch_difference(before, after)
    low, high = gain.interval()
    verdict = "open"
    if low is not None and high is not None:
        verdict = "confirmed" if low > 0 else "contradicted" if high < max(0.0, trailers.low) else "open"
    return AuditedBlock(trailers.block, commit, trailers.gain, gain.value, low, high, verdict)
