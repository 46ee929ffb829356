"""A worker process: reads jobs as JSON lines, runs them one after the other, and answers with JSON lines.

It keeps a warm trainer for each task that its jobs name, and for each device of a run (started with the first wave),
and writes events to its own ledger segment.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue

from analysis.ledger import Ledger
from analysis.ledger.run_state import RunState
from arena.study.settings import StudyConfig
from arena.work.clock_rule import CpuUse, own_experiments, verification
from arena.work.jobs import ErrorRecord, Job, JobResult, MeasureJob, Measurement, RunJob, WorkerMessage, from_json
from arena.work.spend import spend_of
from arena.work.trainers import Trainers
from inner_loop.events import DecisionEvent, Event, Experiment, FaultEvent, RunEndedEvent, RunStartedEvent
from inner_loop.run import run
from inner_loop.run_context import RECORD as RECORD
from inner_loop.run_context import REPLAY as REPLAY
from inner_loop.run_context import RunContext, tapes
from programs.common.errors import EnvironmentProblem, MetaloopError
from programs.program import Program
from trainer.devices import Devices
from trainer.experiment import Spec, Trainer
from trainer.source import Source

Tell = Callable[[WorkerMessage], None]
SHOWN = ("run_id", "number", "status", "metric", "decision", "description", "device_seconds_charged")


def shown(event: Event) -> dict[str, JsonValue] | None:
    """The progress message of an event; None for an event that is not shown."""
    if not isinstance(event, Experiment | DecisionEvent):
        return None
    return {"kind": event.kind, **{name: getattr(event, name) for name in SHOWN if hasattr(event, name)}}


class Worker:
    """Carries out jobs for one study. ``tell`` sends a message to the parent.

    ``repositories``: whether each run leaves its git repository; all figures of a study come from the ledger.
    ``sync_each``: whether every experiment waits for the disk, or only the end of a run, where they cost nothing.
    ``spending``: the study whose folder has the spending of models, where it is not ``folder``.
    """

    def __init__(
        self,
        folder: Path,
        index: int,
        trainers: Trainers,
        tell: Tell,
        *,
        repositories: bool = True,
        sync_each: bool = True,
        spending: Path | None = None,
    ) -> None:
        self.folder = folder
        self.index = index
        self.config = StudyConfig.read(folder / "study.toml")
        self.trainers = trainers
        self.devices: Devices  # of the job in hand
        self.trainer: Trainer  # the first of them
        self.tell = tell
        self.repositories = repositories
        self.synced = ("experiment", "run_ended", "call") if sync_each else ("run_ended", "call")
        self.spending = spending or folder
        self.ledger = Ledger(folder / "ledger", f"worker-{index}")
        self.run = RunState()  # the one in hand, with what an interrupted attempt left

    def should_stop(self) -> bool:
        return (self.folder / "stop").exists()

    def emit(self, event: Event) -> None:
        """Write an event down, then show it to the parent. Outcomes and ends are synced, decisions can be replayed."""
        self.ledger.append(event.to_record(), sync=event.kind in self.synced)
        self.run.take(event)
        if (message := shown(event)) is not None:
            self.tell({"progress": message})

    def carry_out(self, job: Job) -> JobResult:
        self.devices = self.trainers.at(job.task)
        self.trainer = self.devices.trainer
        if isinstance(job, RunJob):
            return self.play(job)
        if isinstance(job, MeasureJob):
            spec = Spec(Source(job.files), job.seed, job.stream, job.fraction, splits=(job.split,))
            measured = self.measure(spec, own=job.own)
        else:
            measured = self.measure(Spec(self.trainer.task.baseline(), job.seed, job.stream, splits=job.splits))
        return JobResult(job.job_id, "finished", (measured,))

    def measure(self, spec: Spec, run_id: str | None = None, own: Iterable[CpuUse] = ()) -> Measurement:
        """Train a source from scratch under a fresh seed and score it on the hidden split of the stream.

        ``own``: experiments of the same source; a measurement that used more CPU than they did is invalid.
        Raises EnvironmentProblem for a fault of our own, after its reason was written down.
        """
        began = time.perf_counter()
        outcome = self.trainer.run(spec) if self.config.fixed_steps else verification(self.trainer, spec, tuple(own))
        if outcome.status == "fault":
            fault = FaultEvent(
                run_id=run_id,
                source_id=spec.source.source_id,
                stream=spec.stream,
                seed=spec.seed,
                reason=outcome.reason,
            )
            self.ledger.append(fault.to_record())
            message = f"an experiment could not be carried out: {outcome.reason}"
            raise EnvironmentProblem(message, hint="metaloop doctor")
        return Measurement(
            spec.seed,
            outcome.status,
            outcome.metric,
            outcome.reason,
            outcome.trust,
            outcome.device_seconds_spent,
            time.perf_counter() - began - self.trainer.waited,
            outcome.findings,
            outcome.device_seconds_charged,
            outcome.training_seconds,
            outcome.prediction_seconds,
            outcome.constraints,
            outcome.splits,
            outcome.rows,
            outcome.further_seconds,
        )

    def play(self, job: RunJob) -> JobResult:
        self.run = RunState()
        for event in job.recorded:
            self.run.take(event)
        self.emit(
            RunStartedEvent(
                task=self.trainer.task.name,
                device_seconds_budget=job.budget,
                **{name: getattr(job, name) for name in STARTED_FIELDS},
            )
        )
        folder = self.folder / "runs" / job.run_id if self.repositories else None
        result = run(
            Program.parse(job.program_text, job.program_name),
            self.trainer,
            run_id=job.run_id,
            run_seed=job.run_seed,
            luck=job.luck,
            streams=self.config.streams,
            budget_seconds=job.budget,
            researcher=job.researcher,
            emit=self.emit,
            folder=folder,
            recorded=job.recorded,
            should_stop=self.should_stop,
            context=self.run_context(job, folder),
            devices=self.devices,
            beside=[Program.parse(text, name) for name, text in job.beside],
            start=Source(job.start) if job.start else None,
            order=job.order,
        )
        if result.state != "finished" and result.problem is None:
            return JobResult(job.run_id, "interrupted")
        spend = spend_of(self.run.calls)
        ended = replace(result, calls=spend.calls, tokens=spend.tokens, usd=spend.usd, final=Source(()))
        self.emit(ended)
        if result.problem is not None:
            return JobResult(job.run_id, "interrupted", problem=describe(result.problem))
        return self.verify(job, result.final, ended)

    def run_context(self, job: RunJob, folder: Path | None) -> RunContext:
        """The context of a researcher with a model. The command decides where calls are recorded and replayed."""
        record, replay = tapes(self.folder)
        return RunContext(
            config=self.config.llm,
            run_id=job.run_id,
            study=self.spending,
            folder=folder,
            recorded=job.recorded,
            emit=self.emit,
            should_stop=self.should_stop,
            record=record,
            sandboxed=self.config.sandbox,
            replay=replay,
        )

    def verify(self, job: RunJob, final: Source, ended: RunEndedEvent) -> JobResult:
        """Train the final source of a run on seeds that no researcher saw."""
        untouched = ended.final_source_id == self.trainer.task.baseline().source_id
        specs = [
            Spec(final, seed, job.stream, block=job.match_id, splits=(split,)) for seed, split in job.fresh(untouched)
        ]
        own = own_experiments(self.run.experiments.values(), ended.final_source_id)
        self.tell({"progress": {"kind": "measuring", "run_id": job.run_id}})
        measured = tuple(self.measure(spec, job.run_id, own) for spec in specs)
        return JobResult(job.run_id, "finished", measured, untouched, ended)


STARTED_FIELDS = ("run_id", "match_id", "arm_id", "program_id", "run_seed", "stream", "researcher")


def describe(error: BaseException) -> ErrorRecord:
    """An error in a form that the parent can raise again."""
    if isinstance(error, MetaloopError):
        return {"kind": error.kind, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return {
            "kind": "environment",
            "message": f"{error.strerror}{where}",
            "hint": "free disk space or repair the folder, then repeat the command: nothing is lost",
        }
    return {
        "kind": "internal",
        "message": f"{type(error).__name__}: {error}",
        "hint": "see log/ in the study",
        "traceback": traceback.format_exc(),
    }


def serve(folder: Path, index: int, jobs: Iterable[Job], tell: Tell, spending: Path | None = None) -> None:
    """Run ``jobs`` as they arrive and send each result."""
    with Trainers(folder, StudyConfig.read(folder / "study.toml")) as trainers:
        worker = Worker(folder, index, trainers, tell, spending=spending)
        worker.tell({"ready": os.getpid()})
        for job in jobs:
            worker.tell({"result": replace(worker.carry_out(job), worker=index).to_json()})


def bound_to(parent: int) -> bool:
    """Let this process end with the one that started it. False if that has ended before the kernel was asked; in a
    container it may be process 1."""
    with contextlib.suppress(ImportError):
        from trainer.inside.metering import die_with_parent  # for Linux alone

        die_with_parent()
    return os.getppid() == parent


def main() -> None:
    """``python -m arena.work.worker FOLDER INDEX PARENT [STUDY]``: the study, which worker of it, the starting process,
    and the study whose folder has the spending of models, if it is another."""
    if not bound_to(int(sys.argv[3])):
        return
    # The parent's pipe is kept apart from stdout, so that a stray print cannot break the protocol.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(message: WorkerMessage) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    jobs = (from_json(json.loads(line)) for line in sys.stdin)
    try:
        spending = Path(sys.argv[4]) if sys.argv[4:] and sys.argv[4] else None
        serve(Path(sys.argv[1]), int(sys.argv[2]), jobs, tell, spending)
    except BrokenPipeError:
        os._exit(1)
    except Exception as error:  # process boundary: the reason travels to the parent
        with contextlib.suppress(OSError):  # the log may lie on the disk that is full
            traceback.print_exc()
        tell({"error": describe(error)})
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
