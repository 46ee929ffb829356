"""``metaloop export``: write a view of a study to a file or to stdout."""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import click

from analysis.wording import many
from arena.lock import is_taken
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import flag
from meta.cli.output import Output, Row
from programs.errors import NotFound, UsageError
from programs.evolved_for import KINDS
from programs.text import escaped
from trainer import sandbox

if TYPE_CHECKING:
    import duckdb

    from analysis.export import Format
    from analysis.ledger.run_state import StudyState
    from arena.settings import StudyConfig
    from arena.study import Study
    from programs.program import Program

HOSTED = {
    "contest.sqlite": "meta.cli.contest_host",
    "home.sqlite": "meta.cli.home",
}  # with a public copy of their own
FORMATS = ("tsv", "csv", "parquet", "jsonl")
TOOLS = ("trackio", "wandb")


@dataclass(frozen=True)
class ExportFlags:
    """What is written, and where."""

    to: Annotated[
        str | None,
        flag(
            f"{', '.join(FORMATS)}; for a tool: {', '.join(TOOLS)}  [default: tsv].",
            type=click.Choice((*FORMATS, *TOOLS)),
            metavar="FORMAT",
            command="export",
        ),
    ]
    view: Annotated[
        str | None,
        flag("The view to export, as in metaloop sql, or `written`  [default: runs].", metavar="NAME|all"),
    ]
    output: Annotated[
        str | None,
        flag("File; a folder for --view all and tools  [default: stdout; tools: ./FORMAT].", "-o", metavar="PATH"),
    ]
    project: Annotated[
        str | None,
        flag("tools: name of the project  [default: the study's name].", metavar="NAME"),
    ]
    kind: Annotated[
        str | None,
        flag(
            "Export the champion (or a FILE.md or its folder) for another kind of researcher; prose: with its charter "
            "written as sentences.",
            "--for",
            type=click.Choice(("prose", *KINDS)),
        ),
    ]
    program: Annotated[
        str | None, flag("With --for: this program of the study, not the champion.", metavar="ID", command="export")
    ]


@verb(
    ("metaloop export studies/NAME --to jsonl --view all -o tables/", "every view, one file each"),
    ("metaloop export studies/NAME --for agent -o program.md", "the champion, for any agent"),
    ("metaloop export my-contest -o results", "what may be published of a contest or project"),
)
def export(
    out: Output,
    study: AnyStudy,
    flags: ExportFlags,
) -> None:
    """Write a view (a table) of a study as tsv, csv, parquet or jsonl. With --json and -o,
    lists the written files on stdout.

    --for prose writes the champion instead, with its charter (its settings) as sentences, for
    loops that do not use Metaloop. --for chat and --for agent also begin with the best script
    of the study, and explain the notation of its ideas. --for scripted puts its
    list of ideas first, and refuses a program without an idea that a script can carry out.

    --view written has rows for training a model that writes programs: what a
    model was asked, its answer, the texts of parents and child, and the verified gain.

    --to trackio and wandb write every run with its experiments into a folder, for that tool.
    WANDB_MODE=online sends them to your account instead.

    Of a contest or a shared project, without --view and --to: writes all that may be published
    into a new folder. Of a contest also the texts that its pages show only after the close."""
    target = Path(flags.output).expanduser() if flags.output else None
    if flags.program and not flags.kind:
        raise UsageError("--program needs --for", hint="add --for prose")
    if flags.kind:
        for_researcher(out, study, target, flags.kind, flags.program)
        return
    if flags.to in TOOLS:
        to_tool(out, study, target, flags.to, flags.project)
        return
    if flags.project:
        raise UsageError(f"--project needs --to {', '.join(TOOLS)}", hint="add --to wandb -o logs/")
    folder = resolve.study_folder(study, out)
    hosted = [module for name, module in HOSTED.items() if (folder / name).is_file()]
    if not hosted or flags.view or flags.to:
        to_tables(out, folder, target, flags.to or "tsv", flags.view or "runs")
    elif target is None:
        raise UsageError("name a new folder to write to", hint=f"metaloop export {resolve.typed(folder)} -o NEW")
    else:
        importlib.import_module(hosted[0]).publish(out, folder, target)


