"""Referee: gives a scorer predictions of fresh, untrusted processes, which never see the targets."""

from __future__ import annotations

import builtins
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from trainer.data import DataStore
from trainer.jobs.job import Ended, ForkedJob, Launcher, Limits
from trainer.outcome import Status
from trainer.sandbox.blob import Blob
from trainer.scoring import Failed, InvalidPredictions, ScoreSettings, scorer_of
from trainer.scoring.streaming import Channel
from trainer.streams import DECIDING, Stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import JsonValue

T = TypeVar("T")
CONVERSATION = 4.0  # limits of a conversation, as a multiple of those of a prediction in chunks
METERS_AGREE = 0.03, 0.02  # allowed difference of the two measurements of CPU time: share, or seconds
LEAST = 0.001  # smallest charge of a process, CPU-seconds; otherwise a run might never end
KILLED = (-9, -24)  # exit codes of SIGKILL and SIGXCPU, by which the kernel ends a process that reaches a limit
OUT_OF_MEMORY = re.compile(
    r"MemoryError|OutOfMemory|can't allocate memory|out of memory|Cannot allocate memory|CU\w+_STATUS_ALLOC_FAILED"
)
# error messages of our own code about a candidate's answers, which contain nothing but a few numbers
_SHAPE = r"\[[\d, ]{0,40}\]"
_OURS = re.compile(
    rf"\w+: (?:(?:step: )?logits have shape {_SHAPE}, expected {_SHAPE}|step must return \(logits, state\)"
    rf"|(?:[\w.]+ )?defines no function (?:load|logits)|a reply of \d+ bytes, there is room for \d+)"
    r"(?: \(line \d+\))?"
)


@dataclass
class ExperimentTally:
    """The resources that an experiment has used so far, and the findings."""

    cpu: float = 0.0
    further_cpu: float = 0.0  # of it, of scoring on further splits
    wall: float = 0.0  # sum over its processes
    peak_memory_mb: float = 0.0
    log: str = ""
    findings: list[str] = field(default_factory=list)
    longest: dict[str, float] = field(default_factory=dict)  # CPU-seconds of the candidate's processes, by their kind
    by_wall: bool = False  # the device is charged by wall time, regardless of CPU time
    utilization: float | None = None  # of a GPU, 0 to 1, sampled from outside
    device_memory_mb: float | None = None  # of a GPU, sampled from outside
    training_seconds: float | None = None  # device-seconds of the training alone
    training_memory_mb: float = 0.0  # peak of its processes
    result: str = ""  # the text in which a command left its metric
    rows: str | None = None  # the name of its values of rows, `trainer.rows.RowStore`
    steps: int | None = None  # of a simulated training

    @property
    def memory_mb(self) -> float:
        """Memory of the GPU if it was measured, otherwise of the largest process."""
        return self.peak_memory_mb if self.device_memory_mb is None else self.device_memory_mb

    def add(self, ended: Ended, constant: float, kind: str = "") -> None:
        """Add a process. ``kind``: for the candidate's code, ``train``, ``predict``, ``converse`` or ``command``."""
        used, outside = ended.cpu_seconds, ended.outside_cpu_seconds
        if outside is not None and not self.by_wall and not meters_agree(used, outside):
            self.findings.append(f"metering: wait4 measured {used:.3f} CPU-s, the cgroup {outside:.3f}")
            used = max(used, outside)  # without a sandbox, wait4 misses children if SIGCHLD is ignored
        net = max(LEAST, used - constant)
        self.cpu += net
        if kind in ("train", "command"):
            self.training_seconds = ended.wall_seconds if self.by_wall else net
            self.training_memory_mb = ended.peak_memory_mb
        if kind and not self.by_wall:
            self.longest[kind] = max(self.longest.get(kind, 0.0), net)
        self.wall += ended.wall_seconds
        self.peak_memory_mb = max(self.peak_memory_mb, ended.peak_memory_mb)
        self.log += ended.log


