"""The static table of commands: what ``metaloop --help`` shows without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CommandEntry:
    """One command: where its click command is defined (``module:attribute`` of meta.cli) and its line in the
    help. ``first``: the help shows the line, else only the name."""

    name: str
    target: str
    help: str
    first: bool = False


VERBS: dict[str, CommandEntry] = {
    entry.name: entry
    for entry in (
        CommandEntry("evolve", "evolve:evolve", "compare programs, write better ones, confirm the best", True),
        CommandEntry("improve", "evolve:improve", "evolve from a program of your own", True),
        CommandEntry("match", "match:match", "compare several programs at equal budget", True),
        CommandEntry("verify", "verify:verify", "check a result on fresh seeds and data", True),
        CommandEntry("status", "status:status", "the progress of a study; --watch updates it", True),
        CommandEntry("standings", "standings:standings", "the gain of each program, with its interval", True),
        CommandEntry("credit", "credit:credit", "the estimated effects of edits and directives"),
        CommandEntry("report", "report:report", "the study as one HTML file that opens offline", True),
        CommandEntry("ui", "ui:ui", "studies in a browser, live", True),
        CommandEntry("task", "task:task", "show, init, check, measure: what is trained", True),
        CommandEntry("contest", "contest:contest", "host a contest of programs, or take part", True),
        CommandEntry("doctor", "doctor:doctor", "check this machine; a fix for each problem", True),
        CommandEntry("ablate", "ablate:ablate", "measure the effect of each directive or kept change"),
        CommandEntry("resume", "resume:resume", "go on with a study that was stopped, whatever made it"),
        CommandEntry("stop", "status:stop", "stop a running study after the experiments in progress"),
        CommandEntry("steer", "steer:steer", "give a running study a program or a veto"),
        CommandEntry("ls", "studies:ls", "the studies of a folder, with verdict and size"),
        CommandEntry("show", "show:show", "a program, or any record by its id or a prefix of it"),
        CommandEntry("sql", "sql:sql", "a DuckDB query over a study"),
        CommandEntry("judge", "judge:judge", "which gains of a log are real; keep the last change?", True),
        CommandEntry("import", "import_:import_", "import the logs of other loops as a study"),
        CommandEntry("export", "export:export", "a view as a file; the champion for other researchers"),
        CommandEntry("program", "program:program", "the starters; new, lint, diff"),
        CommandEntry("home", "home:home", "let strangers improve one train.py: init, serve, join"),
    )
}