def to_tables(out: Output, folder: Path, target: Path | None, to: str, view: str) -> None:
    """Write a view, or every one, as tables."""
    from analysis.export import WRITTEN, open_written
    from analysis.study import VIEWS

    if view not in (*VIEWS, WRITTEN, "all"):
        raise NotFound(f"no view {view!r}", hint=f"one of {', '.join((*VIEWS, WRITTEN))}, or all")
    if target is None and (view == "all" or out.mode == "json"):
        raise UsageError(
            "name a file or folder to write to", hint=f"metaloop export {resolve.typed(folder)} -o tables/"
        )
    with open_written(folder) if view == WRITTEN else resolve.connect(folder) as con:
        if target is None:
            to_stdout(con, view, to)
            return
        names = [name for name in VIEWS if name != "events"] if view == "all" else [view]
        targets = {name: target / f"{name}.{to}" if view == "all" else target for name in names}
        written = [to_file(con, name, to, path) for name, path in targets.items()]
    for item in written:
        out.note(f"wrote {item['path']}, {item['rows']} rows")
    out.json_only({"study": str(folder), "written": written})


def for_researcher(out: Output, study: str | None, target: Path | None, kind: str, chosen: str | None) -> None:
    """Write the champion of a study, the program ``chosen`` of it, or the program at a path, for another kind of
    researcher; ``prose``: as it is, with its charter as sentences."""
    from arena.study import Study
    from meta.champion import label_of
    from meta.outcome.rewriting import NOTHING, findings, rewritten

    given = Path(study).expanduser() if study else None
    if given is not None and (given.suffix == ".md" or (given.is_dir() and not (given / resolve.MARK).exists())):
        if chosen:
            raise UsageError("--program chooses a program of a study", hint="metaloop export studies/NAME …")
        write_program(out, rewritten(resolve.one_program(str(given)), kind), target, kind)
        return
    folder = resolve.study_folder(study, out)
    made = Study.open(folder)
    if not chosen and not (folder / "champion.md").is_file():
        again = f"metaloop resume {resolve.typed(folder)}{sandbox.flag(made.config.sandbox)}"
        raise NotFound(f"{folder} has no champion.md", hint=f"{again}, or name a program: --for {kind} my/program.md")
    made.look()
    program = of_study(made.state, chosen) if chosen else resolve.one_program(str(folder / "champion.md"))
    if not chosen:
        warn_of_start(out, made)
    found = NOTHING if kind == "prose" else findings(made, program)
    if kind != "prose":
        program = replace(program, evolved_for=program.evolved_for or label_of(made, program))
    write_program(out, rewritten(program, kind, found), target, kind, made.config)


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

    if study.state.champion and not (decision := decision_of(study.state.champion.body)).holds:
        untested = "champion.md is a proposal for the next night, and untested"
        out.warn(untested if decision.night else plain_text(decided(decision).headline))


def write_program(
    out: Output, made: tuple[Program, list[str]], target: Path | None, kind: str, config: StudyConfig | None = None
) -> None:
    """Write a program with its notes to a new file or folder, or to stdout. ``config``: of its study."""
    from inner_loop.agents.recipe import FOLLOWS, own_agent
    from meta.outcome.agent_text import copied_first, copying

    stated, notes = made[0].labelled, made[1]
    for note in notes:
        out.note(note)
    if target is None:
        out.text(stated.document)
        return
    resolve.new_path(target)
    if stated.is_set:
        stated.write(target)
    else:
        target.write_bytes(stated.raw)
    out.note(f"wrote {target}")
    out.json_only({"path": str(target)})
    entry = target / stated.files[0][0] if stated.is_set else target
    if kind in ("prose", "agent"):
        task, researcher, own = (config.task, config.researcher, config.staff.agent) if config else ("", "", "")
        go = f"cd {task} && " if copying(task) else ""
        agent = own_agent(f"Read {entry.resolve()} and follow it", researcher, own)
        out.next(*copied_first(task), f"{go}{agent}  # {FOLLOWS}")


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
            if to != "jsonl":
                shutil.copyfileobj(file, sys.stdout.buffer)
                return
            for line in file:
                click.echo(escaped(line.decode().removesuffix("\n")), color=False)


def to_tool(out: Output, study: str | None, target: Path | None, to: str, project: str | None) -> None:
    """Send the study to a new project of a tool, as it is now."""
    from analysis.trackers import client_errors, to_trackio, to_wandb, tracked

    if target is not None and target.is_file():
        raise UsageError(f"{target} is a file", hint="name a folder: -o logs/")
    folder = resolve.study_folder(study, out)
    sent = tracked(folder)
    name = project or sent.name
    steps = sum(len(run.steps) for run in sent.runs)
    send = {"trackio": to_trackio, "wandb": to_wandb}[to]
    out.note(f"sending {many(len(sent.runs), 'run')} with {many(steps, 'experiment')}")
    with client_errors(to):
        where = send(sent, name, target or Path(to))
    out.note(f"to look at them: {where}")
    if is_taken(folder):
        out.note("the study is still running; its later results were not sent")
    counts = {"runs": len(sent.runs), "experiments": steps}
    out.json_only({"study": str(folder), "to": to, "project": name, **counts})
