"""The static table of verbs: what ``metaloop --help`` shows without importing any of them."""

from __future__ import annotations

from dataclasses import dataclass

SECTIONS = ("Run things", "Look", "Data", "Nouns", "This machine")


@dataclass(frozen=True)
class Entry:
    """One verb: where its click command lives (``module:attribute``) and the line that help shows."""

    name: str
    section: str
    target: str
    help: str


VERBS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("run", "Run things", "meta.cli.run:run", "one program, one task, one seed"),
        Entry("match", "Run things", "meta.cli.match:match", "several programs at equal budget, to standings"),
        Entry("evolve", "Run things", "meta.cli.evolve:evolve", "race programs, write better ones, confirm"),
        Entry("improve", "Run things", "meta.cli.evolve:improve", "evolve from a program of your own"),
        Entry("transfer", "Run things", "meta.cli.transfer:transfer", "who wins at home, does it win elsewhere?"),
        Entry("verify", "Run things", "meta.cli.verify:verify", "is it true? on seeds and data nobody has seen"),
        Entry("simulate", "Run things", "meta.cli.simulate:simulate", "what a study would tell, before it is run"),
        Entry("ablate", "Run things", "meta.cli.ablate:ablate", "what each directive, or each commit, is worth"),
        Entry("power", "Run things", "meta.cli.power:power", "how many runs tell a difference; their cost"),
        Entry("stop", "Run things", "meta.cli.status:stop", "let a running study drain and end"),
        Entry("status", "Look", "meta.cli.status:status", "what a study is doing; --watch"),
        Entry("standings", "Look", "meta.cli.standings:standings", "ranks with ties, intervals, claimed beside"),
        Entry("credit", "Look", "meta.cli.credit:credit", "what earned the gain: edits and directives"),
        Entry("log", "Look", "meta.cli.log:log", "the experiments of a study, one line each"),
        Entry("show", "Look", "meta.cli.show:show", "any thing by its id or a prefix of it"),
        Entry("lineage", "Look", "meta.cli.lineage:lineage", "the tree of programs, with their gains"),
        Entry("report", "Look", "meta.cli.report:report", "all of it as one HTML file that opens offline"),
        Entry("sql", "Data", "meta.cli.sql:sql", "a DuckDB query over a study"),
        Entry("import", "Data", "meta.cli.import_:import_", "logs of others: what they amount to, as a study"),
        Entry("export", "Data", "meta.cli.export:export", "a view as tsv, csv, parquet or jsonl"),
        Entry("surrogate", "Data", "meta.cli.surrogate:surrogate", "can gains be foretold from what programs say?"),
        Entry("program", "Nouns", "meta.cli.program:program", "ls, lint, diff, charter, show"),
        Entry("task", "Nouns", "meta.cli.task:task", "ls, show, init, check, measure"),
        Entry("contest", "Nouns", "meta.cli.contest:contest", "init, serve, submit, status, close, export"),
        Entry("doctor", "This machine", "meta.cli.doctor:doctor", "can it run here? each problem with its cure"),
    )
}
