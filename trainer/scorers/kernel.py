"""Scores a kernel: the time of a function relative to the task's reference, on new inputs.

The evaluator measures the time. It sends the inputs, waits for an acknowledgement, and starts the call with a go byte;
every result is compared with the trusted reference's. Candidate and reference alternate in processes of the same kind
and never run at the same time, so that neither can slow the other down.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from programs.errors import TaskError
from trainer.building import trusted
from trainer.launcher import LauncherFault
from trainer.predictions import InvalidPredictions
from trainer.process_clock import ProcessClock
from trainer.referee import Failed
from trainer.scoring import Referee, Score, ScoreSettings
from trainer.streaming import Channel

if TYPE_CHECKING:
    from pydantic import JsonValue

T = TypeVar("T")
_TURNS = 4  # times that candidate and reference alternate
_MAKE = """
import sys; sys.path.insert(0, sys.argv[1])
import data, numpy
for case, seed in enumerate(sys.stdin.read().split()):
    inputs = [numpy.ascontiguousarray(one) for one in data.kernel_inputs(int(seed))]
    for place, one in enumerate(inputs):
        numpy.save(f"{sys.argv[2]}/{case}-{place:03d}.npy", one, allow_pickle=False)
    numpy.save(f"{sys.argv[2]}/{case}-result.npy", numpy.asarray(data.reference(inputs)), allow_pickle=False)
"""


@dataclass(frozen=True)
class Case:
    """Inputs of one call, and the reference's result on them."""

    inputs: list[Any]
    result: Any

    def settings(self, function: str) -> dict[str, JsonValue]:
        """The settings of the process that calls ``function``: its name, and types and shapes of the arrays."""
        forms: list[JsonValue] = [[one.dtype.str, list(one.shape)] for one in self.inputs]
        return {"function": function, "inputs": forms, "output": [self.result.dtype.str, list(self.result.shape)]}


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: ``transfer`` until the inputs are acknowledged, ``call`` from go until the result is copied.

    They are CPU-seconds of the process if these can be read from outside, otherwise wall time.
    """

    transfer: float
    call: float


class Kernel:
    """Candidate's seconds over the reference's. ``[score]``: ``repetitions``, ``tolerance`` (plus relative), ``build``.

    With ``build = "c"`` the checkpoint is C source, which is compiled, and ``reference`` is a C file of the task.
    """

    per_position = False

    def __init__(self, scoring: ScoreSettings) -> None:
        self.repetitions: int = scoring.get("repetitions", 10)
        self.reference: str = scoring.get("reference", "")
        self.needs_checkpoint = bool(scoring.get("build"))
        self.tolerance: float = scoring.get("tolerance", 1e-3)
        self.seconds: float = scoring.get("seconds", 600.0)

    def score(self, referee: Referee) -> Score:
        data = referee.task_folder / "data.py"
        each = -(-self.repetitions // _TURNS)
        seeds = referee.rng("kernel").integers(1 << 31, size=_TURNS * (each + 1))  # plus a warm-up call per turn
        mine = referee.build() if self.needs_checkpoint else b""
        theirs = trusted(referee.task_folder / self.reference) if self.needs_checkpoint else b""
        cases, ratios = make_cases(data, [int(seed) for seed in seeds], self.seconds), []
        for turn in range(_TURNS):
            part = cases[turn * (each + 1) :][: each + 1]
            plays = [partial(self._play, referee, part, theirs, data), partial(self._play, referee, part, mine)]
            reference, candidate = [play() for play in plays] if turn % 2 == 0 else _backwards(plays)
            ratios += [_ratio(one, two) for one, two in zip(candidate[1:], reference[1:], strict=True)]
        return Score(statistics.median(ratios), "verified" if referee.verifying else "scored")

    def _play(self, referee: Referee, cases: list[Case], library: bytes, instead: Path | None = None) -> list[Timing]:
        """Time all cases in one process. InvalidPredictions for a wrong result, TaskError for one of the reference."""
        settings = cases[0].settings("reference" if instead and not library else "solve")
        talk = partial(time_calls, cases=cases, tolerance=self.tolerance, seconds=self.seconds)
        loop, room = "compiled" if library else "kernel", max(1, cases[0].result.nbytes)
        try:
            return referee.converse(loop, settings, room, talk, instead=instead, library=library)
        except InvalidPredictions as error:
            if instead is None:
                raise
            hint = "it must return the same result each time"
            raise TaskError(f"{instead}: reference: {error}", hint=hint) from None
        except Failed as failed:
            if instead is None:
                raise
            if failed.status in ("oom", "timeout"):
                raise LauncherFault(f"the reference: {failed.reason}") from None  # tried again
            raise TaskError(f"{instead}: reference: {failed.reason}", hint="it must work on every input") from None


def time_calls(channel: Channel, cases: list[Case], tolerance: float, seconds: float) -> list[Timing]:
    """Time and check each case once, within ``seconds`` in total.

    No time between two results is left out: work after the previous result counts as transfer.
    """
    line, clock, began = time.monotonic() + seconds, ProcessClock(None), 0.0
    timings: list[Timing] = []
    for case in cases:
        payload = b"".join(one.tobytes() for one in case.inputs)
        if clock.process is None:
            began = clock.now()
        channel.send(payload, line - time.monotonic())
        channel.answered(line - time.monotonic())
        if not timings:  # not earlier: only after the first answer is it certainly the experiment's own process
            clock = ProcessClock(channel.process())
            began = clock.now()  # its start-up is not part of any call
        acknowledged = clock.now()
        reply = channel.ask(b"!", line - time.monotonic())  # includes the copy, so the result must be complete by then
        replied = clock.now()
        timings.append(Timing(acknowledged - began, replied - acknowledged))
        began = replied
        _refuse_wrong(reply, case.result, tolerance)
    return timings


def _backwards(plays: Sequence[Callable[[], T]]) -> list[T]:
    """The results in order, from calls in reverse order."""
    return [play() for play in reversed(plays)][::-1]


def _ratio(candidate: Timing, reference: Timing) -> float:
    """Of the calls; a transfer that takes longer than the reference's may hide work, so the excess counts."""
    return (candidate.call + max(0.0, candidate.transfer - reference.transfer)) / reference.call


