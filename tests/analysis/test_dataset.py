"""Rows for training: figures as the study has them, texts of parents and child, lineages whole, no keys."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from analysis.export import add_written, clean
from analysis.views.tables import rows

KEY = "ghp_0123456789abcdefghij0123"
BORN = [  # child, generation, parents; each an attempt of its own
    ("a", 1, ["s"]), ("b", 1, ["s"]), ("c", 2, ["a"]), ("d", 1, ["t"]), ("e", 2, ["d", "c"]), ("f", 1, ["u"]),
    ("n", 1, ["s"]),
]  # fmt: skip


def record(child: str, generation: int, parents: list[str], number: int, **more: Any) -> str:
    prompt = [{"role": "system", "text": "You write."}, {"role": "user", "text": f"Better than {parents}? {KEY}"}]
    kept = {"generation": generation, "attempt": number, "child_id": child, "parent_ids": parents, "operator": "llm",
            "model": "m", "accepted": child != "n", "call": number, "prompt": prompt}  # fmt: skip
    return json.dumps(kept | more)


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("""
        CREATE TABLE events (place BIGINT, kind VARCHAR, record JSON);
        CREATE TABLE studies AS SELECT 'y1' AS study_id;
        CREATE TABLE calls (number BIGINT, run_id VARCHAR, status VARCHAR, text VARCHAR, written_at BIGINT);
        CREATE TABLE programs (program_id VARCHAR, text VARCHAR);
        CREATE TABLE credit (program_id VARCHAR, method VARCHAR, task VARCHAR, unit VARCHAR, estimate DOUBLE, se DOUBLE,
            low DOUBLE, high DOUBLE, n BIGINT, p DOUBLE, design VARCHAR)
    """)
    for number, (child, generation, parents) in enumerate(BORN):
        event = record(child, generation, parents, number)
        made.execute("INSERT INTO events VALUES (?, 'mutation', ?)", [number, event])
        reply = f'{{"reason": "{child} {KEY}"}}'
        calls = [(None, "failed", "no", 0), (None, "ok", reply, 1), ("r", "ok", "x", 0)]
        made.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", [(number, *call) for call in calls])
        credited(made, child, 0.5, 0.01)
    made.executemany("INSERT INTO programs VALUES (?, ?)", [(one, f"# {one} {KEY}") for one in "stuabcdefn"])
    return made


def credited(con: duckdb.DuckDBPyConnection, child: str, estimate: float, p: float | None, task: str = "t") -> None:
    con.execute(
        "INSERT INTO credit VALUES (?, 'mutation', ?, 'nats', ?, 0.1, 0, 1, 8, ?, 'paired')", [child, task, estimate, p]
    )


def made(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    add_written(con)
    return rows(con.execute("FROM written"))


def test_a_conversation_is_whole_and_without_keys(con: duckdb.DuckDBPyConnection) -> None:
    told = {row["child_id"]: row for row in made(con)}
    assert set(told) == set("abcdef")  # n was refused
    assert [m["role"] for m in told["a"]["messages"]] == ["system", "user", "assistant"]
    assert told["a"]["messages"][2]["content"] == '{"reason": "a [secret]"}'
    assert KEY not in json.dumps(list(told.values()))
    assert told["e"]["child"] == "# e [secret]" and told["e"]["parents"] == ["# d [secret]", "# c [secret]"]
    assert (told["a"]["gain"], told["a"]["gain_low"], told["a"]["n"], told["a"]["study"]) == (0.5, 0.0, 8, "y1")


def test_related_children_and_siblings_are_one_lineage(con: duckdb.DuckDBPyConnection) -> None:
    told = {row["child_id"]: row["lineage"] for row in made(con)}
    assert told == dict.fromkeys("abcde", "a") | {"f": "f"}


def test_a_gain_on_one_task_and_a_loss_on_another_is_not_shown(con: duckdb.DuckDBPyConnection) -> None:
    credited(con, "a", 0.1, 0.8, "u")
    credited(con, "b", -0.1, 0.8, "u")
    con.execute("UPDATE credit SET p = 0.2 WHERE program_id = 'c'; UPDATE credit SET p = NULL WHERE program_id = 'd'")
    told = {row["child_id"]: row for row in made(con)}
    assert [child for child, row in told.items() if row["shown"]] == ["a", "f", "e"]
    assert told["a"]["gain"] is None and [one["task"] for one in told["a"]["gains"]] == ["t", "u"]


def test_the_values_of_this_machine_are_removed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-private-value-123")
    assert (
        clean("use a-private-value-123 or sk-abcdefghijklmnop1234, hf_" + "x" * 20)
        == "use [secret] or [secret], [secret]"
    )
