"""``metaloop verify``: a study, a run or a train.py on seeds and data that nobody has seen."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click

from analysis.wording import bracket, plain_number, significant
from arena import embedded, sandbox
from arena.public import public_line
from meta.cli import launch, resolve
from meta.cli.flags import PlayingFlags, StartFlags, StudyFlag
from meta.cli.options import argument, duration, flag, only, verb
from meta.cli.output import Column, Output
from meta.cli.progress import ticker
from programs.errors import NotFound, UsageError

if TYPE_CHECKING:
    from arena.study import Study
    from arena.verify import Audit, How
    from trainer.source import Source
    from trainer.task import Task

SEEDS, RUNS = 4, 8
SCORED_WITHOUT_ITS_CODE = ("classification", "language_model", "printed", "simulated")  # kinds of [score]
HIDDEN = ("arms", "measurements", "kind", "found", "ratio", "recorded_ratio")
ARMS = (
    Column("program", style="bold", flex=True),
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
    """The flags of one check."""

    study: StudyFlag
    task: Annotated[str | None, flag("The task of a SOURCE.", "-t", metavar="NAME|DIR")]
    seeds: Annotated[int, flag("Fresh seeds of a source or run.", "-n", min=2, max=64, default=SEEDS)]
    runs: Annotated[int, flag("Runs drawn from each arm of a study.", min=2, max=1000, default=RUNS)]
    playing: Annotated[PlayingFlags, only("workers", "fixed_steps", "executor", "unsafe_no_sandbox")]
    secret: Annotated[str | None, flag("Make an earlier check again, with the secret it told.", metavar="HEX")]
    start: StartFlags

    def how(self, fixed_steps: bool) -> How:
        from arena.verify import How
        from trainer.streams import Streams

        if self.secret is None:
            streams = Streams.fresh()
        elif len(self.secret) == 32 and set(self.secret.lower()) <= set("0123456789abcdef"):
            streams = Streams(bytes.fromhex(self.secret))
        else:
            raise UsageError("--secret is no 32 hex digits", hint="an earlier check told its secret at the end")
        return How(streams, launch.workers_of(self.playing.workers), fixed_steps, not self.playing.unsafe_no_sandbox)


@verb(
    ("metaloop verify studies/NAME", "does the champion's lead stand on fresh data?"),
    ("metaloop verify r3f2 -s studies/NAME", "one run's final train.py"),
    ("metaloop verify my/train.py -t strokes", "any train.py against the task's baseline; exits with 1 if invalid"),
)
def verify(out: Output, what: Annotated[str, argument(metavar="STUDY|RUN|SOURCE")], asked: AuditFlags) -> int:
    """Train again from scratch what is claimed, under seeds and on a hidden split
    that nobody has seen, drawn from a fresh secret: its hash is told before, the
    secret at the end.

    SOURCE, RUN: the gain over the task's untouched baseline with a 95% Welch interval.
    Better or worse than the baseline: the interval lies above or below 0; not shown:
    it holds 0; invalid: it fails under every seed, or more than half of its gain is
    there without training.

    STUDY: first the ledger's chain, then champion and stock of the confirmation (else
    the best program of the last match and stock), a fresh seed for each run drawn.
    Contradicted: four fifths of the champion's recorded gain or lead (another split
    may take a fifth) exceed the fresh one by more than both errors allow (99%), or
    half of its gain needs no training. Confirmed: not contradicted, recorded and
    fresh lead both lie above 0 (95%). Else not confirmed.

    A task that did not come with metaloop makes its data by its own data.py. Where a
    study names it, you are asked first (without a terminal: --yes). It runs in a
    sandbox then, without a network, and sees its own folder alone.

    The verdict is on stdout in any case. Exits with 1 where it is invalid or
    contradicted; not shown, worse and not confirmed exit with 0.
    """
    audit = (_source if _is_source(what) else _of_study)(out, what, asked)
    if audit is None:
        return 0
    present(out, what, audit)
    return 0 if audit.stands else 1


def _is_source(what: str) -> bool:
    path = Path(what).expanduser()
    return path.is_file() or path.suffix == ".py"


def _source(out: Output, what: str, asked: AuditFlags) -> Audit | None:
    from arena.verify import verify_source

    if asked.task is None:
        raise UsageError(f"name the task of {what}", hint=f"metaloop verify {shlex.quote(what)} -t strokes")
    task = launch.load_task(asked.task)
    source, how = read_source(Path(what).expanduser(), task), asked.how(asked.playing.fixed_steps)
    if not _begin(out, asked, how, bill(task, 2 * asked.seeds, asked.seeds, how), task):
        return None
    with ticker(out) as told:
        return verify_source(task, source, asked.seeds, how, told)


def _of_study(out: Output, what: str, asked: AuditFlags) -> Audit | None:
    """A study where one is named so, else a run of the study of ``--study``."""
    from arena.study import Study
    from arena.verify_study import intact

    try:
        folder, run = resolve.study_folder(what, out), None
    except NotFound:
        if os.sep in what or Path(what).exists() or (asked.study is None and not resolve.known_studies()):
            raise
        folder, run = resolve.study_folder(asked.study, out), what
    study = Study.open(folder)
    intact(study)
    if run is None:
        return _whole_study(out, study, asked)
    return _run(out, study, run, asked)


def _run(out: Output, study: Study, prefix: str, asked: AuditFlags) -> Audit | None:
    from arena.verify_study import run_of, verify_run

    with resolve.connect(study.folder, []) as con:
        known = [row["run_id"] for row in resolve.fetch(con, "SELECT run_id FROM runs")]
    run, how = run_of(study, resolve.by_prefix(prefix, known, "run")), asked.how(study.config.fixed_steps)
    if not _begin(out, asked, how, bill(study.task, 2 * asked.seeds, asked.seeds, how, study), study.task, study):
        return None
    with ticker(out) as told:
        return verify_run(study, run, asked.seeds, how, told)


def _whole_study(out: Output, study: Study, asked: AuditFlags) -> Audit | None:
    from arena.verify_study import claim_of, samples_of, verify_study

    how = asked.how(study.config.fixed_steps)
    with resolve.connect(study.folder, ["standings"]) as con:
        whole = claim_of(con)
    drawn = whole.sampled(study, asked.runs, how)
    samples = samples_of(study, drawn)
    full = len(samples) + study.config.baseline_seeds
    if not _begin(
        out, asked, how, bill(study.task, full, sum(s.ablate for s in samples), how, study), study.task, study
    ):
        return None
    with ticker(out) as told:
        return verify_study(study, whole, drawn, how, told)


def read_source(path: Path, task: Task) -> Source:
    """``path`` as the editable file that it is named like; the others from beside it where they are, else the task's.

    It may be a stranger's: links are not followed, and no more is read than a source may have.
    """
    from inner_loop.worktree import read_file
    from trainer.experiment import SOURCE_BYTES
    from trainer.source import Source

    if not path.is_file():
        raise NotFound(f"{path}: no such file", hint="name a train.py")
    path = path.absolute()
    name, own = editable_name(path, task), task.baseline()
    root = path.parents[name.count("/")] if path.as_posix().endswith(f"/{name}") else path.parent
    texts = {one: own.text(one) for one in task.editable}
    places = {one: one for one in task.editable if one != name and (root / one).is_file()}
    for one, place in {**places, name: os.path.relpath(path, root)}.items():
        texts[one] = read_file(root, place, SOURCE_BYTES).decode("utf-8", "replace")
    return Source(tuple(texts.items()))


def editable_name(path: Path, task: Task) -> str:
    """Which editable file of the task a file is meant to be: by its name, else the only one, or train.py.

    Raises UsageError where it could be several.
    """
    named = [one for one in task.editable if path.absolute().as_posix().endswith(f"/{one}")]
    named = named or [one for one in task.editable if Path(one).name == path.name]
    if len(named) == 1 or len(task.editable) == 1:
        return (named or list(task.editable))[0]
    if "train.py" in task.editable:
        return "train.py"
    choice = ", ".join(task.editable)
    raise UsageError(f"{path}: which of the task's files is it? {choice}", hint="give it the name of one of them")


def bill(task: Task, full: int, untrained: int, how: How, study: Study | None = None) -> dict[str, Any]:
    """What is about to be spent: ``full`` experiments, and ``untrained`` ones that cost launch and scoring only."""
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


def _begin(
    out: Output, asked: AuditFlags, how: How, plan: Mapping[str, Any], task: Task, study: Study | None = None
) -> bool:  # fmt: skip
    """Tell the bill and the hash of the secret; whether to go on. Raises EnvironmentProblem without a sandbox.

    ``study``: that names the task, which may be a stranger's.
    """
    if asked.start.dry_run:
        out.thing(plan, shown={key: duration(plan[key]) for key in ("device_seconds", "wall_seconds")})
        return False
    if study is not None and task.has_data and not task.is_builtin:
        consent(study, how, asked.start.yes)
    sandbox.require(task, how.sandbox)
    share = f", {plan['share']:.1%} of what the study spent" if plan["share"] else ""
    out.note(
        f"plan: {plan['experiments']} experiments on {plan['task']} and {plan['untrained']} untrained; "
        f"{duration(plan['device_seconds'])} of device time{share}, about {duration(plan['wall_seconds'])} "
        f"with {plan['workers']} workers; {plan['sandbox']}"
    )
    if told := public_line(task):
        out.note(told)
    if not task.scales:
        out.note("its command is told no budget: whether a gain is there without training is not asked")
    out.note(f"the hash of its secret: {plan['secret_hash']}")
    return True


def consent(study: Study, how: How, yes: bool) -> None:
    """Say which code of the study's task is going to be executed, and ask. Raises UsageError where nobody can answer,
    or where the task's code is part of the scoring, which is outside of any sandbox."""
    task, code = study.task, study.task.folder / "data.py"
    place = shlex.quote(str(task.folder))
    if how.sandbox and task.scoring["kind"] not in SCORED_WITHOUT_ITS_CODE:
        raise UsageError(
            f"{code} takes part in scoring (kind = {task.scoring['kind']!r}), outside of any sandbox: that a study "
            "names it is not enough",
            hint=f"read it; then name it yourself: metaloop verify {study.folder}/runs/RUN/train.py -t {place}",
        )
    confined = "in a sandbox: no network, no file but those of its folder" if how.sandbox else "as you, in no sandbox"
    told = f"{study.folder}/study.toml names a task of its own: {code} is going to be executed, {confined}"
    if yes:
        return
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise UsageError(f"{told}; nobody is there to be asked", hint="read it, then give the same command with --yes")
    click.confirm(f"{told}; go on?", abort=True, err=True)


