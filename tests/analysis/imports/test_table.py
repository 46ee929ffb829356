"""Every line of a log is a row, a header, blank, or set aside with its number and a reason."""

from __future__ import annotations

import random

import pytest

from analysis.imports.cells import is_hash, number, sentinels
from analysis.imports.text import UnreadableLog, decode, lines
from tests.analysis.imports import samples
from tests.analysis.imports.helpers import read, rows
from tests.analysis.imports.samples import tsv

ALL = [name for name in dir(samples) if name.isupper() and name != "NOT_A_LOG"]


@pytest.mark.parametrize("name", ALL)
def test_every_line_is_accounted_for(name: str) -> None:
    table, runs, asides = read(getattr(samples, name))
    taken = sum(row.lines for run in runs for row in run.rows) + sum(run.merged for run in runs)
    assert table.lines == taken + table.headers + table.blanks + len(asides)
    assert all(0 < aside.line <= table.lines and aside.reason for aside in asides)


def test_the_original_five_columns() -> None:
    assert rows(samples.CANONICAL, "line", "number", "status", "decision", "metric", "commit", "memory_mb") == [
        (2, 0, "ok", "baseline", 1.12, "a11ce01", 21.5 * 1024),
        (3, 1, "ok", "keep", 1.108, "b0bca02", 21.5 * 1024),
        (4, 2, "ok", "discard", 1.131, "c0ffe03", 21.6 * 1024),
        (5, 3, "crash", "discard", None, "dabba04", None),
        (6, 4, "ok", "keep", 1.101, "e66ee05", 21.4 * 1024),
    ]


def test_fourteen_columns_in_another_order() -> None:
    _, [run], asides = read(samples.ORDER)
    row = run.rows[1]
    assert (run.metric, run.direction.way, asides) == ("val_rmse", "lower", [])
    assert (row.commit, row.value, row.decision, row.seed, row.steps) == ("exp2", 0.55, "discard", 7, 1000)
    assert (row.seconds, row.memory_mb, row.description) == (62.5, 4096.0, "wider layers")
    assert row.extra["host"] == "box" and row.extra["loc"] == "91"


def test_no_header() -> None:
    _, [run], _ = read(samples.FOUR)
    assert (run.metric, run.direction.way, run.direction.why) == (None, "higher", "the rows kept")
    assert [(r.commit, r.value, r.decision) for r in run.rows[:2]] == [
        ("exp12", 0.61, "baseline"),
        ("exp13", 0.66, "keep"),
    ]


def test_two_schemas_in_one_file_are_two_runs() -> None:
    table, runs, asides = read(samples.TWO_SCHEMAS)
    assert [(run.metric, run.direction.way, len(run.rows)) for run in runs] == [
        ("val_loss", "lower", 2),
        ("sharpe", "higher", 3),
    ]
    assert (table.headers, asides) == (2, [])


def test_the_same_header_again_goes_on_with_the_run() -> None:
    table, [run], asides = read(samples.CANONICAL + samples.CANONICAL)
    assert (table.headers, len(run.rows), asides) == (2, 10, [])


def test_long_format() -> None:
    _, [run], [aside] = read(samples.LONG)
    assert (run.metric, run.direction.way, run.direction.why, run.merged) == ("auc", "higher", "its column", 2)
    assert [(row.commit, row.value, row.extra["latency_ms"]) for row in run.rows[:2]] == [
        ("e1", 0.70, "12.0"),
        ("e2", 0.74, "14.0"),
    ]
    assert aside.line == 7 and "--metric latency_ms" in aside.reason
    _, [slashed], _ = read(samples.LONG.replace("latency_ms", "Test/Latency"), "test_latency")
    assert slashed.metric == "Test/Latency" and len(slashed.rows) == 3
    twice = samples.LONG.replace("e9|".replace("|", "\t") + "latency_ms", "e9\tLatency MS")
    for name, lines_of in (("latency_ms", 2), ("Latency MS", 1)):
        assert [(run.metric, len(run.rows)) for run in read(twice, name)[1]] == [(name, lines_of)]
    with pytest.raises(UnreadableLog, match="may be 'latency_ms' or 'Latency MS'"):
        read(twice, "LATENCY-MS")
    _, [other], asides = read(samples.LONG, "latency_ms")
    assert (other.metric, other.direction.way, len(other.rows), [a.line for a in asides]) == (
        "latency_ms",
        "lower",
        3,
        [6],
    )


def test_prose_after_the_table() -> None:
    _, [run], asides = read(samples.PROSE)
    assert len(run.rows) == 5
    assert [aside.line for aside in asides] == [8, 9, 11]


