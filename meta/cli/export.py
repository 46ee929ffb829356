"""``metaloop export``: write a view of a study to a file or to stdout."""

from __future__ import annotations

import importlib
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import click

from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import flag, typed
from meta.cli.output import Output, Row
from meta.cli.tool_export import TOOLS, to_tool
from programs.errors import NotFound, UsageError
from programs.evolved_for import KINDS

if TYPE_CHECKING:
    import duckdb

    from analysis.export import Format
    from analysis.ledger.run_state import StudyState
    from arena.study import Study
    from meta.rewriting import Rewritten
    from programs.program import Program
    from trainer.task import Task

HOSTED = {"contest.sqlite": "meta.cli.contest_host", "home.sqlite": "meta.cli.home"}  # with a public copy of their own
FORMATS = ("tsv", "csv", "parquet", "jsonl")


@dataclass(frozen=True)
class ProgramFlags:
    """The program of a study, instead of a view."""

    kind: Annotated[
        str | None,
        flag(
            "Export the champion (or a FILE.md or its folder) for another kind of researcher; prose: with its charter "
            "written as sentences.",
            "--for",
            type=click.Choice(("prose", *KINDS)),
        ),
    ] = None
    chosen: Annotated[
        str | None,
        flag(
            "With --for: this program of the study, not the champion.",
            "--program",
            metavar="ID",
            command="export",
        ),
    ] = None


@verb(
    ("metaloop export studies/NAME --to jsonl --view all -o tables/", "every view, one file each"),
    ("metaloop export studies/NAME --for agent -o program.md", "the champion, for any agent"),
    ("metaloop export my-contest -o results", "what may be published of a contest or project"),
)
def export(
    out: Output,
    study: AnyStudy,
    to: Annotated[
        str,
        flag(
            f"{', '.join(FORMATS)}; for a tool: {', '.join(TOOLS)}.",
            type=click.Choice((*FORMATS, *TOOLS)),
            default="tsv",
            metavar="FORMAT",
            command="export",
        ),
    ],
    view: Annotated[
        str,
        flag("The view to export, as in metaloop sql, or sft or dpo.", default="runs", metavar="NAME|all"),
    ],
    output: Annotated[
        str | None,
        flag("File; a folder for --view all and tools  [default: stdout; tools: ./FORMAT].", "-o", metavar="PATH"),
    ],
    project: Annotated[
        str | None,
        flag("tools: name of the experiment or project  [default: the study's name].", metavar="NAME"),
    ],
    zipped: Annotated[bool, flag("A copy of the study for others, as one file (needs -o).", "--zip")],
    program: ProgramFlags,
) -> None:
    """Write a view (a table) of a study as tsv, csv, parquet or jsonl. With --json and -o,
    lists the written files on stdout.

    --for prose writes the champion instead, with its charter (its settings) as sentences, for
    loops that do not use Metaloop. --for chat and --for agent also write the conditions of
    its ideas in words, and begin with the best script of the study. --for scripted puts its
    list of ideas first, and refuses a program without an idea that a script can carry out.

    --view sft and --view dpo are rows for training a model that writes programs: what a
    model was asked, its answer, and the gain of that; or a better and a worse answer.

    --to mlflow, trackio and wandb write every run with its experiments into a folder, for
    that tool. MLFLOW_TRACKING_URI and WANDB_MODE=online send them to a server instead.

    --zip copies the study for others: with all measurements, without the secret of its seeds,
    without paths and without the name of this machine. The copy can be read (ui, report,
    standings, sql), and its ledger checked (verify). It cannot be resumed, and contains
    neither the runs' repositories nor the files of a task that is not built in.

    Of a contest or a shared project, without --view and --to: writes all that may be published
    into a new folder. Of a contest also the texts that its pages show only after the close."""
    target = Path(output).expanduser() if output else None
    if zipped:
        to_zip(out, study, target)
        return
    if program.chosen and not program.kind:
        raise UsageError("--program needs --for", hint="add --for prose")
    if program.kind:
        for_researcher(out, study, target, program.kind, program.chosen)
        return
    if to in TOOLS:
        to_tool(out, study, target, to, project)
        return
    if project:
        raise UsageError(f"--project needs --to {', '.join(TOOLS)}", hint="add --to wandb -o logs/")
    folder = resolve.study_folder(study, out)
    hosted = [module for name, module in HOSTED.items() if (folder / name).is_file()]
    if not hosted or {"--view", "--to"} & typed().keys():
        to_tables(out, folder, target, to, view)
    elif target is None:
        raise UsageError("name a new folder to write to", hint=f"metaloop export {resolve.typed(folder)} -o NEW")
    else:
        importlib.import_module(hosted[0]).publish(out, folder, target)


