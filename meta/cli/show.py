"""``metaloop show``: a program, or any record of a study by its id or a prefix of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.flags import StudyFlag
from meta.cli.options import argument, flag
from meta.cli.output import Output, Row
from programs.directives import ORDER
from programs.errors import MetaloopError, NotFound

if TYPE_CHECKING:
    import duckdb

    from programs.program import Program

# The kinds of ids, with their table and column.
ID_COLUMNS = (
    ("program", "programs", "program_id"),
    ("directive", "directives", "directive_id"),
    ("experiment", "experiments", "experiment_id"),
    ("run", "runs", "run_id"),
    ("match", "matches", "match_id"),
    ("arm", "arms", "arm_id"),
    ("source", "experiments", "source_id"),
    ("study", "studies", "study_id"),
    ("credit", "credit", "credit_id"),
    ("audit", "audits", "audit_id"),
    ("import", "imports", "import_id"),
)
NAMED = "SELECT program_id FROM programs WHERE name = ?"
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
DOCUMENTS = ("diff", "text")
HIDDEN = {*DOCUMENTS, "config", "details"}


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
    audit or imported log by its id, or by any unique prefix of it. If the newest study
    has no such id, the other studies under studies/ are searched. PROGRAM is a path, or
    the name of a starter: its text is shown. Metaloop enforces its settings for scripts
    and models; agents get them as sentences."""
    from meta.cli.program import described, setting_rows
    from programs import shelf

    if study is None and (what in shelf.names() or resolve.program_path(what).exists()):
        program = resolve.one_program(what)
        if settings:
            views.show(out, setting_rows(program), views.View(""))
        else:
            out.text(program.document, item=described(program))
        return
    folder = holder(what, out) if study is None else resolve.study_folder(study, out)
    with resolve.connect(folder, ["credit"] if what.startswith("c") else []) as con:
        kind, table, column, full = locate(con, what)
        rows = resolve.fetch(con, f"SELECT * FROM {table} WHERE {column} = ?", [full])
        item, tables = record(con, kind, rows[0], full)
    if settings and kind == "program":
        views.show(out, setting_rows(_parsed(rows[0])), views.View(""))
    elif text and kind == "program":
        out.text(rows[0]["text"])
    elif out.mode == "json":
        out.json({"kind": kind, **item, **tables})
    else:
        _print(out, {"kind": kind, **item}, tables)


Parts = tuple[dict[str, object], dict[str, Sequence[Row]]]


def record(con: duckdb.DuckDBPyConnection, kind: str, row: Row, identity: str) -> Parts:
    """The columns of a record, and its tables by title."""
    item, tables = dict(row), dict[str, Sequence[Row]]()
    for title, query in RELATED.get(kind, {}).items():
        found = resolve.fetch(con, query, [identity])
        if title != "+":
            tables[title] = found
        elif found:
            item = found[0] | item
    if kind == "source":
        item = {key: item[key] for key in ("source_id", "parent_source_id", "config", "diff")}
    more = MORE.get(kind)
    return more(con, item, tables) if more else (item, tables)


def _of_program(con: duckdb.DuckDBPyConnection, item: dict[str, object], tables: dict[str, Sequence[Row]]) -> Parts:
    """With the differences from its parents."""
    from meta.cli.program import differences

    own, above = _parsed(item), item["parent_ids"]
    for parent in above if isinstance(above, list) else ():
        for row in resolve.fetch(con, "SELECT name, text FROM programs WHERE program_id = ?", [parent]):
            tables[f"against {resolve.short(parent)}"] = differences(_parsed(row), own)
    return item, tables


def _of_directive(con: duckdb.DuckDBPyConnection, item: dict[str, object], tables: dict[str, Sequence[Row]]) -> Parts:
    """An order of ideas has their texts."""
    if item["kind"] == ORDER:
        texts = dict(con.execute("SELECT directive_id, text FROM directives").fetchall())
        item["text"] = "\n".join(f"{at}. {texts.get(one, one)}" for at, one in enumerate(str(item["text"]).split(), 1))
    return {key: value for key, value in item.items() if key not in ("program_id", "position")}, tables


def _of_credit(con: duckdb.DuckDBPyConnection, item: dict[str, object], tables: dict[str, Sequence[Row]]) -> Parts:
    """With the data that it was estimated from, and the query for that data."""
    from analysis.effects.support import support

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


def _parsed(row: Mapping[str, object]) -> Program:
    from programs.program import Program

    return Program.parse(str(row["text"]), str(row["name"] or "program"))


def holder(identity: str, out: Output) -> Path:
    """The newest study, or the newest of the others that has the record. A name with other texts elsewhere is noted."""
    newest = resolve.study_folder(None, out)
    own, texts = _has(newest, identity)
    if own and not texts:  # an id: the same everywhere
        if identity.startswith("c") and len(resolve.known_studies()) > 1:
            out.note("credit rows of other studies can have this id, too: -s STUDY shows those")
        return newest
    there = {newest: texts} if own else {}
    others = [folder for folder in reversed(resolve.known_studies()) if folder != newest]
    if others:
        out.meanwhile("looking in the other studies")
    for folder in others:
        try:
            has, named = _has(folder, identity)
        except MetaloopError as error:
            out.warn(f"{folder} cannot be read: {error.message}")
            continue
        there |= {folder: named} if has else {}
    if not there:
        in_others = f" or in {many(len(others), 'other study')}" if others else ""
        raise NotFound(f"no id in this study{in_others} starts with {identity!r}", hint=FIND)
    first = next(iter(there))
    if first != newest:
        out.note(f"not in the newest study; shown from {resolve.shown(first)}")
    if unlike := [folder.name for folder, named in there.items() if named and named != there[first]]:
        out.note(f"{identity} has another text in {', '.join(unlike)} (-s STUDY)")
    return first


def _has(folder: Path, identity: str) -> tuple[bool, set[str]]:
    """Whether a study has the record, and the ids of its programs of that name."""
    with resolve.connect(folder, ["credit"] if identity.startswith("c") else []) as con:
        return bool(_matches(con, identity)), {row["program_id"] for row in resolve.fetch(con, NAMED, [identity])}


def locate(con: duckdb.DuckDBPyConnection, prefix: str) -> tuple[str, str, str, str]:
    """(kind, table, column, full id) of the one record with this id. Raises NotFound, or Ambiguous with candidates."""
    matches = _matches(con, prefix)
    if not matches:
        raise NotFound(f"no id in this study starts with {prefix!r}", hint=FIND)
    full = resolve.by_prefix(prefix, matches) if any(i.startswith(prefix) for i in matches) else next(iter(matches))
    return (*matches[full], full)


def _matches(con: duckdb.DuckDBPyConnection, prefix: str) -> dict[str, tuple[str, str, str]]:
    """id → (kind, table, column) of the records whose ids start with it, else of the programs of that name."""
    matches: dict[str, tuple[str, str, str]] = {}
    there = {row["name"] for row in resolve.fetch(con, "SHOW TABLES")}
    for kind, table, column in (entry for entry in ID_COLUMNS if entry[1] in there):
        query = f"SELECT DISTINCT {column} AS id FROM {table} WHERE starts_with({column}, ?) LIMIT 50"
        for row in resolve.fetch(con, query, [prefix]):
            matches.setdefault(row["id"], (kind, table, column))
    if not matches:
        matches = {row["program_id"]: ID_COLUMNS[0] for row in resolve.fetch(con, NAMED, [prefix])}
    return matches


def _print(out: Output, item: Row, tables: Mapping[str, Sequence[Row]]) -> None:
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
