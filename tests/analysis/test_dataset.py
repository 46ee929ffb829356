"""Rows for training: figures as the study has them, each pair once, lineages whole, no keys."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest

from analysis.export import add_training, clean
from analysis.statistics import interval, t_test
from analysis.tables import rows

KEY = "ghp_0123456789abcdefghij0123"
BORN = [  # child, generation, parents; each an attempt of its own
    ("a", 1, ["s"]), ("b", 1, ["s"]), ("c", 2, ["a"]), ("d", 1, ["t"]), ("e", 2, ["d", "c"]), ("f", 1, ["u"]),
    ("n", 1, ["s"]),
]  # fmt: skip
GAINS = {"a": (0.5, 0.3), "b": (0.2, 0.1), "c": (0.9, 0.8), "d": (0.9, 0.2)}  # of two seeds


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
        CREATE TABLE runs (match_id VARCHAR, task VARCHAR, program_id VARCHAR, run_seed BIGINT, run_id VARCHAR,
            verified_gain DOUBLE, state VARCHAR, purpose VARCHAR, role VARCHAR);
        CREATE TABLE credit (program_id VARCHAR, method VARCHAR, task VARCHAR, unit VARCHAR, estimate DOUBLE, se DOUBLE,
            low DOUBLE, high DOUBLE, n BIGINT, p DOUBLE, design VARCHAR)
    """)
    for number, (child, generation, parents) in enumerate(BORN):
        turns = [{"call": 90, "text": "Hm.", "tools": [{"name": "read", "arguments": KEY, "result": KEY}] * 2}]
        event = record(child, generation, parents, number, **({"turns": turns} if child == "c" else {}))
        made.execute("INSERT INTO events VALUES (?, 'mutation', ?)", [number, event])
        reply = f'<program name="x">\n{child} {KEY}\n</program>'
        calls = [(None, "failed", "no", 0), (None, "ok", reply, 1), ("r", "ok", "x", 0)]
        made.executemany("INSERT INTO calls VALUES (?, ?, ?, ?, ?)", [(number, *call) for call in calls])
        credited(made, child, 0.5, 0.01)
        for seed, gain in enumerate(GAINS.get(child, ())):
            made.execute(
                "INSERT INTO runs VALUES ('m1', 't', ?, ?, ?, ?, 'finished', 'race', 'arm')",
                [child, seed, f"r{number}{seed}", gain],
            )
    return made


def credited(con: duckdb.DuckDBPyConnection, child: str, estimate: float, p: float | None, task: str = "t") -> None:
    con.execute(
        "INSERT INTO credit VALUES (?, 'mutation', ?, 'nats', ?, 0.1, 0, 1, 8, ?, 'paired')", [child, task, estimate, p]
    )


def made(con: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    add_training(con)
    return rows(con.execute(f"FROM {name}"))


def test_a_conversation_is_whole_and_without_keys(con: duckdb.DuckDBPyConnection) -> None:
    told = {row["child_id"]: row for row in made(con, "sft")}
    assert set(told) == set("abcdef")  # n was refused
    assert [m["role"] for m in told["a"]["messages"]] == ["system", "user", "assistant"]
    assert told["a"]["messages"][2]["content"] == '<program name="x">\na [secret]\n</program>'
    talk = told["c"]["messages"]
    assert [m["role"] for m in talk] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert [call["id"] for call in talk[2]["tool_calls"]] == ["call_90_0", "call_90_1"]
    assert [m["tool_call_id"] for m in talk[3:5]] == ["call_90_0", "call_90_1"]
    assert KEY not in json.dumps(list(told.values())) and "[secret]" in talk[3]["content"]
    assert (told["a"]["gain"], told["a"]["gain_low"], told["a"]["n"], told["a"]["study"]) == (0.5, 0.0, 8, "y1")


def test_related_children_and_those_of_the_same_parents_are_one_lineage(con: duckdb.DuckDBPyConnection) -> None:
    told = {row["child_id"]: row["lineage"] for row in made(con, "sft")}
    assert told == dict.fromkeys("abcde", "a") | {"f": "f"}


def test_a_gain_on_one_task_and_a_loss_on_another_is_not_shown(con: duckdb.DuckDBPyConnection) -> None:
    credited(con, "a", 0.1, 0.8, "u")
    credited(con, "b", -0.1, 0.8, "u")
    con.execute("UPDATE credit SET p = 0.2 WHERE program_id = 'c'; UPDATE credit SET p = NULL WHERE program_id = 'd'")
    told = {row["child_id"]: row for row in made(con, "sft")}
    assert [child for child, row in told.items() if row["shown"]] == ["a", "f", "e"]
    assert told["a"]["gain"] is None and [one["task"] for one in told["a"]["gains"]] == ["t", "u"]


def test_a_pair_is_two_replies_to_the_same_parents_and_the_better_one_first(con: duckdb.DuckDBPyConnection) -> None:
    [row] = made(con, "dpo")
    assert (row["chosen_id"], row["rejected_id"], row["lineage"]) == ("a", "b", "a") and row["same_prompt"]
    assert [m["role"] for m in row["prompt"]] == ["system", "user"]
    assert row["chosen"][0]["content"].startswith('<program name="x">\na') and len(row["rejected"]) == 1
    se = 0.05
    assert row["margin"] == pytest.approx(0.25) and row["se"] == pytest.approx(se) and row["n"] == 2
    assert (row["margin_low"], row["margin_high"]) == pytest.approx(interval(0.25, se, 1))
    assert row["p"] == pytest.approx(t_test(0.25, se, 1)) and row["shown"] == (row["p"] <= 0.1)


@pytest.mark.parametrize("change", [
    "UPDATE calls SET text = replace(text, 'name=\"x\"', '') WHERE text LIKE '%\nb %'",  # another form of reply
    "UPDATE runs SET run_seed = run_seed + 1 WHERE program_id = 'b'",  # one seed that both ran
    "UPDATE runs SET role = 'a/a'", "UPDATE runs SET purpose = 'ablation'",
])  # fmt: skip
def test_what_cannot_be_compared_is_no_pair(con: duckdb.DuckDBPyConnection, change: str) -> None:
    con.execute(change)
    assert not made(con, "dpo")


def test_the_values_of_this_machine_are_removed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-private-value-123")
    assert (
        clean("use a-private-value-123 or sk-abcdefghijklmnop1234, hf_" + "x" * 20)
        == "use [secret] or [secret], [secret]"
    )
