"""The static table of commands: what ``metaloop --help`` shows without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommandEntry:
    """One command: where its click command is defined (``module:attribute``) and its line in the help. ``first``: the
    help shows the line, else only the name."""

    name: str
    target: str
    help: str
    first: bool = False


VERBS: dict[str, CommandEntry] = {
    entry.name: entry
    for entry in (
        CommandEntry("evolve", "meta.cli.evolve:evolve", "compare programs, write better ones, confirm the best", True),
        CommandEntry("improve", "meta.cli.evolve:improve", "evolve from a program of your own", True),
        CommandEntry("match", "meta.cli.match:match", "compare several programs at equal budget", True),
        CommandEntry("verify", "meta.cli.verify:verify", "check a result on fresh seeds and data", True),
        CommandEntry("status", "meta.cli.status:status", "the progress of a study; --watch updates it", True),
        CommandEntry("standings", "meta.cli.standings:standings", "the gain of each program, with its interval", True),
        CommandEntry("credit", "meta.cli.credit:credit", "the estimated effects of edits and directives", True),
        CommandEntry("report", "meta.cli.report:report", "the study as one HTML file that opens offline", True),
        CommandEntry("ui", "meta.cli.ui:ui", "studies in a browser, live", True),
        CommandEntry("task", "meta.cli.task:task", "show, init, check, measure: what is trained", True),
        CommandEntry("contest", "meta.cli.contest:contest", "host a contest of programs, or take part", True),
        CommandEntry("doctor", "meta.cli.doctor:doctor", "check this machine; a fix for each problem", True),
        CommandEntry("ablate", "meta.cli.ablate:ablate", "measure the effect of each directive or kept change"),
        CommandEntry("sweep", "meta.cli.knowledge:sweep", "measure each edit of a task, for a knowledge base"),
        CommandEntry("stop", "meta.cli.status:stop", "stop a running study after the experiments in progress"),
        CommandEntry("steer", "meta.cli.steer:steer", "give a running study an idea, a program or a veto"),
        CommandEntry("ls", "meta.cli.studies:ls", "the studies of a folder, with verdict and size"),
        CommandEntry("show", "meta.cli.show:show", "a program, or any record by its id or a prefix of it"),
        CommandEntry("sql", "meta.cli.sql:sql", "a DuckDB query over a study"),
        CommandEntry("import", "meta.cli.import_:import_", "import the logs of other loops as a study"),
        CommandEntry("export", "meta.cli.export:export", "a view as a file; a copy of the study for others"),
        CommandEntry("knowledge", "meta.cli.knowledge:knowledge", "a program from the effects on many tasks"),
        CommandEntry("program", "meta.cli.program:program", "the starters; new, lint, diff"),
        CommandEntry("home", "meta.cli.home:home", "let strangers improve one train.py: init, serve, join"),
    )
}
