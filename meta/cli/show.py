"""``metaloop show``: any record of a study by its id or a prefix of it, with its diff."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from analysis.wording import many
from meta.cli import resolve
from meta.cli.flags import StudyFlag
from meta.cli.options import argument, verb
from meta.cli.output import Output, Row
from programs.directives import ORDER
from programs.errors import MetaloopError, NotFound

if TYPE_CHECKING:
    import duckdb

# Why a program was written, and, for a model, which one, its meta program and its cost.
MADE = """SELECT reason, model AS written_by, meta_program_id,
    CASE WHEN model IS NOT NULL THEN tokens END AS tokens, usd, evidence_ids
    FROM mutations WHERE child_id = ? AND accepted LIMIT 1"""
# The kinds of ids, with their table and column; the first letter of an id gives its kind.
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
# The experiments that cite a directive, by part of the study; `credit` uses those of the search.
CITED = """SELECT count(*) FILTER (m.purpose IS DISTINCT FROM 'confirmation' AND m.stream IS DISTINCT FROM 'reserve')
        AS cited_in_search,
    count(*) FILTER (m.purpose = 'confirmation') AS cited_in_confirmation,
    count(*) FILTER (m.stream = 'reserve') AS cited_on_held_out_tasks, count(*) AS cited_by_experiments
    FROM experiments AS e LEFT JOIN matches AS m USING (match_id) WHERE list_contains(e.directive_ids, ?)"""
NAMED = "SELECT program_id FROM programs WHERE name = ?"
FIND = "metaloop sql STUDY 'FROM experiments', 'FROM programs'; -s STUDY"
FINDINGS = "SELECT kind, text, experiment_id, stream, seed FROM findings"
OF_DIRECTIVE = (
    "the plain average of the experiments in rests_on is mean_over_parent: estimate is the difference of the two "
    "scripts in one model of all experiments of the search, where other experiments with the same settings count, too, "
    "and very large losses are cut off. A failed experiment counts as 0 in both. In rests_on, over_parent is relative "
    "to the script that the experiment changed, gain to the untouched script"
)
STORED = ("estimate", "se", "low", "high", "unit")
APART = {"changes", "findings", "audits"}
SUPPORT = 60  # rows shown of the data behind an estimate; its sql gives all of them
HIDDEN = {"text", "diff", "config", "details"}


@verb(
    ("metaloop show e3f2", "an experiment with its diff"),
    ("metaloop show p77e -s studies/NAME", "a program and its differences from its parents"),
    ("metaloop show r031 --json", "a run, for a script"),
)
def show(out: Output, identity: Annotated[str, argument(metavar="ID")], study: StudyFlag) -> None:
    """Show a program, directive, experiment, run, match, arm, source, credit row,
    audit or imported log by its id, or by any unique prefix of it. If the newest study
    has no such id, the other studies under studies/ are searched."""
    folder = holder(identity, out) if study is None else resolve.study_folder(study, out)
    with resolve.connect(folder, ["credit"] if identity.startswith("c") else []) as con:
        kind, table, column, full = locate(con, identity)
        rows = resolve.fetch(con, f"SELECT * FROM {table} WHERE {column} = ?", [full])
        item = {"kind": kind, **DETAILS.get(kind, _plain_detail)(con, rows)}
    if out.mode == "json":
        out.json(item)
    else:
        _print(out, item)


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


def _plain_detail(_con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    return dict(rows[0])


def _program_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    from meta.cli.program import differences
    from programs.program import Program

    item = dict(rows[0])
    own = Program.parse(str(item["text"]), str(item["name"] or "program"))
    changes = {}
    above = item["parent_ids"]
    for parent in above if isinstance(above, list) else ():
        parents = resolve.fetch(con, "SELECT name, text FROM programs WHERE program_id = ?", [parent])
        if parents:
            changes[parent] = differences(Program.parse(parents[0]["text"], parents[0]["name"] or "program"), own)
    made = resolve.fetch(con, MADE, [item["program_id"]])
    item |= {name: value for name, value in (made[0] if made else {}).items() if value not in (None, [])}
    runs = "SELECT run_id, match_id, stream, state, verified_gain, claimed_gain FROM runs WHERE program_id = ?"
    return item | {"runs": resolve.fetch(con, runs, [item["program_id"]]), "changes": changes}


def _run_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    query = """SELECT number, experiment_id, decision, status, metric, gain, description FROM experiments
        WHERE run_id = ? ORDER BY number"""
    run_id = rows[0]["run_id"]
    checks = "SELECT audit_id, verdict, gain, low, high, n, trust FROM audits WHERE run_id = ?"
    return dict(rows[0]) | {
        "experiments_of_run": resolve.fetch(con, query, [run_id]),
        "findings": resolve.fetch(con, f"{FINDINGS} WHERE run_id = ?", [run_id]),
        "audits": resolve.fetch(con, checks, [run_id]),
    }


def _experiment_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    identity = [rows[0]["experiment_id"]]
    read = resolve.fetch(con, "SELECT * FROM import_rows WHERE experiment_id = ?", identity)
    findings = resolve.fetch(con, f"{FINDINGS} WHERE experiment_id = ?", identity)
    return {**(read[0] if read else {}), **rows[0], "findings": findings}


def _import_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    """A log: its runs, and the lines set aside."""
    aside = "SELECT line, reason, text FROM quarantine WHERE import_id = ? ORDER BY line LIMIT 50"
    item = dict(rows[0])
    return item | {
        "run_ids": [row["run_id"] for row in rows if row["run_id"]],
        "set_aside": resolve.fetch(con, aside, [item["import_id"]]),
    }


def _credit_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    """The row, the data it was estimated from, and the query for that data."""
    from analysis.effects.support import support

    data, sql = support(con, rows[0])
    more: Row = {"rests_on_rows": len(data)} if len(data) > SUPPORT else {}
    first: Row = {k: rows[0][k] for k in ("label", *STORED)}
    if rows[0]["method"] == "directive" and data:
        mean = math.fsum(row["over_parent"] or 0.0 for row in data) / len(data)
        first = {**first, "mean_over_parent": mean, "about_estimate": OF_DIRECTIVE}
    middle = {k: v for k, v in rows[0].items() if k not in first}
    return {**first, **middle, **more, "rests_on": data[:SUPPORT], "sql": sql}


def _directive_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    identity = rows[0]["directive_id"]
    item = {k: v for k, v in rows[0].items() if k not in ("program_id", "position")}
    if item["kind"] == ORDER:
        texts = dict(con.execute("SELECT directive_id, text FROM directives").fetchall())
        item["text"] = "\n".join(f"{at}. {texts.get(one, one)}" for at, one in enumerate(str(item["text"]).split(), 1))
    return item | {"program_ids": [row["program_id"] for row in rows], **resolve.fetch(con, CITED, [identity])[0]}


def _match_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    query = """SELECT a.arm_id, a.role, p.name, a.program_id FROM arms AS a LEFT JOIN programs AS p USING (program_id)
        WHERE a.match_id = ?"""
    return dict(rows[0]) | {"arms": resolve.fetch(con, query, [rows[0]["match_id"]])}


def _source_detail(con: duckdb.DuckDBPyConnection, rows: Sequence[Row]) -> Row:
    first = rows[0]
    return {
        "source_id": first["source_id"],
        "parent_source_id": first["parent_source_id"],
        "experiments": [{k: r[k] for k in ("experiment_id", "run_id", "metric", "status")} for r in rows],
        "findings": resolve.fetch(con, f"{FINDINGS} WHERE source_id = ?", [first["source_id"]]),
        "config": first["config"],
        "diff": first["diff"],
    }


DETAILS: Mapping[str, Callable[[duckdb.DuckDBPyConnection, Sequence[Row]], Row]] = {
    "program": _program_detail,
    "directive": _directive_detail,
    "run": _run_detail,
    "experiment": _experiment_detail,
    "match": _match_detail,
    "source": _source_detail,
    "import": _import_detail,
    "credit": _credit_detail,
}


def _lists(item: Row) -> dict[str, list[Row]]:
    """The parts of a record that are shown as tables."""
    tables = {k: v for k, v in item.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    changes = item.get("changes")
    for parent, rows in changes.items() if isinstance(changes, dict) else ():
        tables[f"against {resolve.short(parent)}"] = [
            {k: r[k] for k in ("change", "heading", "text", "directive_id")} for r in rows
        ]
    return tables


def _scalars(item: Row) -> Row:
    tables = {k for k, v in item.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    return {k: v for k, v in item.items() if k not in tables | HIDDEN | APART and v is not None}


def _print(out: Output, item: Row) -> None:
    from meta.cli.sql import columns_of

    out.thing(_scalars(item))
    for name, rows in _lists(item).items():
        out.text(f"\n{name}:")
        out.rows(rows, [replace(c, show=resolve.short) if c.key.endswith("_id") else c for c in columns_of(rows)])
    _document(out, item)


def _shown(item: Row, text: object) -> str:
    """A text; of a program with several files each below its path."""
    from programs.file_set import is_document
    from programs.program import Program

    several = item["kind"] == "program" and is_document(str(text))
    return Program.parse(str(text)).shown if several else str(text)


def _document(out: Output, item: Row) -> None:
    for key in ("diff", "text"):
        text = item.get(key)
        if text and not (key == "text" and item["kind"] == "directive"):
            out.text(f"\n{_shown(item, text)}")
