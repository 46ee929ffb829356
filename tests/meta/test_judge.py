"""``metaloop judge``: twelve lines, exit codes, JSON, standard input, and logs that cannot be judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scipy import integrate, stats

from tests.analysis.imports import samples
from tests.analysis.imports.samples import tsv

from .cli_study import cli, metaloop, on_terminal

HEAD = ("commit|val_loss|status|description", "a|2.00|keep|baseline", "a|2.02|rerun|baseline", "a|1.98|rerun|baseline")
NIGHT = (*HEAD, "b|1.5|keep|wider", "c|1.8|discard|deeper", "d|1.49|keep|longer", "e|-|crash|huge")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "night.tsv").write_text(tsv(*NIGHT))
    return tmp_path


def test_judge_prints_six_lines_whose_figures_scipy_repeats(here: Path) -> None:
    done = metaloop("judge", "night.tsv", cwd=here)
    assert done.stdout.splitlines() == [
        "night.tsv   7 experiments, 2 kept, 1 failure, 2 re-runs; val_loss, lower is better",
        "noise       SD 0.02 of one script (3 measurements of 1 script), on the same rows",
        "real        1 of 2 kept changes is distinguishable from noise, together at 5%: line 5",
        'luck        as many tries without any effect would keep 1.1 and "gain" 0.021',
        "best        line 7: 1.49, from 2: gain 0.510 [0.335, 0.609]; after luck 0.489",
        "next        run lines 7 and 5 31 more times each: 0.4 standard errors apart",
    ]
    [item] = metaloop("judge", "night.tsv", "--json", cwd=here).json["items"]
    sd, se = 0.02, 0.02 * (1 + 1 / 3) ** 0.5
    assert item["noise_sd"] == pytest.approx(sd) and item["gain"] == pytest.approx(0.51)
    assert item["high"] == pytest.approx(0.51 + stats.t.ppf(0.975, 2) * se)
    t = (0.51 - item["low"]) / se  # of 3 tries, over one SD
    miss, _ = integrate.quad(
        lambda v: min(1.0, 3 * stats.norm.cdf(-t * (v / 2) ** 0.5)) * stats.chi2.pdf(v, 2), 0, 60, points=[0.1, 1]
    )
    assert miss == pytest.approx(0.025, rel=0.02)
    assert item["chance_gain"] == pytest.approx(sd * stats.norm.ppf(3.625 / 4.25))


@pytest.mark.parametrize(
    ("rows", "flags", "code"),
    [
        (NIGHT, (), 0),
        ((*HEAD, "b|1.99|keep|wider"), (), 10),
        (("id|loss|status|what", "1|3|keep|x", "2|2|keep|y"), (), 11),
        ((*HEAD, "b|1.5||wider"), ("--last",), 0),
        ((*HEAD, "b|2.5||wider"), ("--last",), 10),
        ((*HEAD, "b|1.96||wider"), ("--last",), 11),
        ((*HEAD, "b|1.96||wider"), ("--last", "--noise", ".001"), 0),
        (("id|val_err|status|what", "1|.3|keep|x", "2|.1|keep|y"), ("--rows", "100"), 0),
        (("id|val_err|status|what", "1|.3|keep|x", "2|.29|keep|y"), ("--rows", "100"), 10),
    ],
)
def test_judge_exit_code_is_the_answer(here: Path, rows: tuple[str, ...], flags: tuple[str, ...], code: int) -> None:
    (here / "log.tsv").write_text(tsv(*rows))
    for more in ((), ("--json",)):
        done = metaloop("judge", "log.tsv", *flags, *more, code=code, cwd=here)
        assert done.stderr == "" and len(done.stdout.splitlines()) <= 12


def test_judge_last_prints_the_decision_and_its_reason(here: Path) -> None:
    (here / "log.tsv").write_text(tsv(*HEAD, "b|1.96||wider"))
    done = cli("judge", "log.tsv", "--last", cwd=here)
    assert done.stdout.splitlines() == [
        "undecided: run it 2 more times",
        "line 5 is 0.0400, or 1.7 standard errors, better than line 2; a gain of 0.0361 can be resolved",
    ]
    found = cli("judge", "log.tsv", "--last", "--json", cwd=here).json
    assert (found["log"], found["decision"], found["more_runs"], found["line"]) == ("log.tsv", "undecided", 2, 5)
    for again, words in (((), "it 2 more times, and the best one (line 2) 1 more time"),
                         (("b|1.9|rerun|wider",) * 2, "the best one (line 2) 1 more time")):  # fmt: skip
        (here / "log.tsv").write_text(tsv(*HEAD[:2], "b|1.9||wider", *again))
        done = cli("judge", "log.tsv", "--last", "--noise", ".1", cwd=here)
        assert done.stdout.startswith(f"undecided: run {words}\n")
    (here / "log.tsv").write_text(tsv("id|loss|what", "1|3|x", "2|2|y"))
    done = cli("judge", "log.tsv", "--last", cwd=here)
    assert done.stdout.startswith("undecided: run the best one (line 2) 3 more times, which shows the noise\n")


def test_judge_of_several_runs_prints_a_line_each(here: Path) -> None:
    (here / "setups.tsv").write_text(
        tsv("gpu|val_loss|status|what", *(f"{n}|{2 - k / 10}|keep|x{n}{k}" for n in range(20) for k in range(3)))
    )
    done = cli("judge", "setups.tsv", cwd=here)
    lines = done.stdout.splitlines()
    assert len(lines) == 12 and lines[-1] == "9 more runs: --json has all"
    assert len(cli("judge", "setups.tsv", "--json", cwd=here).json["items"]) == 20
    done = metaloop("judge", "night.tsv", "nowhere.tsv", code=2, cwd=here)
    assert done.stdout.startswith("night.tsv ") and "nowhere.tsv: No such file" in done.stderr
    (here / "other.tsv").write_text(samples.tsv("id|val_acc|status", "1|.5|keep", "2|.6|keep"))
    both = cli("judge", "night.tsv", "other.tsv", cwd=here)  # two metrics: each log is judged by itself
    assert both.returncode == 0 and "val_acc, higher is better" in both.stdout


def test_judge_without_a_measurement_or_a_kept_change_says_so(here: Path) -> None:
    (here / "crashed.tsv").write_text(samples.ONLY_CRASHES)
    lines = metaloop("judge", "crashed.tsv", code=11, cwd=here).stdout.splitlines()
    assert lines[2:] == ["real         nothing was measured", "next         no row was measured"]
    (here / "none.tsv").write_text(tsv(*HEAD, "b|2.5|discard|wider"))
    assert "real        no change was kept\n" in metaloop("judge", "none.tsv", code=10, cwd=here).stdout
    (here / "once.tsv").write_text(tsv(HEAD[0], "a|410||x", "b|395||y"))
    assert "best        line 3: 395, from 410: gain 15.0\n" in metaloop("judge", "once.tsv", code=11, cwd=here).stdout


BAD = {
    "empty": (b"", "an empty log"),
    "blank": (b"\n \n", "an empty log"),
    "binary": (b"a\0b\tc\n", "binary data"),
    "header alone": (b"commit\tval_bpb\tstatus\n", "a header without rows"),
    "two metrics": (b"id\talpha\tbeta\n1\t2\t3\n2\t3\t4\n", "the metric may be any of"),
    "no table": (b"hello\nworld\n", "no line is a header"),
}


@pytest.mark.parametrize("name", BAD)
def test_judge_of_a_bad_log_is_one_line(here: Path, name: str) -> None:
    content, message = BAD[name]
    (here / "bad.tsv").write_bytes(content)
    done = metaloop("judge", "bad.tsv", "--json", code=2, cwd=here)
    error = json.loads(done.stderr)["error"]
    assert error["message"].startswith(f"bad.tsv: {message}") and "\n" not in error["message"] and done.stdout == ""


def test_judge_last_decides_on_the_last_line_of_the_file(here: Path) -> None:
    """In whichever run it is; a last line without a metric is refused, not passed over."""
    rows = [
        f"{gpu}|{value}|{status}|baseline"
        for value, status in ((2, "keep"), (2.02, "rerun"), (1.98, "rerun"))
        for gpu in "ab"
    ]
    (here / "two.tsv").write_text(tsv("gpu|val_loss|status|description", *rows, "b|1.9|discard|y", "a|1.0||y"))
    assert metaloop("judge", "two.tsv", "--last", "--json", cwd=here).json["line"] == 9
    (here / "late.tsv").write_text(tsv(*NIGHT, "f|soon||x"))
    assert "line 9, the last one, is no whole row" in metaloop("judge", "late.tsv", "--last", code=2, cwd=here).stderr


@pytest.mark.parametrize("last", ["f|1.4", "f|1.4|ke", "f|1"])
def test_judge_last_refuses_a_line_that_is_still_written(here: Path, last: str) -> None:
    (here / "log.tsv").write_text(tsv(*NIGHT, last).removesuffix("\n"))
    done = metaloop("judge", "log.tsv", "--last", code=2, cwd=here)
    assert "last" in done.stderr and done.stdout == ""
    assert cli("judge", "log.tsv", cwd=here).returncode == 0


def test_judge_refuses_flags_that_say_nothing(here: Path) -> None:
    for flags in (("--rows", "0"), ("--noise", "0"), ("night.tsv", "--last")):
        assert metaloop("judge", "night.tsv", *flags, code=2, cwd=here).stdout == ""
    with (here / "huge.tsv").open("wb") as file:
        file.truncate(10 << 30)
    began = time.monotonic()
    assert "larger than" in metaloop("judge", "huge.tsv", code=2, cwd=here).stderr
    os.mkfifo(here / "pipe")
    assert "not a regular file" in metaloop("judge", "pipe", code=2, cwd=here).stderr
    assert time.monotonic() - began < 20


def test_judge_reads_standard_input_and_says_that_it_waits(here: Path) -> None:
    command = [sys.executable, "-m", "meta.cli.start", "judge", "-", "--last"]
    running = subprocess.Popen(
        command, cwd=here, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert running.stdin and running.stdout and running.stderr
    assert running.stderr.readline() == "waiting for the end of standard input\n"
    out, _ = running.communicate(tsv(*HEAD, "b|1.5||wider"))
    assert running.returncode == 0 and out.startswith("keep\nline 5 ")


def test_judge_fits_80_columns_and_loads_no_heavy_package(here: Path) -> None:
    code, shown = on_terminal("judge", "night.tsv", cwd=here)
    assert code == 0 and max(map(len, shown.splitlines())) <= 80
    script = "import sys; from meta.cli.main import run; run(['judge', 'night.tsv']); print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], cwd=here, env=env, capture_output=True, text=True, check=True)
    assert not {"torch", "duckdb", "pandas", "pydantic", "optuna", "litellm", "rich"} & {*done.stdout.split()}


def test_judge_of_the_shipped_night_shows_its_gain() -> None:
    """The README's first command: a real night of a frontier model, from bench/results/league/night-1.tar.xz."""
    done = metaloop("judge", "examples/night.tsv", cwd=Path(__file__).parents[2])
    assert done.stdout.splitlines() == [
        "night.tsv   61 experiments, 9 kept, 1 failure, 10 re-runs; nll, lower is better",
        "noise       SD 0.0805 of one script (20 measurements of 10 scripts), on the same rows",
        "real        none of 9 kept changes is distinguishable from noise",
        'luck        as many tries without any effect would keep 3.5 and "gain" 0.18',
        "best        line 62: 0.301107, from 1.58356: gain 1.29 [0.93, 1.47] with re-runs counted; after luck 1.11",
        "next        run lines 62 and 52 61 more times each: 0.3 standard errors apart",
    ]


