"""Logs become a study with the same views, whole or not at all, and every line is in one place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.imports.columns import Stated
from analysis.imports.runs import runs_of
from analysis.imports.study import import_logs
from analysis.imports.table import MOST_BYTES, UnreadableLog, log_of_text, read_log
from analysis.ledger import check
from analysis.study import VIEWS, open_study
from programs.common.errors import EnvironmentProblem, NotFound, UsageError
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import ask, bring_in

ALL = [name for name in dir(samples) if name.isupper()]
OPEN = {"NOT_A_LOG", "UNSURE", "SEVERAL"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("import")
    bring_in(place, {f"{name.lower()}/results.tsv": getattr(samples, name) for name in ALL})
    return place


def test_every_view_opens(folder: Path) -> None:
    with open_study(folder / "study") as con:
        counts = {view: con.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0] for view in VIEWS}
    assert counts["runs"] == counts["arms"] and counts["experiments"] == counts["import_rows"] > 70
    assert counts["imports"] == counts["runs"] + len(OPEN) and counts["quarantine"] > 5
    assert counts["verifications"] == counts["credit"] == counts["programs"] == 0
    assert check(folder / "study" / "ledger") == []


def test_nothing_is_invented(folder: Path) -> None:
    [row] = ask(folder, """
    SELECT count(seed) AS seed, count(started_at) AS at, count(device_seconds_charged) AS charged,
        count(device_seconds_spent) AS spent, count(source_id) AS source, count(fraction) AS fraction,
        count(edit) AS edit, count(task) AS task, count(DISTINCT trust) AS trusts, min(trust) AS trust
    FROM experiments WHERE run_id NOT IN (SELECT run_id FROM imports WHERE path LIKE '%/order/%')
    """)  # fmt: skip
    trust = {key: row.pop(key) for key in ("trusts", "trust")}
    assert set(row.values()) == {0} and trust == {"trusts": 1, "trust": "self-reported"}
    [run] = ask(folder, """
    SELECT DISTINCT state, device_seconds_charged, device_seconds_spent, started_at, ended_at, verified_gain, tokens,
        usd, run_seed, researcher, program_id, stream, trust FROM runs
    """)  # fmt: skip
    assert (run.pop("state"), run.pop("trust")) == ("imported", "self-reported")
    assert set(run.values()) == {None}
    [match] = ask(folder, "SELECT DISTINCT task, run_budget, hardware_class, started_at, ended_at FROM matches")
    assert set(match.values()) == {None}


def test_runs_of_one_metric_share_a_match_and_claim_their_rows(folder: Path) -> None:
    found = ask(folder, "SELECT metric, direction, state, purpose FROM matches ORDER BY metric, direction")
    assert len({(row["metric"], row["direction"]) for row in found}) == len(found) > 5
    assert {(row["purpose"], row["state"]) for row in found} == {("import", "imported")}
    [row] = ask(folder, """
        SELECT count(*) AS n, count(*) FILTER (runs.direction = matches.direction AND runs.kept = imports.kept AND
            runs.claimed_best IS NOT DISTINCT FROM best_kept AND
            coalesce(abs(runs.claimed_gain - imports.claimed_gain) < 1e-12, true)) AS alike
        FROM runs JOIN matches USING (match_id) JOIN imports USING (run_id)
    """)  # fmt: skip
    assert row["n"] == row["alike"] > 0


def test_a_log_with_a_question_does_not_stop_the_others(folder: Path) -> None:
    refused = ask(folder, "SELECT path, reason, rows FROM imports WHERE state = 'refused' ORDER BY path")
    assert [row["path"].split("/")[-2] for row in refused] == sorted(name.lower() for name in OPEN)
    assert all(row["reason"] and row["rows"] == 0 for row in refused)


@pytest.mark.parametrize("name", [name for name in ALL if name not in OPEN | {"RECORDS", "ESCAPED"}])
def test_every_line_is_a_row_a_header_blank_or_set_aside(folder: Path, name: str) -> None:
    lines = getattr(samples, name).splitlines()
    path = f"WHERE path LIKE '%/{name.lower()}/%'"
    taken = {row["line"] for row in ask(folder, f"SELECT line FROM quarantine {path}")}
    taken |= {row["line"] for row in ask(folder, f"SELECT line FROM import_rows JOIN imports USING (run_id) {path}")}
    left = [line for number, line in enumerate(lines, 1) if number not in taken and line]
    assert 1 <= len(left) <= 3  # headers, and the rule of a markdown table
    assert not any(word in line for line in left for word in ("keep", "discard", "baseline"))


LINES = sorted({line for name in ALL for line in getattr(samples, name).split("\n")})
ODD = [
    "", "\t", "\t\t", '"', "|", ",", "\x0b", "\u2028", "\ufeff", "-999", "0", "keep", "nan", "\x1b[31m", "é", "{", "[",
]  # fmt: skip
EDIT = st.tuples(st.integers(1, 30), st.floats(0, 1), st.sampled_from(ODD), st.sampled_from(LINES))


@given(st.sampled_from(sorted(set(ALL) - OPEN)), st.lists(EDIT, max_size=9))
def test_log_with_salted_lines_loses_none(sample: str, edits: list[tuple[int, float, str, str]]) -> None:
    """A real log with lines of others between its own and odd characters in them: read, or refused in words."""
    lines = getattr(samples, sample).split("\n")
    for number, place, odd, other in edits:
        at = number % len(lines)
        cut = int(place * len(lines[at]))
        lines[at : at + 1] = [lines[at][:cut] + odd + lines[at][cut:]] if odd else [lines[at], other]
    try:
        log = log_of_text("\n".join(lines) + "\n")
        runs = runs_of(log, Stated())
    except UnreadableLog as error:
        assert str(error)
        return
    numbers = [row.line for run in runs for row in run.rows] + [aside.line for aside in log.asides]
    assert len(numbers) == len(set(numbers)) and max(numbers) <= len(lines) + 1


def test_encodings_and_line_ends_and_what_is_no_text(tmp_path: Path) -> None:
    text, path = samples.CANONICAL, tmp_path / "results.tsv"
    for data, reason in ((b"a\0b", "binary"), (b"\xff\xf0\x80" * 9, "not text"),
                         (b"version https://git-lfs.github.com/spec/v1\n", "LFS")):  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(UnreadableLog, match=reason):
            read_log(path)
    for data in (b"\xef\xbb\xbf" + text.encode(), b"\xff\xfe" + text.encode("utf-16-le"), text.encode(),
                 text.replace("\n", "\r\n").encode(), text.replace("\n", "\r").encode()):  # fmt: skip
        path.write_bytes(data)
        [table] = read_log(path).tables
        assert table.names[0] == "commit" and table.rows[0][1][-1] == "baseline"
        assert len(table.rows) == 5


def test_folder_means_its_logs_without_copies_and_links(tmp_path: Path) -> None:
    logs = {"b/results.tsv": samples.CANONICAL, "a/deep/results_2.tsv": samples.ORDER,
            "copy/results.tsv": samples.CANONICAL, "node_modules/results.tsv": samples.ORDER,
            "cities.tsv": samples.NOT_A_LOG, "own/study.toml": "",
            "own/results.tsv": samples.ORDER}  # fmt: skip
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "link-log.tsv").symlink_to(tmp_path / "logs" / "b" / "results.tsv")
    found = [(row["path"].split("/logs/")[1], row["name"], row["state"]) for row in bring_in(tmp_path, logs)]
    assert found == [
        ("a/deep/results_2.tsv", "results_2", "imported"), ("b/results.tsv", "b", "imported"),
        ("copy/results.tsv", "copy", "refused"),
    ]  # fmt: skip


def test_what_is_no_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.tsv")
    huge = tmp_path / "huge.tsv"
    with huge.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    for path in (tmp_path / "results.tsv", huge, tmp_path / "none.tsv", Path("/dev/zero")):
        with pytest.raises(UsageError) as refused:
            import_logs([path], tmp_path / "study", Stated())
        named, reason = refused.value.message.split(": ")  # the file, once
        assert named == str(path) and reason


def test_import_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(NotFound, match="no log of experiments"):
        bring_in(tmp_path, {})
    bring_in(tmp_path, {"results.tsv": samples.CANONICAL})
    with pytest.raises(UsageError, match="exists"):
        bring_in(tmp_path, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentProblem):
        import_logs([tmp_path / "logs"], tmp_path / "file" / "study", Stated())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "logs", "study"]