def present(out: Output, what: str, audit: Audit) -> None:
    """The verdict first, then the figures, what was noticed, and how to make the same check again."""
    from analysis.trust import remarks

    event = audit.event().body
    if out.mode == "json":
        noticed = [{"run_id": None, **finding.to_record()} for finding in audit.findings]
        out.json({"of": what, **event, "noticed": noticed})
        return
    figures = {k: v for k, v in event.items() if k not in HIDDEN and v is not None}
    if out.mode == "person":
        out.text(sentence(event))
        out.rows(event.get("arms", []), ARMS)
    else:
        out.thing(figures)
    for found in audit.findings:
        out.note(f"finding: {found.finding}: {found.text}  {found.run_id or found.source_id or ''}".rstrip())
    for line in remarks([audit.trust]):
        out.note(line)
    if event.get("same_hardware") is False:
        out.note(f"the study was measured on other hardware than this ({event['hardware_class']}): gains may differ")
    out.note(f"spent {duration(event['device_seconds_spent'])}" + _share(event) + f"; its secret was {event['secret']}")


def _share(event: Mapping[str, Any]) -> str:
    return f", {event['share']:.1%} of what the study spent" if event.get("share") else ""


def sentence(event: Mapping[str, Any]) -> str:
    """``confirmed: …``, with the figures that decide."""
    unit = event["unit"]
    if event["subject"] == "study":
        fresh = f"{event['difference']:.4g}{bracket(event['difference_low'], event['difference_high'])}"
        told = f"lead {fresh} {unit} on fresh data, recorded {event['recorded_difference']:.4g}"
        return f"{event['verdict']}: {event['why']} ({told})"
    told = f"gain {_number(event['gain'])}{bracket(event['low'], event['high'])} {unit}, n = {event['n']}"
    if event["gain"] is None:
        told = f"no gain, {event['failed_seeds']} of {event['n']} seeds failed"
    if event["subject"] == "run":
        inside = {True: "inside the interval", False: "outside the interval"}.get(event["recorded_in_interval"], "")
        told += f"; recorded {_number(event['recorded_gain'])} {inside}".rstrip()
        told += f", claimed {_number(event['claimed_gain'])}"
    return f"{event['verdict']} ({told})"


def _number(value: float | None) -> str:
    return significant(value, 4, "nothing")