def meters_agree(waited: float, outside: float) -> bool:
    """Whether the CPU-seconds of wait4 and of the cgroup agree within the tolerance."""
    share, seconds = METERS_AGREE
    return abs(outside - waited) <= max(share * outside, seconds)


def judge(ended: Ended, limits: Limits, failure: Status) -> None:
    """Raise Failed if a process did not end successfully."""
    last = next((line for line in reversed(ended.log.splitlines()) if line.strip()), "")
    if ended.killed == "wall":
        raise Failed("timeout", f"killed at the hard limit after {ended.wall_seconds:.1f} s of wall time (wall)")
    if ended.killed == "cpu":
        raise Failed("timeout", f"killed at the hard limit after {ended.cpu_seconds:.2f} CPU-s (cpu)")
    if ended.killed == "memory":
        raise Failed("oom", f"killed: more than {limits.memory_mb} MB of memory")
    if ended.killed:
        raise Failed("crash", "killed: too many processes")
    if ended.exit_code == 0:
        return
    if ended.exit_code in KILLED and ended.cpu_seconds > limits.cpu_seconds:
        raise Failed("timeout", f"stopped by its CPU limit after {ended.cpu_seconds:.2f} CPU-s")
    if OUT_OF_MEMORY.search(ended.error) or ended.exit_code == -9:
        raise Failed("oom", ended.error or "killed by signal 9, as the kernel does when memory runs out")
    # the last printed line may help, although it is not trusted
    raise Failed(failure, (ended.error or f"exit code {ended.exit_code}{last and ': '}{last}")[:500])


def redact_output(ended: Ended) -> Ended:
    """Drop output and exit code of a process that has seen hidden rows and could leak them; keep type and line of its
    error.

    This leaves only a few bits, no more than the score reveals. Source: Bell and LaPadula (1973), the *-property.
    """
    error = ended.error
    if error and not _OURS.fullmatch(error):
        kind = getattr(builtins, ended.error_kind, None)
        known = isinstance(kind, type) and issubclass(kind, BaseException)
        line = re.search(r" \(line \d{1,5}\)$", error)
        error = "out of memory" if OUT_OF_MEMORY.search(error) else ended.error_kind if known else "an error"
        error += (line[0] if line else "") + "; the message is withheld, because it may contain hidden rows"
    code = ended.exit_code if ended.exit_code in (0, *KILLED) else 1
    return replace(ended, error=error, log="", exit_code=code)


