"""The static table of commands: what ``metaloop --help`` shows without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass

SECTIONS = ("Run", "Inspect", "Data", "Programs, tasks, contests", "This machine")


@dataclass(frozen=True)
class CommandEntry:
    """One command: where its click command is defined (``module:attribute``) and its line in the help."""

    name: str
    section: str
    target: str
    help: str


RUN, INSPECT, DATA, OBJECTS, MACHINE = SECTIONS
VERBS: dict[str, CommandEntry] = {
    entry.name: entry
    for entry in (
        CommandEntry("match", RUN, "meta.cli.match:match", "compare several programs at equal budget"),
        CommandEntry("evolve", RUN, "meta.cli.evolve:evolve", "compare programs, write better ones, confirm the best"),
        CommandEntry("improve", RUN, "meta.cli.evolve:improve", "evolve from a program of your own"),
        CommandEntry("verify", RUN, "meta.cli.verify:verify", "check a result on fresh seeds and data"),
        CommandEntry("ablate", RUN, "meta.cli.ablate:ablate", "measure the effect of each directive or kept change"),
        CommandEntry("sweep", RUN, "meta.cli.knowledge:sweep", "measure each edit of a task, for a knowledge base"),
        CommandEntry("stop", RUN, "meta.cli.status:stop", "stop a running study after the experiments in progress"),
        CommandEntry("steer", RUN, "meta.cli.steer:steer", "give a running study an idea, a program or a veto"),
        CommandEntry("ls", INSPECT, "meta.cli.studies:ls", "the studies of a folder, with verdict and size"),
        CommandEntry("status", INSPECT, "meta.cli.status:status", "the progress of a study; --watch updates it"),
        CommandEntry(
            "standings", INSPECT, "meta.cli.standings:standings", "the gain of each program, with its interval"
        ),
        CommandEntry("credit", INSPECT, "meta.cli.credit:credit", "the estimated effects of edits and directives"),
        CommandEntry("show", INSPECT, "meta.cli.show:show", "any record by its id or a prefix of it"),
        CommandEntry("ui", INSPECT, "meta.cli.ui:ui", "studies in a browser, live"),
        CommandEntry("report", INSPECT, "meta.cli.report:report", "the study as one HTML file that opens offline"),
        CommandEntry("sql", DATA, "meta.cli.sql:sql", "a DuckDB query over a study"),
        CommandEntry("import", DATA, "meta.cli.import_:import_", "import the logs of other loops as a study"),
        CommandEntry("export", DATA, "meta.cli.export:export", "a view as a file; a copy of the study for others"),
        CommandEntry(
            "knowledge", DATA, "meta.cli.knowledge:knowledge", "a program from the effects measured on many tasks"
        ),
        CommandEntry("program", OBJECTS, "meta.cli.program:program", "ls, new, lint, diff, show"),
        CommandEntry("task", OBJECTS, "meta.cli.task:task", "ls, show, init, check, measure"),
        CommandEntry("contest", OBJECTS, "meta.cli.contest:contest", "init, serve, join, submit, status, close, host"),
        CommandEntry(
            "home", OBJECTS, "meta.cli.home:home", "let strangers improve one train.py: init, serve, join, audit"
        ),
        CommandEntry("doctor", MACHINE, "meta.cli.doctor:doctor", "check this machine; a fix for each problem"),
    )
}
