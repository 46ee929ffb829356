"""Does `evolve --meta` find a better instruction where there is one, and claim none where there is none?

python -m bench.instructions FILE [STUDIES]
default: 20 studies of each kind, simulated tasks; one line for each study is appended to FILE, which it goes on from

A test server stands for the model. It writes the task's best edits into a program in a given share of the jobs in which
the instruction has a planted sentence, else a random valid program; each new instruction that it writes has the
sentence. Share 0: the sentence does nothing. Each study searches on two tasks and tests on six that were not used, so
this shows the mechanism, not the worth of an instruction for a real model. Differences are in units of what stock gains
on a task; their interval is over studies.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.statistics import mean_interval, share_interval
from arena.study import Study
from bench.common import figure, go_on, kept
from meta.instructions.evolution import evolve_instructions
from meta.instructions.plan import read
from tests.llm.kits import environment_variables
from tests.llm.server import LlmServer
from tests.meta.llm.test_instructions import Oracle, create
from tests.studies import silent

SHARES, STUDIES, TASKS, CONFIRM = (1.0, 0.5, 0.0), 20, 8, 6


@dataclass(frozen=True)
class StudyResult:
    """``difference``: None if no instruction was better in the search, so that nothing was tested."""

    share: float
    study: int
    claimed: bool
    difference: float | None


def one(job: tuple[float, int]) -> StudyResult:
    share, study = job
    with tempfile.TemporaryDirectory() as name:
        oracle = Oracle(Path(name) / "tasks", TASKS, share=share, first=100 * study)
        with LlmServer(oracle) as server:
            os.environ.update(environment_variables(server.url))
            create(Path(name) / "study", oracle.tasks, CONFIRM, seed=study)
            opened = Study.open(Path(name) / "study")
            result = evolve_instructions(opened, read(opened.config.plan, opened.folder), silent)
    return StudyResult(share, study, result.holds, result.compared.difference if result.compared else None)


def show(lines: Sequence[StudyResult]) -> None:
    for share in SHARES:
        own = [line for line in lines if line.share == share]
        if not own:
            continue
        claims = sum(line.claimed for line in own)
        low, high = share_interval(claims, len(own))
        tested = mean_interval([line.difference for line in own if line.difference is not None])
        figure(f"followed_{share:g}, claimed", f"{claims} of {len(own)} [{low:.2f}, {high:.2f}]",
               "<= .025 of them" if share == 0 else "")  # fmt: skip
        if tested.low is not None and tested.high is not None:
            words = f"{tested.mean:+.2f} [{tested.low:+.2f}, {tested.high:+.2f}], {tested.n} tested"
            figure(f"followed_{share:g}, difference", words)


def main(words: Sequence[str]) -> None:
    file, studies = Path(words[0]), int(words[1]) if len(words) > 1 else STUDIES
    made = {(line.share, line.study) for line in kept(file, StudyResult)}
    jobs = [(share, study) for study in range(1, studies + 1) for share in SHARES if (share, study) not in made]
    go_on(file, one, jobs, os.cpu_count() or 1)
    show(kept(file, StudyResult))


if __name__ == "__main__":
    main(sys.argv[1:])