def _refuse_wrong(reply: memoryview, expected: Any, tolerance: float) -> None:
    """InvalidPredictions unless the bytes of ``reply`` are the expected array, within tolerance, exact if integer."""
    import numpy as np

    result = np.frombuffer(reply, expected.dtype, expected.size).reshape(expected.shape)
    if expected.dtype.kind not in "fc":
        wrong = int((result != expected).sum())
    else:
        close = np.isclose(result, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
        wrong = int((~close).sum())
    if wrong:
        raise InvalidPredictions(f"wrong result: {wrong} of {expected.size} numbers differ")


def make_cases(data: Path, seeds: list[int], seconds: float) -> list[Case]:
    """Inputs and results for each seed, from ``kernel_inputs`` and ``reference`` of data.py in a separate process.

    TaskError if it fails, or if shapes and types differ between seeds.
    """
    import numpy as np

    hint = "it must define kernel_inputs(seed) -> list of arrays and reference(inputs) -> array"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-s", "-P", "-c", _MAKE, str(data.parent), folder]
        try:
            done = subprocess.run(
                command,
                input=" ".join(map(str, seeds)),
                capture_output=True,
                text=True,
                env=environment,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise TaskError(f"{data}: no inputs after {seconds:.0f} s", hint=hint) from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise TaskError(f"{data}: {last}", hint=hint)
        cases = []
        for case in range(len(seeds)):
            files = sorted(Path(folder).glob(f"{case}-[0-9]*.npy"))
            cases.append(Case([np.load(file) for file in files], np.load(Path(folder) / f"{case}-result.npy")))
    if not cases[0].result.size:
        raise TaskError(f"{data}: reference returns an empty array", hint=hint)
    if any(case.settings("") != cases[0].settings("") for case in cases):
        raise TaskError(f"{data}: shapes or types differ between seeds", hint=hint)
    return cases


make = Kernel