def test_words_of_failure_are_failures_and_not_another_metric() -> None:
    """Most cells of the metric's column are words; the column with the memory must not become the metric."""
    _, [run], asides = read(samples.FAILURES)
    assert (run.metric, run.direction.way, asides) == ("val_bpb", "lower", [])
    found = rows(samples.FAILURES, "status", "decision", "metric")
    assert found[1:] == [
        ("ok", "keep", 0.9932), ("invalid", "discard", None), ("invalid", "discard", None),
        ("invalid", "discard", None), ("timeout", "discard", None), ("oom", "discard", None),
        ("invalid", "discard", None), ("crash", "discard", None),
    ]  # fmt: skip
    _, [bare], _ = read("".join(samples.FAILURES.splitlines(keepends=True)[1:]))
    assert [row.value for row in bare.rows[:2]] == [0.9979, 0.9932]


def test_a_column_of_text_is_no_metric() -> None:
    text = tsv("commit|metric|status|description|val_loss", "a1|went down|keep|baseline|2.0", "b1|better|keep|x|1.9")
    _, [run], _ = read(text)
    assert (run.metric, [row.value for row in run.rows]) == ("val_loss", [2.0, 1.9])
    for words in ("improved", "crash"):
        only_text = tsv("commit|score|memory_gb|status|description", f"a1|{words} a bit|44|keep|b", "b1|good|45|keep|x")
        with pytest.raises(UnreadableLog, match="line 1: a header without a column of numbers"):
            read(only_text)


def test_other_tables_in_a_file_are_read_or_reported() -> None:
    _, runs, asides = read(samples.OTHER_TABLES)
    assert [(run.metric, len(run.rows)) for run in runs] == [("val_bpb", 9), ("latency_ms", 2)]
    assert [(aside.line, aside.reason.split(",")[0]) for aside in asides] == [
        (11, "JSON after the table (line 11)"), (12, "JSON after the table (line 11)"),
        (17, "a header without a column of numbers that could be the metric"),
        (18, "in a table without a metric"), (19, "in a table without a metric"),
    ]  # fmt: skip


def test_records_of_json() -> None:
    found = rows(samples.RECORDS, "line", "lines", "status", "decision", "metric", "extra")
    assert [row[:5] for row in found] == [
        (1, 1, "ok", "baseline", 2.3), (2, 1, "ok", "keep", 2.2), (3, 1, "crash", "discard", None),
        (4, 4, "invalid", "discard", None),
    ]  # fmt: skip
    assert found[1][5]["settings"] == '{"lr": 0.01}'
    together = "[" + samples.RECORDS.replace("}\n{", "},\n{").rstrip() + "]\n"
    assert rows(together, "metric") == [(2.3,), (2.2,), (None,), (None,)]
    _, runs, asides = read(samples.CANONICAL + samples.RECORDS)
    assert [(run.metric, len(run.rows)) for run in runs] == [("val_bpb", 5), ("val_loss", 4)] and not asides


def test_fields_with_line_ends() -> None:
    _, [run], asides = read(samples.NEWLINES)
    assert [row.commit for row in run.rows] == ["a11ce01", "b0bca02", "c0ffe03"]
    assert [(a.line, a.text.strip()[:3]) for a in asides] == [(4, "def"), (5, "ret")]
    _, [run], [aside] = read(samples.SPLIT_ROW)
    assert [(row.line, row.lines) for row in run.rows] == [(2, 1), (3, 3), (7, 1)]
    assert run.rows[1].description == "a note in\nthree lines\nof text"
    assert (aside.line, aside.reason) == (6, "2 fields where the table has 4")


def test_quotes_are_letters() -> None:
    assert [r[0] for r in rows(samples.QUOTES, "description")] == ['"baseline', 'try the "old" init', 'say "']


def test_a_metric_that_is_no_number_is_set_aside_unless_the_row_failed() -> None:
    text = samples.CANONICAL + "a0a0a0a\tgood\t1\tkeep\tx\nb0b0b0b\tOOM\t1\toom\ty\n"
    _, [run], [aside] = read(text)
    assert (run.rows[-1].status, run.rows[-1].value) == ("oom", None)
    assert (aside.line, aside.reason) == (7, "the metric 'good' is not a number")


def test_other_separators() -> None:
    assert rows(samples.MARKDOWN, "line", "metric", "decision") == [(5, 2.0, "baseline"), (6, 1.9, "keep")]
    assert rows(samples.COMMAS, "metric", "description")[1] == (0.91, "wider, deeper")
    assert rows(samples.ESCAPED, "metric", "commit") == [(1.2, "a1a1a11")]


def test_statuses_in_all_their_words() -> None:
    found = rows(samples.STATUSES, "status", "decision")
    keep, discard, nothing = ("ok", "keep"), ("ok", "discard"), (None, None)
    assert found == [
        ("ok", "baseline"), keep, keep, keep, keep, discard, discard, ("oom", "discard"), ("crash", "discard"),
        nothing, ("ok", None), nothing, keep, discard, keep, ("ok", None), ("ok", None), discard,
    ]  # fmt: skip


def test_what_stands_for_a_missing_value() -> None:
    found = rows(samples.MISSING, "metric", "decision", "commit")
    assert [metric for metric, *_ in found] == [0.5, None, 0.61, None, None, 0.0, 0.66]
    assert [commit for *_, commit in found][:4] == ["baseline", "HEAD", "none", "exp4"]