class Referee:
    """What a scorer can use of one trained checkpoint: the hidden data, and fresh processes of the candidate.

    ``request`` contains the common fields of all requests; their costs are added to ``tally``. ``checked``: whether the
    answers of this trained model were checked on another split already; a check may be left out.
    """

    def __init__(
        self,
        launcher: Launcher,
        data: DataStore,
        request: ForkedJob,
        checkpoint: Blob | None,
        *,
        stream: Stream,
        seed: int,
        scoring: ScoreSettings,
        tally: ExperimentTally,
        checked: bool = False,
    ) -> None:
        self.launcher = launcher
        self.data = data
        self.request = request
        self.checkpoint = checkpoint
        self.stream: Stream = stream
        self.seed = seed
        self.scoring = scoring
        self.tally = tally
        self.checked = checked
        self.read_log = self.answered = False  # whether the scorer has read the output, and answers of the candidate

    @property
    def log(self) -> str:
        """The output of train.py, up to a limit. A score from it alone is at most self-reported."""
        self.read_log = True
        return self.tally.log

    @property
    def split(self) -> Path:
        """The hidden split of the stream."""
        return self.data.split(self.stream)

    @property
    def public_split(self) -> Path:
        """The search split, on which the researcher's feedback is scored."""
        return self.data.labelled("").split("search")

    @property
    def verifying(self) -> bool:
        """Whether the score must be `verified`: on the streams confirmation and reserve."""
        return self.stream in DECIDING

    def rng(self, label: str) -> np.random.Generator:
        """A generator that the candidate cannot predict.

        It does not depend on the source, so that equal models with equal seeds have bit-equal metrics.
        """
        import numpy as np

        return np.random.default_rng(self.data.streams.data_seed(self.stream, "referee", label, self.seed))

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """A private copy of the logits, [rows, (positions,) classes], of a fresh process that has only ``inputs``, the
        source and the checkpoint. InvalidPredictions."""
        import numpy as np

        positional = scorer_of(self.scoring).per_position
        shape = (*(inputs.shape if positional else inputs.shape[:1]), self.scoring["classes"])
        size = int(np.prod(shape)) * 4
        file = io.BytesIO()
        np.save(file, inputs, allow_pickle=False)
        limits = self.request.limits
        limits = replace(limits, file_mb=max(limits.file_mb, (size >> 20) + 1))
        with Blob(file.getbuffer()) as given, Blob() as output:
            descriptors = {"inputs": given.readable(), "output": output.fd}
            settings = {
                "chunk": self.scoring["chunk"],
                "classes": shape[-1],
                "per_position": positional,
                "torch": self.data.task.torch,
            }
            ended = self._ask("predict", descriptors, settings, limits)
            judge(ended, limits, failure="invalid")
            if output.size != size:
                raise InvalidPredictions(f"predictions have {output.size} bytes, expected {size}")
            logits = np.frombuffer(output.read(size), dtype=np.float32).reshape(shape)
        if not np.isfinite(logits).all():
            raise InvalidPredictions("predictions are not finite")
        self.answered = True
        return logits

    def converse(self, settings: dict[str, JsonValue], reply_bytes: int, talk: Callable[[Channel], T]) -> T:
        """Run ``talk`` with a fresh process that answers symbol by symbol (`trainer.inside.serving`)."""
        limits = self.request.limits
        limits = replace(
            limits, cpu_seconds=limits.cpu_seconds * CONVERSATION, wall_seconds=limits.wall_seconds * CONVERSATION
        )
        results: list[T | InvalidPredictions] = []
        (receive, send), (answer, reply) = _pipe(), _pipe()
        with Blob(size=reply_bytes) as shared, receive, send, answer, reply:

            def hold() -> bool:
                """Talk; False, because the process is stopped then.

                A candidate's failure is raised later, when the process has ended.
                """
                receive.close()  # so that the pipes close when the process ends
                reply.close()
                with send:  # whose end is that of the questions
                    try:
                        results.append(talk(Channel(send.fileno(), answer.fileno(), shared.fd, reply_bytes)))
                    except InvalidPredictions as error:
                        results.append(error)
                return False  # the result is known, and the process could delay its end

            descriptors = {"receive": receive.fileno(), "reply": reply.fileno(), "shared": shared.fd}
            ended = self._ask("converse", descriptors, settings, limits, hold)
        if ended.killed != "asked":
            judge(ended, limits, failure="invalid")
        (result,) = results
        if isinstance(result, InvalidPredictions):
            raise InvalidPredictions(ended.error) if ended.error else result
        self.answered = True
        return result

    def _ask(
        self,
        kind: str,
        descriptors: dict[str, int],
        settings: dict[str, JsonValue],
        limits: Limits,
        attend: Callable[[], bool] | None = None,
    ) -> Ended:
        handles = dict(descriptors)
        request = replace(self.request, command=[kind], limits=limits, settings=settings, descriptors=handles)
        if self.checkpoint is not None:
            handles["checkpoint"] = self.checkpoint.readable()
        try:
            ended = redact_output(self.launcher.run(request, attend))
            self.tally.add(ended, self.launcher.constant, kind)
            return ended
        finally:
            for name in ("checkpoint", "inputs"):
                if name in handles:
                    os.close(handles[name])


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    """Both ends, of which each can be closed twice."""
    receive, send = os.pipe2(os.O_CLOEXEC)
    return io.FileIO(receive), io.FileIO(send, "w")
