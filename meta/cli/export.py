"""``metaloop export``: write a view of a study to a file or to stdout."""

from __future__ import annotations

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import click

from analysis.export import WRITTEN, Format, open_written, write
from analysis.study import VIEWS
from analysis.trackers import VERDICT, client_errors, to_trackio, to_wandb, tracked
from analysis.verdict.decision import decision_of
from analysis.verdict.verdict import decided
from analysis.wording import many, plain_text
from arena.study.lock import is_taken
from arena.study.settings import StudyConfig
from arena.study.study import Study
from inner_loop.agents.recipe import FOLLOWS, own_agent
from meta.champion import label_of
from meta.cli import resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import flag
from meta.cli.output import Output, Row
from meta.kinds.plans import EvolvePlan, NightPlan, stored_plan
from meta.outcome.agent_text import copied_first, copying
from meta.outcome.rewriting import NOTHING, findings, rewritten
from programs.common.errors import NotFound, UsageError
from programs.common.text import escaped
from programs.evolved_for import KINDS
from programs.program import Program
from trainer import sandbox

if TYPE_CHECKING:
    import duckdb

FORMATS = ("tsv", "csv", "parquet", "jsonl")
TOOLS = {"trackio": to_trackio, "wandb": to_wandb}


@verb(
    ("metaloop export studies/NAME --to jsonl --view all -o tables/", "every view, one file each"),
    ("metaloop export studies/NAME --for agent -o program.md", "the champion, for any agent"),
    ("metaloop export my-contest -o results", "what may be published of a contest"),
)
def export(
    out: Output,
    study: AnyStudy,
    to: Annotated[
        str | None,
        flag(
            f"{', '.join(FORMATS)}; for a tool: {', '.join(TOOLS)}  [default: tsv].",
            type=click.Choice((*FORMATS, *TOOLS)),
            metavar="FORMAT",
            command="export",
        ),
    ],
    view: Annotated[
        str | None,
        flag("The view to export, as in metaloop sql, or `written`  [default: runs].", metavar="NAME|all"),
    ],
    output: Annotated[
        str | None,
        flag("File; a folder for --view all and tools  [default: stdout; tools: ./FORMAT].", "-o", metavar="PATH"),
    ],
    project: Annotated[str | None, flag("tools: name of the project  [default: the study's name].", metavar="NAME")],
    kind: Annotated[
        str | None,
        flag(
            "Export the champion (or a FILE.md or its folder) for another kind of researcher; prose: with its settings "
            "described in a section.",
            "--for",
            type=click.Choice(("prose", *KINDS)),
        ),
    ],
    program: Annotated[
        str | None, flag("With --for: this program of the study, not the champion.", metavar="ID", command="export")
    ],
) -> None:
    """Write a view (a table) of a study as tsv, csv, parquet or jsonl. With --json and -o,
    lists the written files on stdout.

    --for prose writes the champion instead, with its settings described in a section, for
    loops that do not use Metaloop. --for chat and --for agent also begin with the best script
    of the study, and explain the notation of its ideas. --for scripted puts its
    list of ideas first, and refuses a program without an idea that a script can carry out.

    --view written has rows for training a model that writes programs: what a
    model was asked, its answer, the texts of parents and child, and the verified gain.

    --to trackio and wandb write every run with its experiments into a folder, for that tool.
    WANDB_MODE=online sends them to your account instead.

    Of a contest, without --view and --to: writes all that may be published into a new folder,
    also the texts that its pages show only after the close."""
    target = Path(output).expanduser() if output else None
    if program and not kind:
        raise UsageError("--program needs --for", hint="add --for prose")
    if kind:
        for_researcher(out, study, target, kind, program)
        return
    if to in TOOLS:
        to_tool(out, resolve.study_folder(study, out), target, to, project)
        return
    if project:
        raise UsageError(f"--project needs --to {', '.join(TOOLS)}", hint="add --to wandb -o logs/")
    folder = resolve.study_folder(study, out)
    if view or to or not (folder / "contest.sqlite").is_file():
        to_tables(out, folder, target, to or "tsv", view or "runs")
    elif target is None:
        raise UsageError("name a new folder to write to", hint=f"metaloop export {resolve.typed(folder)} -o NEW")
    else:
        from meta.cli.contest_host import publish  # packages of contests

        publish(out, folder, target)