def test_a_loss_of_zero_is_no_measurement_and_an_accuracy_of_zero_is() -> None:
    loss = tsv("commit|val_loss|status|description", "a|2.0|keep|b", "b|0.000|discard|oops", "c|1.9|keep|x")
    assert [m for (m,) in rows(loss, "metric")] == [2.0, None, 1.9]
    accuracy = loss.replace("val_loss", "val_acc").replace("2.0", ".1").replace("1.9", ".2")
    assert [m for (m,) in rows(accuracy, "metric")] == [0.1, 0.0, 0.2]


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0.98", 0.98), (" 95.2% ", 95.2), ("~1,234.5", 1234.5), ("0.98 ± 0.01", 0.98), ("1e-3", 0.001), ("**0.9**", 0.9),
     (".5", 0.5), ("-.5", -0.5), ("nan", None), ("inf", None), ("", None), ("keep", None), ("1.2.3", None),
     ("1,234,567", 1234567.0), ("0,98", None), ("0,987", None), ("12,34", None), ("1,2,3", None)],
)  # fmt: skip
def test_numbers_as_people_write_them(cell: str, value: float | None) -> None:
    assert number(cell) == value


def test_one_decimal_comma_makes_every_comma_doubtful() -> None:
    text = tsv(
        "commit|val_loss|status|description", "a|2,345|keep|b", "b|1,987|keep|x", "c|0,987|keep|y", "d|1.1|keep|z"
    )
    _, [run], asides = read(text)
    assert [row.value for row in run.rows] == [1.1]
    assert sorted((aside.line, "in line 4" in aside.reason) for aside in asides) == [(2, True), (3, True), (4, False)]
    assert [row.value for row in read(text.replace("0,987", "9,870"))[1][0].rows] == [2345, 1987, 9870, 1.1]


def test_columns_of_one_plain_name() -> None:
    text = tsv("commit|test_loss|Test Loss|status|description", "a|2.0|5.0|keep|b", "b|1.0|4.0|keep|x")
    assert [row.value for row in read(text, "Test Loss")[1][0].rows] == [5.0, 4.0]
    with pytest.raises(UnreadableLog, match="may be 'test_loss' or 'Test Loss'"):
        read(text, "test-loss")


def test_hashes_and_sentinels() -> None:
    assert is_hash("a1b2c3d") and not is_hash("decade") and not is_hash("exp12") and not is_hash("12")
    assert sentinels([0.5, 0.6, -999.0], [0.0], positive=False) == {0.0, -999.0}
    assert sentinels([900.0, 950.0, 999.0], [], positive=True) == set()


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"commit\tval\0\t", "binary"), (b"\x89PNG\xff\xfe\xfd" * 50, "binary"),
     (b"version https://git-lfs.github.com/spec/v1\noid", "LFS")],
)  # fmt: skip
def test_what_is_no_text_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableLog, match=reason):
        decode(data)


def test_encodings_and_line_ends() -> None:
    text = samples.CANONICAL
    assert decode(b"\xef\xbb\xbf" + text.encode()) == text
    assert decode(b"\xff\xfe" + text.encode("utf-16-le")) == text
    assert "r�sum�" in decode(("x" * 200 + "résumé").encode("latin-1"))
    assert lines(text.replace("\n", "\r\n"))[1].endswith("baseline")
    assert len(lines(text.replace("\n", "\r"))) == len(lines(text))
    assert len(lines("a\x0bb\u2028c\nd")) == 2


def test_no_table() -> None:
    for text in (samples.NOT_A_LOG, "", "\n\n", "just words\nand more words\n", "1\t2\t3\n" * 4):
        with pytest.raises(UnreadableLog, match="no results table"):
            read(text)


def test_a_line_without_end_is_set_aside() -> None:
    _, [run], [aside] = read(samples.CANONICAL + "f00f00f\t1.0\t1\tkeep\t" + "x" * 200_000 + "\n")
    assert len(run.rows) == 5 and "longer than" in aside.reason and len(aside.text) == 300


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_every_line_is_somewhere(seed: int) -> None:
    """Real logs with lines cut, doubled, glued, shuffled and salted with odd characters."""
    rng = random.Random(seed)
    pool = [line for name in ALL for line in getattr(samples, name).split("\n")]
    odd = ["\t", "\t\t", '"', "|", ",", "\x0b", "\u2028", "\ufeff", "-999", "0", "keep", "nan", "\x1b[31m", "é"]
    made = [rng.choice(pool) for _ in range(60)]
    for place in range(len(made)):
        if rng.random() < 0.3:
            cut = rng.randrange(len(made[place]) + 1)
            made[place] = made[place][:cut] + rng.choice(odd) + made[place][cut:]
    try:
        table, runs, asides = read("\n".join(made) + "\n")
    except UnreadableLog:
        return
    taken = sum(row.lines for run in runs for row in run.rows) + sum(run.merged for run in runs)
    assert table.lines == taken + table.headers + table.blanks + len(asides)