def to_tables(out: Output, folder: Path, target: Path | None, to: str, view: str) -> None:
    """Write a view, or every one, as tables."""
    from analysis.export import TRAINING, open_training
    from analysis.study import VIEWS

    if view not in (*VIEWS, *TRAINING, "all"):
        raise NotFound(f"no view {view!r}", hint=f"one of {', '.join((*VIEWS, *TRAINING))}, or all")
    if target is None and (view == "all" or out.mode == "json"):
        raise UsageError(
            "name a file or folder to write to", hint=f"metaloop export {resolve.typed(folder)} -o tables/"
        )
    with open_training(folder) if view in TRAINING else resolve.connect(folder) as con:
        if target is None:
            to_stdout(con, view, to)
            return
        names = [name for name in VIEWS if name != "events"] if view == "all" else [view]
        targets = {name: target / f"{name}.{to}" if view == "all" else target for name in names}
        written = [to_file(con, name, to, path) for name, path in targets.items()]
    for item in written:
        out.note(f"wrote {item['path']}, {item['rows']} rows")
    if out.mode == "json":
        out.json({"study": str(folder), "written": written})


def to_zip(out: Output, study: str | None, target: Path | None) -> None:
    """Write a copy of a study to give away, as one file."""
    from arena.lock import is_taken
    from meta.share import share, verified

    if target is None or target.suffix != ".zip":
        raise UsageError("--zip needs a file to write to", hint="add -o NAME.zip")
    folder = resolve.study_folder(study, out)
    if is_taken(folder):
        raise UsageError(f"{folder} is running", hint=f"metaloop stop {resolve.typed(folder)} ends it first")
    if target.exists():
        raise UsageError(f"{target} exists", hint="name a new file with -o")
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / target.stem
        remarks, head = share(folder, copy), verified(copy)["head"]
        shutil.make_archive(str(target.with_suffix("")), "zip", scratch, copy.name)
    for text in remarks:
        out.warn(text)
    name = shlex.quote(copy.name)
    unpack = f"python3 -m zipfile -e {resolve.typed(target)} ."
    out.note(f"{target}: a copy of {resolve.shown(folder)}; to look at it: {unpack} && metaloop ui {name}")
    out.note(f"its ledger ends with {head}; metaloop verify {name} checks it and prints this hash")
    if out.mode == "json":
        out.json({"study": str(folder), "copy": str(target), "head": head, "remarks": remarks})


def for_researcher(out: Output, study: str | None, target: Path | None, kind: str, chosen: str | None) -> None:
    """Write the champion of a study, the program ``chosen`` of it, or the program at a path, for another kind of
    researcher; ``prose``: as it is, with its charter as sentences."""
    from dataclasses import replace

    from arena.lock import is_taken
    from arena.study import Study
    from meta.agent_text import SeedSpread, spread
    from meta.champion import label_of
    from meta.rewriting import MeasuredLoss, measured_bundle, measured_harm, rewritten

    given, task, bundle, harm = Path(study).expanduser() if study else None, None, "", dict[str, MeasuredLoss]()
    noise: SeedSpread | None = None
    if given is not None and (given.suffix == ".md" or (given.is_dir() and not (given / resolve.MARK).exists())):
        program = resolve.one_program(str(given))
        if chosen:
            raise UsageError("--program chooses a program of a study", hint="metaloop export studies/NAME …")
    else:
        folder = resolve.study_folder(study, out)
        if not chosen and not (folder / "champion.md").is_file():
            way = "wait for its end" if is_taken(folder) else f"metaloop improve --resume {resolve.typed(folder)}"
            hint = f"{way}, or name a program: --for {kind} my/program.md"
            raise NotFound(f"{folder} has no champion.md", hint=hint)
        made = Study.open(folder, to_read=True)
        made.look()
        if chosen:
            program = of_study(made.state, chosen)
        else:
            program = resolve.one_program(str(folder / "champion.md"))
            warn_of_start(out, made)
        if kind != "prose":
            task, bundle, harm = made.task, measured_bundle(made), measured_harm(folder, program)
            noise = spread(folder, task)
            program = replace(program, evolved_for=program.evolved_for or label_of(made, program))
    if kind == "prose":
        write_program(out, as_prose(program), target, kind)
    else:
        write_program(out, rewritten(program, kind, task, bundle, harm, noise), target, kind, task)