def to_tables(out: Output, folder: Path, target: Path | None, to: str, view: str) -> None:
    """Write a view, or every one, as tables."""
    if view not in (*VIEWS, WRITTEN, "all"):
        raise NotFound(f"no view {view!r}", hint=f"one of {', '.join((*VIEWS, WRITTEN))}, or all")
    if target is None and (view == "all" or out.mode == "json"):
        hint = f"metaloop export {resolve.typed(folder)} -o tables/"
        raise UsageError("name a file or folder to write to", hint=hint)
    with open_written(folder) if view == WRITTEN else resolve.connect(folder) as con:
        if target is None:
            to_stdout(con, view, to)
            return
        targets = {view: target}
        if view == "all":
            targets = {name: target / f"{name}.{to}" for name in VIEWS if name != "events"}
        written = [to_file(con, name, to, path) for name, path in targets.items()]
    for item in written:
        out.note(f"wrote {item['path']}, {item['rows']} rows")
    out.json_only({"study": str(folder), "written": written})


def for_researcher(out: Output, study: str | None, target: Path | None, kind: str, chosen: str | None) -> None:
    """Write the champion of a study, the program ``chosen`` of it, or the program at a path, for another kind of
    researcher; ``prose``: as it is, with its settings in a section."""
    path = Path(study).expanduser() if study else None
    if path is not None and (path.suffix == ".md" or (path.is_dir() and not (path / resolve.MARK).exists())):
        if chosen:
            raise UsageError("--program chooses a program of a study", hint="metaloop export studies/NAME …")
        write_program(out, *rewritten(resolve.one_program(str(path)), kind), target, kind)
        return
    folder = resolve.study_folder(study, out)
    opened = Study.open(folder)
    if not chosen and not (folder / "champion.md").is_file():
        command = f"metaloop resume {resolve.typed(folder)}{sandbox.flag(opened.config.sandbox)}"
        raise NotFound(f"{folder} has no champion.md", hint=f"{command}, or name a program: --for {kind} my/program.md")
    opened.look()
    if chosen:
        program = resolve.program_of_study(opened.state, chosen)
    else:
        program = resolve.one_program(str(folder / "champion.md"))
        warn_of_start(out, opened)
    evidence = NOTHING
    if kind != "prose":
        evidence = findings(opened, program)
        plan = stored_plan(opened.config.kind, opened.config.plan)
        origin = plan.origin if isinstance(plan, EvolvePlan | NightPlan) else None
        program = replace(program, evolved_for=program.evolved_for or label_of(opened, program, origin))
    write_program(out, *rewritten(program, kind, evidence), target, kind, opened.config)


def warn_of_start(out: Output, study: Study) -> None:
    """Warn where the champion is not shown to do better than what it was tested against."""
    if study.state.champion and not (decision := decision_of(study.state.champion.body)).holds:
        untested = "champion.md is a proposal for the next night, and untested"
        out.warn(untested if decision.night else plain_text(decided(decision).headline))


def write_program(
    out: Output,
    program: Program,
    notes: list[str],
    target: Path | None,
    kind: str,
    config: StudyConfig | None = None,
) -> None:
    """Write a program to a new file or folder, or to stdout, and print its notes. ``config``: of its study."""
    program = program.labelled
    for note in notes:
        out.note(note)
    if target is None:
        out.text(program.document)
        return
    resolve.new_path(target)
    entry = target
    if program.is_set:
        program.write(target)
        entry = target / program.files[0][0]
    else:
        target.write_bytes(program.raw)
    out.note(f"wrote {target}")
    out.json_only({"path": str(target)})
    if kind in ("prose", "agent"):
        task, researcher, command = (config.task, config.researcher, config.llm.agent) if config else ("", "", "")
        agent = own_agent(f"Read {entry.resolve()} and follow it", researcher, command)
        folder = f"cd {task} && " if copying(task) else ""
        out.next(*copied_first(task), f"{folder}{agent}  # {FOLLOWS}")


def to_file(con: duckdb.DuckDBPyConnection, view: str, to: str, path: Path) -> Row:
    """Write a view to ``path``; returns what was written."""
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


def to_tool(out: Output, folder: Path, target: Path | None, to: str, project: str | None) -> None:
    """Send the study to a new project of a tool, as it is now."""
    if target is not None and target.is_file():
        raise UsageError(f"{target} is a file", hint="name a folder: -o logs/")
    sent, name = tracked(folder), project or folder.resolve().name
    counts = {"runs": sum(run.run_id != VERDICT for run in sent), "experiments": sum(len(run.steps) for run in sent)}
    out.note(f"sending {many(counts['runs'], 'run')} with {many(counts['experiments'], 'experiment')}")
    with client_errors(to):
        tool_result = TOOLS[to](sent, name, target or Path(to))
    out.note(f"to look at them: {tool_result}")
    if is_taken(folder):
        out.note("the study is still running; its later results were not sent")
    out.json_only({"study": str(folder), "to": to, "project": name, **counts})
