"""``metaloop verify``: check a study, a run or a train.py on fresh seeds and fresh hidden data."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from analysis.wording import duration
from arena.audit.verify import Audit, How
from arena.audit.verify_plan import PlannedCheck, plan_run, plan_source, plan_study
from arena.audit.verify_study import intact
from arena.study.public_data import public_line
from arena.study.study import Study
from arena.work import sandbox
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.consent import consent
from meta.cli.flags import PlayingFlags, StartFlags, StudyFlag
from meta.cli.new_study import load_task, workers_of
from meta.cli.options import argument, flag, only, rare
from meta.cli.output import Output, brief
from meta.cli.progress import ticker
from meta.cli.views import View, show
from programs.common.errors import NotFound, UsageError
from trainer.streams import Streams
from trainer.task import Task

ARMS = View("", hide=("program_id", "arm_id", "recorded_low", "recorded_high"))


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

    def settings(self, task: Task, fixed_steps: bool) -> How:
        """Of the check. Raises UsageError for a secret that is none."""
        if self.secret and not re.fullmatch("[0-9a-fA-F]{32}", self.secret):
            raise UsageError("--set secret is not 32 hex digits", hint="an earlier check printed its secret at the end")
        streams = Streams(bytes.fromhex(self.secret)) if self.secret else Streams.fresh()
        workers = 1 if task.timed else workers_of(self.playing.workers)
        return How(streams, workers, fixed_steps, not self.playing.no_sandbox)


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
    trains the final train.py of each run on a fresh seed. The plan has `runs_needed`, the
    runs of each that confirm the lead with 80% power. If there is no confirmation, checks
    the best program of the last match instead of a champion. A lead is the champion's gain
    minus the other program's.

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
    planned = check_source(path, flags) if is_source else check_study(out, what, flags)
    if planned is None:
        return 0
    task, study, cost, sandboxed = planned.task, planned.study, planned.cost(), planned.how.sandbox
    if flags.start.dry_run:
        out.thing(cost, shown=times(cost))
        sandbox.require(task, sandboxed)
        return 0
    if study is not None:
        consent(study.folder, study.config, flags.start.yes, sandboxed=sandboxed, confined=sandboxed)
    sandbox.require(task, sandboxed)
    out.note("plan: " + ", ".join(f"{key} {brief(value)}" for key, value in (cost | times(cost)).items()))
    if line := public_line(task):
        out.note(line)
    if not task.scales:
        out.note("the task's command has no budget argument, so gains without training cannot be detected")
    with ticker(out) as progress:
        audit = planned.carry_out(progress)
    show_audit(out, what, audit)
    return 0 if audit.stands else 1


def times(item: Mapping[str, Any]) -> dict[str, str]:
    """Seconds as a person reads them."""
    return {key: duration(value) for key, value in item.items() if "seconds" in key}


def check_source(path: Path, flags: AuditFlags) -> PlannedCheck:
    """The planned check of a train.py."""
    if flags.task is None:
        raise UsageError(f"name the task of {path}", hint=f"metaloop verify {shlex.quote(str(path))} -t strokes")
    task = load_task(flags.task)
    return plan_source(path, task, flags.seeds, flags.settings(task, flags.playing.fixed_steps))


def check_study(out: Output, what: str, flags: AuditFlags) -> PlannedCheck | None:
    """The planned check of the study of this name, else of the run of this id in ``--study``. None for the export of a
    contest, which has no scripts and has then been checked."""
    try:
        folder, prefix = resolve.study_folder(what, out), None
    except NotFound:
        if os.sep in what or Path(what).exists() or (flags.study is None and not resolve.studies_in()):
            raise
        folder, prefix = resolve.study_folder(flags.study, out), what
    study = Study.open(folder)
    intact(study)
    settings = flags.settings(study.task, study.config.fixed_steps)
    if prefix is not None:
        runs = [row["run_id"] for row in resolve.ask(folder, "SELECT run_id FROM runs")]
        return plan_run(study, resolve.by_prefix(prefix, runs, "run"), flags.seeds, settings)
    if (folder / resolve.CONTEST).is_file() and check_contest(out, study):
        return None
    return plan_study(study, flags.runs, settings)


def check_contest(out: Output, study: Study) -> bool:
    """Derive the seeds of a contest again. Of an export, compare its files with the ledger, too, and return True."""
    from arena.contest.audit import check_export  # with sqlalchemy
    from arena.contest.running.seeds import derive_seeds
    from arena.contest.settings import DATABASE

    seeds = derive_seeds(study)
    out.note("All seeds are derived from the secret. Compare these two hashes with those published at the opening:")
    out.note("\n".join((seeds["secret_hash"], seeds["rules_hash"])))
    if (study.folder / DATABASE).is_file():
        return False
    export = check_export(study)
    result = {"verdict": "intact", **seeds, **export}
    out.thing(result if out.mode == "json" else {k: v for k, v in result.items() if not isinstance(v, list)})
    out.note("The heads of the ledger, daily (time, segment, hash):")
    out.note("\n".join(export["ledger_heads"]))
    out.note(
        "Compare them with those that the contest's pages and its announcement showed: in a ledger that was written "
        "anew, they differ. The last one covers everything."
    )
    out.note(f"Not checked: {'; '.join(export['not_covered'])}")
    return True


def show_audit(out: Output, what: str, audit: Audit) -> None:
    """Show the verdict, the figures, the findings, and the secret that repeats the check."""
    event = audit.event().body
    if out.mode == "json":
        noticed = [{"run_id": None, **finding.to_record()} for finding in audit.findings]
        out.json({"of": what, **event, "noticed": noticed})
        return
    figures = {key: value for key, value in event.items() if key not in ("arms", "measurements") and value is not None}
    out.thing({"verdict": audit.verdict, **figures}, shown=times(figures))
    if out.mode == "person":
        show(out, cast("list[dict[str, Any]]", audit.details.get("arms", [])), ARMS)
    for finding in audit.findings:
        out.note(f"finding: {finding.finding}: {finding.text}  {finding.run_id or finding.source_id or ''}".rstrip())
    exact = audit.round.how.fixed_steps or audit.round.task.law is not None
    same = "" if exact else "  # the same seeds and data; the same figures only with fixed steps"
    out.note(f"repeat this check with --set secret={event['secret']}{same}")