def of_study(study: StudyState, chosen: str) -> Program:
    """The program of a study with this name or beginning of an id. Raises NotFound."""
    from programs.program import Program

    programs = {identity: Program.parse(event.text, event.name) for identity, event in study.programs.items()}
    named = [program for program in programs.values() if program.name == chosen]
    return named[0] if len(named) == 1 else programs[resolve.by_prefix(chosen, programs, "program")]


def warn_of_start(out: Output, study: Study) -> None:
    """Say so where the champion is not shown to do better than what it was tested against."""
    from analysis.verdict.decision import decision_of
    from analysis.verdict.verdict import decided
    from analysis.wording import plain_text

    event = study.state.champion
    decision = decision_of(event.body) if event else None
    if decision and not decision.holds:
        origin = study.config.plan.get("origin")
        mine = f"; to export yours: --program {origin}" * decision.against_own
        out.warn(plain_text(decided(decision).headline) + mine)


def as_prose(program: Program) -> Rewritten:
    """The program with its charter as sentences."""
    from dataclasses import replace

    from meta.rewriting import Rewritten
    from programs.charter_prose import sentences, with_prose

    stated = replace(program.with_text(with_prose(program.text)), evolved_for=program.evolved_for)
    return Rewritten(stated, sentences(program.text))


def write_program(out: Output, made: Rewritten, target: Path | None, kind: str, task: Task | None = None) -> None:
    """Write a program to a new file or folder, or to stdout. ``task``: of its study."""
    from arena.setup import reference
    from inner_loop.agents.recipe import FOLLOWS, own_agent
    from meta.agent_text import copied_first, copying

    stated = made.program.labelled
    said = [{"field": field, "sentence": sentence} for field, sentence in made.said]
    for note in made.notes:
        out.note(note)
    if target is None:
        out.text(stated.shown, item={"text": stated.document, "sentences": said})
        return
    if target.exists():
        raise UsageError(f"{target} already exists", hint="name a new file or folder")
    if stated.is_set:
        stated.write(target)
    else:
        target.write_bytes(stated.raw)
    what = f": {len(said)} fields of the charter as sentences" if kind != "scripted" else ""
    out.note(f"wrote {target}{what}")
    if out.mode == "json":
        out.json({"path": str(target), "sentences": said})
    entry = target / stated.files[0][0] if stated.is_set else target
    if kind in ("prose", "agent"):
        agent, named = own_agent(f"Read {entry.resolve()} and follow it"), reference(task) if task else ""
        go = f"cd {named} && " if copying(named) else ""
        where = "" if go else ", in a folder with a train.py" if task is None else f", in the folder of {task.name}"
        out.next(*copied_first(named), f"{go}{agent}  # {FOLLOWS}{where}")


def to_file(con: duckdb.DuckDBPyConnection, view: str, to: str, path: Path) -> Row:
    """Write a view to ``path``; returns what was written."""
    from analysis.export import write

    if path.is_dir():
        raise UsageError(f"{path} is a folder", hint=f"name a file: -o {path}/{view}.{to}")
    write(con, view, path, cast("Format", to))
    ((rows,),) = con.execute(f"SELECT count(*) FROM {view}").fetchall()
    return {"view": view, "format": to, "path": str(path), "rows": rows}


def to_stdout(con: duckdb.DuckDBPyConnection, view: str, to: str) -> None:
    """Write the bytes of the file to stdout; parquet is refused at a terminal."""
    if to == "parquet" and sys.stdout.isatty():
        raise UsageError("parquet is a binary format", hint="add -o FILE, or redirect stdout to a file")
    with tempfile.TemporaryDirectory(prefix="metaloop-export-") as folder:
        path = Path(folder) / "view"
        to_file(con, view, to, path)
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
