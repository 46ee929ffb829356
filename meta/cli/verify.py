"""``metaloop verify``: check a study, a run or a train.py on fresh seeds and fresh hidden data."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict, cast

from analysis.wording import bracket, many, plain_number, significant
from arena import embedded, sandbox
from arena.public import public_line
from meta.cli import launch, resolve
from meta.cli.commands import verb
from meta.cli.flags import PlayingFlags, StartFlags, StudyFlag
from meta.cli.options import argument, duration, flag, only, rare
from meta.cli.output import Column, Output, Row, ask
from meta.cli.progress import ticker
from programs.errors import NotFound, UsageError
from trainer.scoring import SCORED_WITHOUT_ITS_CODE

if TYPE_CHECKING:
    from arena.study import Study
    from arena.verify import Audit, How
    from trainer.source import Source
    from trainer.task import Task

SEEDS, RUNS = 4, 8
HIDDEN = ("arms", "measurements", "kind", "found")
ARMS = (
    Column("program", style="bold", wrap=True),
    Column("role"),
    Column("gain", right=True, style="green", show=lambda v: plain_number(v, 4, sign=True)),
    Column("low", right=True, show=lambda v: plain_number(v, 4)),
    Column("high", right=True, show=lambda v: plain_number(v, 4)),
    Column("recorded_gain", "recorded", right=True, show=lambda v: plain_number(v, 4, sign=True)),
    Column("checked", right=True),
    Column("runs", "of", right=True),
)


@dataclass(frozen=True)
class AuditFlags:
    """The flags of a check."""

    study: StudyFlag
    task: Annotated[str | None, flag("The task of a SOURCE.", "-t", metavar="NAME|DIR")]
    seeds: Annotated[int, flag("Fresh seeds for a SOURCE or RUN.", "-n", min=2, max=64, default=SEEDS)]
    runs: Annotated[int, flag("Runs of each program to check, for a STUDY.", min=2, max=1000, default=RUNS)]
    playing: Annotated[PlayingFlags, only("workers", "fixed_steps", "executor", "no_sandbox")]
    secret: Annotated[str | None, rare("Repeat an earlier check with the secret it printed.")]
    start: StartFlags

    def how(self, task: Task, fixed_steps: bool) -> How:
        from arena.verify import How
        from trainer.streams import Streams

        if self.secret is None:
            streams = Streams.fresh()
        elif len(self.secret) == 32 and set(self.secret.lower()) <= set("0123456789abcdef"):
            streams = Streams(bytes.fromhex(self.secret))
        else:
            raise UsageError("--set secret is not 32 hex digits", hint="an earlier check printed its secret at the end")
        workers = 1 if task.timed else launch.workers_of(self.playing.workers)
        return How(streams, workers, fixed_steps, not self.playing.no_sandbox)


@verb(
    ("metaloop verify studies/NAME", "the champion's lead over stock"),
    ("metaloop verify r3f2 -s studies/NAME", "the final train.py of one run"),
    ("metaloop verify my/train.py -t strokes", "any train.py against the task's baseline"),
)
def verify(out: Output, what: Annotated[str, argument(metavar="STUDY|RUN|SOURCE")], flags: AuditFlags) -> int:
    """Check a result: train it again from scratch, on fresh seeds and fresh hidden data. Both
    are drawn from a new secret. The command prints the secret's hash before the check, and
    the secret after it.

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
    else not confirmed. (80%, not 100%, because the fresh data differ.)

    A copy made by metaloop export --zip: checks the hash chain of its ledger and the ids of its
    programs (consistent, or an error), and prints the hash of the last record. If share
    printed the same hash, the copy is unchanged.

    A contest's folder, or its export after the decision: computes the seeds of all runs and
    measurements again from the published secret, and compares them with the ledger. Prints
    intact, or an error with the first seed that differs. Then checks the contest like a
    STUDY; an export has no train.py files, so its check ends here.

    A task that is not built in makes its data with its own data.py. If a study names
    such a task, the command asks before it runs that file (without a terminal, pass
    --yes). The file runs in a sandbox without network that sees only the task's folder.

    The verdict is printed on stdout. Exits with 1 if it is invalid or contradicted,
    else with 0.
    """
    if (Path(what).expanduser() / "home.sqlite").exists():
        raise UsageError(
            f"the runs of {what} were made on other machines", hint=f"metaloop home audit {shlex.quote(what)}"
        )
    audit = (_source if _is_source(what) else _of_study)(out, what, flags)
    if audit is None:
        return 0
    present(out, what, audit)
    return 0 if audit.stands else 1


def _is_source(what: str) -> bool:
    path = Path(what).expanduser()
    return path.is_file() or path.suffix == ".py"


def _source(out: Output, what: str, flags: AuditFlags) -> Audit | None:
    from arena.verify import verify_source

    if flags.task is None:
        raise UsageError(f"name the task of {what}", hint=f"metaloop verify {shlex.quote(what)} -t strokes")
    task = launch.load_task(flags.task)
    source, how = read_source(Path(what).expanduser(), task), flags.how(task, flags.playing.fixed_steps)
    if not _begin(out, flags, how, bill(task, 2 * flags.seeds, flags.seeds, how), task):
        return None
    with ticker(out) as progress:
        return verify_source(task, source, flags.seeds, how, progress)


def _of_study(out: Output, what: str, flags: AuditFlags) -> Audit | None:
    """Check the study of this name, else the run of this id in ``--study``."""
    from arena.settings import StudyConfig
    from arena.study import Study
    from arena.verify_study import intact

    try:
        folder, run = resolve.study_folder(what, out), None
    except NotFound:
        if os.sep in what or Path(what).exists() or (flags.study is None and not resolve.known_studies()):
            raise
        folder, run = resolve.study_folder(flags.study, out), what
    if StudyConfig.read(folder / resolve.MARK).shared:
        if run is not None:
            raise UsageError(
                f"{folder} is a shared copy, in which no run can be trained again",
                hint=f"check its ledger: metaloop verify {resolve.typed(folder)}",
            )
        _shared(out, folder)
        return None
    study = Study.open(folder)
    intact(study)
    if run is None and (folder / resolve.CONTEST).is_file() and _contest(out, study):
        return None
    if run is None:
        return _whole_study(out, study, flags)
    return _run(out, study, run, flags)


def _shared(out: Output, folder: Path) -> None:
    """Check the ledger of a copy that `export --zip` wrote."""
    from meta.share import verified

    summary = verified(folder)
    out.thing({"verdict": "consistent", **summary})
    out.note(
        "The records of this copy are one chain, and its programs and champion.md are those that their ids name. It is "
        f"unchanged only if {summary['head']} is the hash that metaloop export printed: a changed ledger can be made "
        "consistent again. Files beside the ledger are not covered by the hash. No script was trained again: a copy "
        "has neither the secret of its seeds nor the task's files; for that, ask for the study itself."
    )


def _contest(out: Output, study: Study) -> bool:
    """Check the seeds of a contest; whether that is all that can be checked, as in an export, which has no scripts."""
    from arena.contest.seeds import derive_seeds
    from arena.contest.settings import DATABASE

    facts, exported = derive_seeds(study), not (study.folder / DATABASE).is_file()
    if exported:
        out.thing({"verdict": "intact", **facts})
    out.note(
        f"The ledger is complete and unchanged, and all {facts['seeds']:,} seeds of its {many(facts['runs'], 'run')} "
        "are derived from the secret: none was chosen by hand. Compare secret_hash and rules_hash "
        f"({facts['secret_hash']}, {facts['rules_hash']}) with those that were published at the opening."
    )
    return exported


def _run(out: Output, study: Study, prefix: str, flags: AuditFlags) -> Audit | None:
    from arena.verify_study import run_of, verify_run

    with resolve.connect(study.folder, []) as con:
        known = [row["run_id"] for row in resolve.fetch(con, "SELECT run_id FROM runs")]
    run, how = run_of(study, resolve.by_prefix(prefix, known, "run")), flags.how(study.task, study.config.fixed_steps)
    if not _begin(out, flags, how, bill(study.task, 2 * flags.seeds, flags.seeds, how, study), study.task, study):
        return None
    with ticker(out) as progress:
        return verify_run(study, run, flags.seeds, how, progress)


def _whole_study(out: Output, study: Study, flags: AuditFlags) -> Audit | None:
    from arena.verify_study import claim_of, samples_of, too_few, verify_study

    how = flags.how(study.task, study.config.fixed_steps)
    with resolve.connect(study.folder, ["standings"]) as con:
        whole = claim_of(con)
    drawn = whole.sampled(study, flags.runs, how)
    if text := too_few(flags.runs, whole):
        out.note(text)
    samples = samples_of(study, drawn)
    full = len(samples) + study.config.baseline_seeds
    if not _begin(
        out, flags, how, bill(study.task, full, sum(s.ablate for s in samples), how, study), study.task, study
    ):
        return None
    with ticker(out) as progress:
        return verify_study(study, whole, drawn, how, progress)


def read_source(path: Path, task: Task) -> Source:
    """``path`` as the task's editable file of that name; the other files from the same folder, else from the task.

    The file is untrusted: links are not followed, and at most the maximum size of a source is read.
    """
    from inner_loop.worktree import read_file
    from trainer.experiment import SOURCE_BYTES
    from trainer.source import Source

    if not path.is_file():
        raise NotFound(f"{path}: no such file", hint="name a train.py file")
    path = path.absolute()
    name, own = editable_name(path, task), task.baseline()
    root = path.parents[name.count("/")] if path.as_posix().endswith(f"/{name}") else path.parent
    texts = {one: own.text(one) for one in task.editable}
    paths = {one: one for one in task.editable if one != name and (root / one).is_file()}
    for one, relative in {**paths, name: os.path.relpath(path, root)}.items():
        texts[one] = read_file(root, relative, SOURCE_BYTES).decode("utf-8", "replace")
    return Source(tuple(texts.items()))


def editable_name(path: Path, task: Task) -> str:
    """Which editable file of the task a file stands for: by its name, else the only one, or train.py.

    Raises UsageError where it could be several.
    """
    named = [one for one in task.editable if path.absolute().as_posix().endswith(f"/{one}")]
    named = named or [one for one in task.editable if Path(one).name == path.name]
    if len(named) == 1 or len(task.editable) == 1:
        return (named or list(task.editable))[0]
    if "train.py" in task.editable:
        return "train.py"
    choice = ", ".join(task.editable)
    raise UsageError(f"{path} has none of the names of the task's files: {choice}", hint="rename it to one of them")


class AuditCost(TypedDict):
    """The cost of a check; ``share``: of what the study spent."""

    task: str
    experiments: int
    untrained: int
    device_seconds: float
    share: float | None
    workers: int
    wall_seconds: float
    sandbox: str
    secret_hash: str


def bill(task: Task, full: int, untrained: int, how: How, study: Study | None = None) -> AuditCost:
    """The cost of ``full`` experiments, and of ``untrained`` ones, which cost launch and scoring only."""
    from arena.scratch import secret_hash
    from arena.verify_study import spent_by

    untrained *= embedded.can_be_untrained(task)
    launching = max(task.cost_seconds - task.budget_seconds, 0.02 * task.cost_seconds)
    seconds = full * task.cost_seconds + untrained * launching
    whole = spent_by(study) if study else 0.0
    return {
        "task": task.name,
        "experiments": full,
        "untrained": untrained,
        "device_seconds": round(seconds, 1),
        "share": round(seconds / whole, 4) if whole else None,
        "workers": how.workers,
        "wall_seconds": round(seconds / how.workers + launch.SETUP_SECONDS, 1),
        "sandbox": sandbox.said(task, how.sandbox),
        "secret_hash": secret_hash(how.streams),
    }


def _begin(out: Output, flags: AuditFlags, how: How, plan: AuditCost, task: Task, study: Study | None = None) -> bool:
    """Print the cost and the hash of the secret; False for a dry run. Raises EnvironmentProblem without a sandbox.

    ``study``: the study that names the task, which may come from someone else.
    """
    if flags.start.dry_run:
        shown = {"device_seconds": duration(plan["device_seconds"]), "wall_seconds": duration(plan["wall_seconds"])}
        out.thing(plan, shown=shown)
        return False
    if study is not None and task.has_data and not task.is_builtin:
        consent(study, how, flags.start.yes)
    sandbox.require(task, how.sandbox)
    share = f", {plan['share']:.1%} of what the study spent" if plan["share"] else ""
    checks = many(plan["untrained"], "short check")
    untrained = f", and {checks} whether the scripts contain trained weights" if plan["untrained"] else ""
    out.note(
        f"plan: {many(plan['experiments'], 'training')} on {plan['task']}{untrained}; "
        f"{duration(plan['device_seconds'])} of device time{share}, about {duration(plan['wall_seconds'])} "
        f"with {plan['workers']} workers; {plan['sandbox']}"
    )
    if warning := public_line(task):
        out.note(warning)
    if not task.scales:
        out.note("the task's command has no budget argument, so gains without training cannot be detected")
    out.note(f"hash of the secret: {plan['secret_hash']}")
    return True


def consent(study: Study, how: How, yes: bool) -> None:
    """Ask before code of the study's task is run. Raises UsageError without a terminal and --yes, or where the task's
    code takes part in the scoring, which no sandbox confines."""
    task, code = study.task, study.task.folder / "data.py"
    folder = shlex.quote(str(task.folder))
    if how.sandbox and task.scoring["kind"] not in SCORED_WITHOUT_ITS_CODE:
        raise UsageError(
            f"{code} takes part in scoring (kind = {task.scoring['kind']!r}), which runs outside the sandbox; the "
            "study alone cannot select it",
            hint=f"read it, then name the task yourself: metaloop verify {study.folder}/runs/RUN/train.py -t {folder}",
        )
    confined = "in a sandbox without network, with access to its folder only" if how.sandbox else "without a sandbox"
    question = f"{study.folder}/study.toml names its own task: this runs {code} {confined}"
    if not yes:
        refused = f"{question}, and there is no terminal to confirm it"
        ask(f"{question}; continue?", refused, "read it, then run the same command with --yes")


def present(out: Output, what: str, audit: Audit) -> None:
    """Show the verdict, the figures, the findings, and the secret that repeats the check."""
    from rich.text import Text

    from analysis.trust import remarks

    event = audit.event().body
    if out.mode == "json":
        noticed = [{"run_id": None, **finding.to_record()} for finding in audit.findings]
        out.json({"of": what, **event, "noticed": noticed})
        return
    figures = {k: v for k, v in event.items() if k not in HIDDEN and v is not None}
    if out.mode == "person":
        out.show(Text(sentence(event)))
        out.rows(cast("list[Row]", audit.details.get("arms", [])), ARMS)
    else:
        out.thing(figures)
    for finding in audit.findings:
        out.note(f"finding: {finding.finding}: {finding.text}  {finding.run_id or finding.source_id or ''}".rstrip())
    for line in remarks([audit.trust]):
        out.note(line)
    if event.get("same_hardware") is False:
        out.note(f"this machine ({event['hardware_class']}) has other hardware than the study's: gains may differ")
    share = event.get("share")
    spent = f"{duration(audit.round.spent)} of device time" + (
        f", {share:.1%} of what the study spent" if share else ""
    )
    out.note(f"used {spent}; repeat this check with --set secret={event['secret']}")


def sentence(event: Mapping[str, Any]) -> str:
    """``confirmed: …``, with the figures behind the verdict."""
    unit = event["unit"]
    if event["subject"] == "study":
        fresh = f"{event['difference']:.4g}{bracket(event['difference_low'], event['difference_high'])}"
        figures = f"lead {fresh} {unit} measured again, recorded {event['recorded_difference']:.4g}"
        return f"{event['verdict']}: {event['why']} ({figures})"
    figures = f"gain {_number(event['gain'])}{bracket(event['low'], event['high'])} {unit}, n = {event['n']}"
    if event["gain"] is None:
        figures = f"no gain, {event['failed_seeds']} of {event['n']} seeds failed"
    if event["subject"] == "run":
        inside = {True: "inside the interval", False: "outside the interval"}.get(event["recorded_in_interval"], "")
        figures += f"; recorded {_number(event['recorded_gain'])} {inside}".rstrip()
        figures += f", claimed {_number(event['claimed_gain'])}"
    return f"{event['verdict']} ({figures})"


def _number(value: float | None) -> str:
    return significant(value, 4, "nothing")