AIDE = """{"step": 0, "plan": "baseline", "metric": {"value": 0.812, "maximize": true}, "is_buggy": false}
{"step": 1, "plan": "target encoding", "metric": {"value": 0.818, "maximize": true}, "is_buggy": false}
{"step": 2, "plan": "stacking", "metric": {"value": null, "maximize": null}, "is_buggy": true}
{"step": 3, "plan": "tune depth", "metric": {"value": 0.825, "maximize": true}, "is_buggy": false}
"""
KERNEL = """iter,commit,median_us,p90_us,decision,note
0,9f1c,412.3,420.1,baseline,untouched
1,9f1c,409.8,419.0,baseline,untouched again
2,9f1c,413.9,421.7,baseline,untouched again
3,a001,398.2,405.5,accepted,vector loads
4,a002,399.0,404.1,rejected,unroll 8
5,a003,351.7,360.2,accepted,shared memory tile
6,a003,352.9,361.0,accepted,re-run of a003
"""


def test_judge_of_other_tools_logs_agrees_with_scipy(here: Path) -> None:
    (here / "aide.jsonl").write_text(AIDE)
    (here / "kernel.csv").write_text(KERNEL)
    words = ("aide.jsonl", "--metric", "metric.value", "--direction", "higher", "--rows", "2000")
    [item] = metaloop("judge", *words, "--json", code=10, cwd=here).json["items"]
    rows_sd = (0.812 * 0.188 / 2000) ** 0.5
    distance = (0.825 - 0.818) / (2**0.5 * rows_sd)
    assert (item["experiments"], item["failed"], item["kept"]) == (4, 1, 2)
    assert item["rows_sd"] == pytest.approx(rows_sd) and item["next_errors"] == pytest.approx(distance)
    assert item["next_rows"] == pytest.approx(2000 * (stats.norm.ppf(1 - 0.05 / 2) / distance) ** 2, abs=1)
    words = ("kernel.csv", "--metric", "median_us", "--direction", "lower")
    assert "gain 59.1 [52.6, 65.6] with re-runs counted" in metaloop("judge", *words, cwd=here).stdout
    [item] = metaloop("judge", *words, "--json", cwd=here).json["items"]
    sd = ((0.3**2 + 2.2**2 + 1.9**2 + 2 * 0.6**2) / 3) ** 0.5  # two scripts, three degrees of freedom
    ends = stats.t.interval(0.95, 3, 412.0 - 352.9, sd * (1 + 1 / 3) ** 0.5)
    assert item["noise_sd"] == pytest.approx(sd) and item["shown_lines"] == [5, 7]
    assert (item["low"], item["high"]) == pytest.approx(ends, rel=1e-3)
    assert item["gain_after_luck"] == item["gain"]  # of re-runs after it was chosen
