"""``metaloop show``: a program, or any record of a study by its id or a prefix of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import duckdb

from analysis.effects.support import support
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.flags import StudyFlag
from meta.cli.options import argument, flag
from meta.cli.output import Output, Row
from meta.cli.program import described, differences, setting_rows
from programs import shelf
from programs.common.errors import NotFound
from programs.directives import ORDER
from programs.program import Program

# Kind → the table of its records, in which their ids are the column KIND_id.
TABLES = {
    "program": "programs", "directive": "directives", "experiment": "experiments", "run": "runs", "match": "matches",
    "arm": "arms", "source": "experiments", "study": "studies", "credit": "credit", "audit": "audits",
    "import": "imports",
}  # fmt: skip
FINDINGS = "SELECT kind, text, experiment_id, stream, seed FROM findings WHERE {} = $1"
# What else is shown of a record: title → query; ``+`` adds the columns of its one row to the record.
RELATED: Mapping[str, Mapping[str, str]] = {
    "program": {
        # why it was written, and by a model: which one, its meta program and its cost
        "+": "SELECT reason, model AS written_by, meta_program_id, CASE WHEN model IS NOT NULL THEN tokens END AS "
        "tokens, usd, evidence_ids FROM mutations WHERE child_id = $1 AND accepted LIMIT 1",
        "runs": "SELECT run_id, match_id, stream, state, verified_gain, claimed_gain FROM runs WHERE program_id = $1",
    },
    "directive": {
        # `credit` uses the experiments of the search
        "+": "SELECT count(*) FILTER (m.purpose IS DISTINCT FROM 'confirmation' AND m.stream IS DISTINCT FROM "
        "'reserve') AS cited_in_search, count(*) FILTER (m.purpose = 'confirmation') AS cited_in_confirmation, "
        "count(*) FILTER (m.stream = 'reserve') AS cited_on_held_out_tasks, count(*) AS cited_by_experiments "
        "FROM experiments AS e LEFT JOIN matches AS m USING (match_id) WHERE list_contains(e.directive_ids, $1)",
        "programs": "SELECT program_id, position FROM directives WHERE directive_id = $1",
    },
    "run": {
        "experiments_of_run": "SELECT number, experiment_id, decision, status, metric, gain, description "
        "FROM experiments WHERE run_id = $1 ORDER BY number",
        "findings": FINDINGS.format("run_id"),
        "audits": "SELECT audit_id, verdict, gain, low, high, n, trust FROM audits WHERE run_id = $1",
    },
    "experiment": {
        "+": "FROM import_rows WHERE experiment_id = $1",
        "findings": FINDINGS.format("experiment_id"),
    },
    "match": {
        "arms": "SELECT a.arm_id, a.role, p.name, a.program_id FROM arms AS a LEFT JOIN programs AS p "
        "USING (program_id) WHERE a.match_id = $1"
    },
    "source": {
        "experiments": "SELECT experiment_id, run_id, metric, status FROM experiments WHERE source_id = $1",
        "findings": FINDINGS.format("source_id"),
    },
    "import": {
        "runs": "SELECT run_id FROM imports WHERE import_id = $1 AND run_id IS NOT NULL",
        "set_aside": "SELECT line, reason, text FROM quarantine WHERE import_id = $1 ORDER BY line",
    },
}
FIND = "metaloop sql STUDY 'FROM experiments', 'FROM programs'; -s STUDY"
ABOUT = {
    "directive": "estimate: the difference of the two scripts in one model of all experiments of the search; "
    "mean_over_parent: the plain average of over_parent in rests_on",
    "paired": "n: pairs of rows in rests_on with the same match_id and run_seed, a run of the child and one of a "
    "parent (the same parent in all pairs); the other rows are not used",
}
SUPPORT = 60  # rows shown of the data behind an estimate; its sql gives all of them
HIDDEN = ("diff", "text", "config", "details")


@verb(
    ("metaloop show e3f2", "an experiment with its diff"),
    ("metaloop show p77e -s studies/NAME", "a program of a study and its differences from its parents"),
    ("metaloop show my/program.md --settings", "every setting of a program, with its meaning"),
)
def show(
    out: Output,
    what: Annotated[str, argument(metavar="ID|PROGRAM")],
    study: StudyFlag,
    settings: Annotated[bool, flag("Of a program: every setting (the charter) with its value and its meaning.")],
    text: Annotated[bool, flag("Of a program of a study: its text alone.")],
) -> None:
    """Show a program, directive, experiment, run, match, arm, source, credit row,
    audit or imported log by its id, or by any unique prefix of it. PROGRAM is a path, or
    the name of a starter: its text is shown. Metaloop enforces its settings for scripts
    and models; agents get them as a section of the text."""
    if study is None and (what in shelf.names() or resolve.program_path(what).exists()):
        program = resolve.one_program(what)
        if settings:
            views.show(out, setting_rows(program), views.View(""))
        else:
            out.text(program.document, item=described(program))
        return
    with resolve.connect(resolve.study_folder(study, out), ["credit"] if what.startswith("c") else []) as con:
        kind, identity = find_record(con, what)
        row = resolve.fetch(con, f"SELECT * FROM {TABLES[kind]} WHERE {kind}_id = ?", [identity])[0]
        item, tables = read_record(con, kind, row, identity)
    if settings and kind == "program":
        views.show(out, setting_rows(parse_program(row)), views.View(""))
    elif text and kind == "program":
        out.text(row["text"])
    elif out.mode == "json":
        out.json({"kind": kind, **item, **tables})
    else:
        print_record(out, {"kind": kind, **item}, tables)


def find_record(con: duckdb.DuckDBPyConnection, prefix: str) -> tuple[str, str]:
    """(kind, id) of the one record whose id starts so, else of the program of that name. Raises NotFound, or Ambiguous
    with candidates."""
    present, kinds = {row["name"] for row in resolve.fetch(con, "SHOW TABLES")}, dict[str, str]()
    for kind, table in TABLES.items():
        if table in present:
            query = f"SELECT DISTINCT {kind}_id AS id FROM {table} WHERE starts_with(id, ?) LIMIT 50"
            for row in resolve.fetch(con, query, [prefix]):
                kinds.setdefault(row["id"], kind)
    if kinds:
        identity = resolve.by_prefix(prefix, kinds)
        return kinds[identity], identity
    programs = resolve.fetch(con, "SELECT program_id FROM programs WHERE name = ?", [prefix])
    if not programs:
        raise NotFound(f"no id in this study starts with {prefix!r}", hint=FIND)
    return "program", programs[0]["program_id"]


Parts = tuple[dict[str, object], dict[str, Sequence[Row]]]


def read_record(con: duckdb.DuckDBPyConnection, kind: str, row: Row, identity: str) -> Parts:
    """The columns of a record, and its tables by title."""
    item, tables = dict(row), dict[str, Sequence[Row]]()
    for title, query in RELATED.get(kind, {}).items():
        rows = resolve.fetch(con, query, [identity])
        if title != "+":
            tables[title] = rows
        elif rows:
            item = rows[0] | item
    if kind == "source":
        item = {key: item[key] for key in ("source_id", "parent_source_id", "config", "diff")}
    more = MORE.get(kind)
    return more(con, item, tables) if more else (item, tables)


def _of_program(con: duckdb.DuckDBPyConnection, item: dict[str, object], tables: dict[str, Sequence[Row]]) -> Parts:
    """With the differences from its parents."""
    program, parents = parse_program(item), item["parent_ids"]
    for parent in parents if isinstance(parents, list) else ():
        for row in resolve.fetch(con, "SELECT name, text FROM programs WHERE program_id = ?", [parent]):
            tables[f"against {resolve.short(parent)}"] = differences(parse_program(row), program)
    return item, tables


def _of_directive(con: duckdb.DuckDBPyConnection, item: dict[str, object], tables: dict[str, Sequence[Row]]) -> Parts:
    """An order of ideas has their texts."""
    if item["kind"] == ORDER:
        texts = dict(con.execute("SELECT directive_id, text FROM directives").fetchall())
        ideas = enumerate(str(item["text"]).split(), 1)
        item["text"] = "\n".join(f"{number}. {texts.get(idea, idea)}" for number, idea in ideas)
    return {key: value for key, value in item.items() if key not in ("program_id", "position")}, tables


def _of_credit(con: duckdb.DuckDBPyConnection, item: dict[str, object], tables: dict[str, Sequence[Row]]) -> Parts:
    """With the data that it was estimated from, and the query for that data."""
    data, sql = support(con, item)
    if item["method"] == "directive" and data:
        known = [row["over_parent"] for row in data if row["over_parent"] is not None]
        item["mean_over_parent"] = math.fsum(known) / len(known) if known else None
    kind = item["design"] if item["method"] == "mutation" else item["method"]
    item |= {"about_estimate": ABOUT[str(kind)]} if kind in ABOUT else {}
    return {**item, "rests_on_rows": len(data), "sql": sql}, {**tables, "rests_on": data[:SUPPORT]}


MORE: Mapping[str, Callable[..., Parts]] = {
    "program": _of_program, "directive": _of_directive, "credit": _of_credit,
}  # fmt: skip


def parse_program(row: Mapping[str, object]) -> Program:
    return Program.parse(str(row["text"]), str(row["name"] or "program"))


def print_record(out: Output, item: Row, tables: Mapping[str, Sequence[Row]]) -> None:
    out.thing({key: value for key, value in item.items() if key not in HIDDEN and value is not None})
    for title, rows in tables.items():
        if rows:
            total = item.get("rests_on_rows") if title == "rests_on" else len(rows)
            part = f", {len(rows)} of {total} rows; its sql gives all of them" if total != len(rows) else ""
            out.text(f"\n{title}{part}:")
            views.show(out, rows, views.View("", hide=("kind",) if title.startswith("against") else ()))
    text = item.get("text") if item["kind"] != "directive" else None
    for document in (item.get("diff"), text):
        if document:
            out.text(f"\n{document}")
