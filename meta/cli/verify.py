"""``metaloop verify``: check a study, a run or a train.py on fresh seeds and fresh hidden data."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from analysis.found_scripts import FoundScript, measured, script_sentence
from analysis.wording import duration, plain_text
from arena import embedded, sandbox
from arena.public import public_line
from meta.cli import launch, resolve
from meta.cli.commands import verb
from meta.cli.consent import consent
from meta.cli.flags import PlayingFlags, StartFlags, StudyFlag
from meta.cli.options import argument, flag, only, rare
from meta.cli.output import Output, brief
from meta.cli.progress import ticker
from meta.cli.views import View, show
from meta.kinds.cost import SETUP
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    from arena.scratch import Say
    from arena.study import Study
    from arena.verify import Audit, How
    from trainer.source import Source
    from trainer.task import Task

ARMS = View("", hide=("program_id", "arm_id", "recorded_low", "recorded_high", "of_runs"))


@dataclass(frozen=True)
class AuditFlags:
    """The flags of a check."""

    study: StudyFlag
    task: Annotated[str | None, flag("The task of a SOURCE.", "-t", metavar="NAME|DIR")]
    seeds: Annotated[int, flag("Fresh seeds for a SOURCE or RUN.", "-n", min=2, max=64, default=4)]
    runs: Annotated[int, flag("Runs of each program to check, for a STUDY.", min=2, max=1000, default=8)]
    playing: Annotated[PlayingFlags, only("workers", "fixed_steps", "no_sandbox")]
    secret: Annotated[str | None, rare("Repeat an earlier check with the secret it printed.")]
    start: StartFlags

    def how(self, task: Task, fixed_steps: bool) -> How:
        from arena.verify import How
        from trainer.streams import Streams

        if self.secret and not re.fullmatch("[0-9a-fA-F]{32}", self.secret):
            raise UsageError("--set secret is not 32 hex digits", hint="an earlier check printed its secret at the end")
        streams = Streams(bytes.fromhex(self.secret)) if self.secret else Streams.fresh()
        workers = 1 if task.timed else launch.workers_of(self.playing.workers)
        return How(streams, workers, fixed_steps, not self.playing.no_sandbox)


@dataclass(frozen=True)
class PlannedCheck:
    """A check before it starts. ``untrained``: further experiments, which cost launch and scoring only. ``study``: the
    one that names the task, which may come from someone else."""

    task: Task
    how: How
    trainings: int
    untrained: int
    carry_out: Callable[[Say], Audit]
    study: Study | None = None

    def cost(self) -> dict[str, Any]:
        """``share``: of what the study spent."""
        from arena.scratch import secret_hash
        from arena.verify_study import spent_by

        task, untrained = self.task, self.untrained * embedded.can_be_untrained(self.task)
        launching = max(task.cost_seconds - task.budget_seconds, 0.02 * task.cost_seconds)
        seconds = self.trainings * task.cost_seconds + untrained * launching
        whole = spent_by(self.study) if self.study else 0.0
        return {
            "task": task.name,
            "experiments": self.trainings,
            "untrained": untrained,
            "device_seconds": round(seconds, 1),
            "share": round(seconds / whole, 4) if whole else None,
            "workers": self.how.workers,
            "wall_seconds": round(seconds / self.how.workers + SETUP, 1),
            "sandbox": sandbox.said(task, self.how.sandbox),
            "secret_hash": secret_hash(self.how.streams),
        }


@verb(
    ("metaloop verify studies/NAME", "the champion's lead over stock"),
    ("metaloop verify r3f2 -s studies/NAME", "the final train.py of one run"),
    ("metaloop verify my/train.py -t strokes", "any train.py against the task's baseline"),
)
def verify(out: Output, what: Annotated[str, argument(metavar="STUDY|RUN|SOURCE")], flags: AuditFlags) -> int:
    """Check a result: train it again from scratch, on fresh seeds and fresh hidden data. Both
    are drawn from a new secret. The command prints the secret's hash before the check, and
    the secret after it. Exits with 1 if the verdict is invalid or contradicted.

    SOURCE (a train.py) or RUN (its final train.py): measures the gain over the task's
    original train.py, with a 95% interval (Welch). Verdicts: better (the interval is above
    0), worse (below 0), not shown (it contains 0), or invalid (training fails on every
    seed, or more than half of the gain exists before training).

    STUDY: checks the ledger's hash chain. Then takes runs of the champion and of stock from
    the confirmation (in a study of `improve`: of your own program instead of stock), and
    trains the final train.py of each run on a fresh seed. If there is no confirmation,
    checks the best program of the last match instead of a champion. A lead is the
    champion's gain minus the other program's.

    Verdicts for a STUDY: confirmed (the recorded and the fresh lead are both significantly
    above 0, at 95%); contradicted (the champion's fresh gain or lead is significantly below
    80% of the recorded one, at 99%, or more than half of the gain exists before training);
    nothing to confirm (the study itself has no significant lead, as a contest without a
    winner); else not confirmed. (80%, not 100%, because the fresh data differ.)

    A contest's folder, or its export after the decision: computes all seeds again from the
    published secret (intact, or an error with the first seed that differs), then checks it
    like a STUDY. An export has no train.py files: its check compares its other files with
    the ledger instead (or an error with the first that differs), computes the announcement
    again, and prints the heads of the ledger and what it did not compare.

    If a study that was not made here names a task that is not built in, the command asks before
    it runs the task's data.py or its [run] commands (without a terminal, pass --yes), in a
    sandbox without network. They see the task's folder, and what the question lists.
    """
    path = Path(what).expanduser()
    if (path / "home.sqlite").exists():
        hint = f"metaloop home audit {shlex.quote(what)}"
        raise UsageError(f"the runs of {what} were made on other machines", hint=hint)
    is_source = path.suffix == ".py" or path.is_file()
    planned = of_source(path, flags) if is_source else of_study(out, what, flags)
    if planned is None:
        return 0
    task, study, how, cost = planned.task, planned.study, planned.how, planned.cost()
    if flags.start.dry_run:
        out.thing(cost, shown=times(cost))
        sandbox.require(task, how.sandbox)
        return 0
    if study is not None:
        consent(study.folder, study.config, flags.start.yes, sandboxed=how.sandbox, confined=how.sandbox)
    sandbox.require(task, how.sandbox)
    out.note("plan: " + ", ".join(f"{key} {brief(value)}" for key, value in (cost | times(cost)).items()))
    if line := public_line(task):
        out.note(line)
    if not task.scales:
        out.note("the task's command has no budget argument, so gains without training cannot be detected")
    with ticker(out) as progress:
        audit = planned.carry_out(progress)
    present(out, what, audit)
    return 0 if audit.stands else 1


def times(item: Mapping[str, Any]) -> dict[str, str]:
    """Seconds as a person reads them."""
    return {key: duration(value) for key, value in item.items() if "seconds" in key}


def of_source(path: Path, flags: AuditFlags) -> PlannedCheck:
    from arena.verify import verify_source

    if flags.task is None:
        raise UsageError(f"name the task of {path}", hint=f"metaloop verify {shlex.quote(str(path))} -t strokes")
    task = launch.load_task(flags.task)
    source, how, seeds = read_source(path, task), flags.how(task, flags.playing.fixed_steps), flags.seeds
    return PlannedCheck(
        task, how, trainings_of(task, seeds), seeds, lambda say: verify_source(task, source, seeds, how, say)
    )


def of_study(out: Output, what: str, flags: AuditFlags) -> PlannedCheck | None:
    """Of the study of this name, else of the run of this id in ``--study``. None for the export of a contest, which has
    no scripts and has then been checked."""
    from arena.study import Study
    from arena.verify_study import intact, run_of, verify_run

    try:
        folder, prefix = resolve.study_folder(what, out), None
    except NotFound:
        if os.sep in what or Path(what).exists() or (flags.study is None and not resolve.known_studies()):
            raise
        folder, prefix = resolve.study_folder(flags.study, out), what
    study = Study.open(folder)
    intact(study)
    how = flags.how(study.task, study.config.fixed_steps)
    if prefix is None:
        return whole_study(out, study, how, flags.runs)
    known = [row["run_id"] for row in resolve.ask(folder, "SELECT run_id FROM runs")]
    run, seeds = run_of(study, resolve.by_prefix(prefix, known, "run")), flags.seeds
    trainings = trainings_of(study.task, seeds)
    return PlannedCheck(study.task, how, trainings, seeds, lambda say: verify_run(study, run, seeds, how, say), study)


def trainings_of(task: Task, seeds: int) -> int:
    """Of a source and of the untouched one; where each seed has hidden rows of its own, one seed of each is also scored
    on the rows of another."""
    return 2 * (seeds + (task.draws_splits and seeds > 1))


def whole_study(out: Output, study: Study, how: How, runs: int) -> PlannedCheck | None:
    """None for the export of a contest, which has no scripts: the seeds of a contest are checked here."""
    from arena.contest.audit import check_export
    from arena.contest.running.seeds import derive_seeds
    from arena.contest.settings import DATABASE
    from arena.verify_study import claim_of, samples_of, too_few, verify_study

    if (study.folder / resolve.CONTEST).is_file():
        seeds = derive_seeds(study)
        out.note("All seeds are derived from the secret. Compare these two hashes with those published at the opening:")
        out.note("\n".join((seeds["secret_hash"], seeds["rules_hash"])))
        if not (study.folder / DATABASE).is_file():
            intact_export(out, {"verdict": "intact", **seeds, **check_export(study)})
            return None
    with resolve.connect(study.folder, ["standings"]) as con:
        claim = claim_of(con)
    drawn = claim.sampled(study, runs, how)
    if text := too_few(runs, claim):
        out.note(text)
    samples = samples_of(study, drawn)
    splits = max((sample.first + 1 for sample in samples), default=0) * study.task.draws_splits
    baselines = max(study.config.baseline_seeds, splits) + study.task.draws_splits
    trainings, untrained = len(samples) + baselines, sum(sample.ablate for sample in samples)
    return PlannedCheck(
        study.task, how, trainings, untrained, lambda say: verify_study(study, claim, drawn, how, say), study
    )


def intact_export(out: Output, found: dict[str, Any]) -> None:
    """Print what was compared in the export of a contest, the heads of its ledger, and what was not compared."""
    heads, others = found["ledger_heads"], found["not_covered"]
    if out.mode != "json":
        found = {key: value for key, value in found.items() if not isinstance(value, list)}
    out.thing(found)
    out.note("The heads of the ledger, daily (time, segment, hash):")
    out.note("\n".join(heads))
    out.note(
        "Compare them with those that the contest's pages and its announcement showed: in a ledger that was written "
        "anew, they differ. The last one covers everything."
    )
    out.note(f"Not checked: {'; '.join(others)}")


def read_source(path: Path, task: Task) -> Source:
    """``path`` as the task's editable file of that name, else as the only one or train.py; the other files are from the
    same folder, else from the task.

    The file is untrusted: links are not followed, and at most the maximum size of a source is read. Raises UsageError
    where it could be several files.
    """
    from inner_loop.worktree import read_file
    from trainer.experiment import SOURCE_BYTES
    from trainer.source import Source

    if not path.is_file():
        raise NotFound(f"{path}: no such file", hint="name a train.py file")
    path, files, own = path.absolute(), task.editable, task.baseline()
    alike = [file for file in files if path.as_posix().endswith(f"/{file}")]
    alike = alike or [file for file in files if Path(file).name == path.name] or list(files)
    if len(alike) > 1 and "train.py" not in files:
        message = f"{path} has none of the names of the task's files: {', '.join(files)}"
        raise UsageError(message, hint="rename it to one of them")
    name = alike[0] if len(alike) == 1 else "train.py"
    root = path.parents[name.count("/")] if path.as_posix().endswith(f"/{name}") else path.parent
    found = {file: file for file in files if (root / file).is_file()} | {name: os.path.relpath(path, root)}
    given = {file: read_file(root, found[file], SOURCE_BYTES).decode("utf-8", "replace") for file in found}
    return Source(tuple((file, given.get(file, own.text(file))) for file in files))


def script_of(audit: Audit) -> FoundScript:
    """The checked source, as a check of a source or a run has measured it."""
    figures = audit.figures
    bounds = figures["gain"], figures["low"], figures["high"], figures["n"]
    return FoundScript(
        task=audit.round.task.name, seconds=audit.round.spent, experiments=0, trust=audit.trust,
        start=figures.get("start"), end=figures.get("end"),
        **measured(audit.round.task, *bounds, figures.get("noise"), figures.get("held_rows")),
    )  # fmt: skip


def present(out: Output, what: str, audit: Audit) -> None:
    """Show the verdict, the figures, the findings, and the secret that repeats the check."""
    event, sentence = audit.event().body, ""
    if audit.subject != "study" and audit.figures["gain"] is not None:
        sentence = plain_text(script_sentence(script_of(audit), "This script", "the untouched one"))
    if out.mode == "json":
        noticed = [{"run_id": None, **finding.to_record()} for finding in audit.findings]
        out.json({"of": what, **event, "sentence": sentence, "noticed": noticed})
        return
    figures = {key: value for key, value in event.items() if key not in ("arms", "measurements") and value is not None}
    out.thing({"verdict": audit.verdict, **figures}, shown=times(figures))
    if sentence:
        out.note(sentence)
    if out.mode == "person":
        show(out, cast("list[dict[str, Any]]", audit.details.get("arms", [])), ARMS)
    for finding in audit.findings:
        out.note(f"finding: {finding.finding}: {finding.text}  {finding.run_id or finding.source_id or ''}".rstrip())
    exact = audit.round.how.fixed_steps or audit.round.task.law is not None
    same = "" if exact else "  # the same seeds and data; the same figures only with fixed steps"
    out.note(f"repeat this check with --set secret={event['secret']}{same}")
