"""Logs of others at the command line: ``metaloop judge`` and ``metaloop import``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import integrate, stats

from analysis.study import query
from meta.cli import show
from meta.cli.output import Output
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
        ((*HEAD, "b|1.99|keep|wider"), (), 10),
        ((*HEAD, "b|1.5||wider"), ("--last",), 0),
        ((*HEAD, "b|2.5||wider"), ("--last",), 10),
        ((*HEAD, "b|1.96||wider"), ("--last",), 11),
        ((*HEAD, "b|1.96||wider"), ("--last", "--noise", ".001"), 0),
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
    (here / "log.tsv").write_text(tsv("id|loss|what", "1|3|x", "2|2|y"))
    done = cli("judge", "log.tsv", "--last", cwd=here)
    assert done.stdout.startswith("undecided: run the best one (line 2) 3 more times, which shows the noise\n")


def test_judge_of_several_runs_prints_a_line_each(here: Path) -> None:
    (here / "setups.tsv").write_text(
        tsv("gpu|val_loss|status|what", *(f"{n}|{2 - k / 10}|keep|x{n}{k}" for n in range(20) for k in range(3)))
    )
    done = cli("judge", "setups.tsv", cwd=here)
    assert len(done.stdout.splitlines()) == 12 and done.stdout.endswith("\n9 more runs: --json has all\n")
    (here / "other.tsv").write_text(samples.tsv("id|val_acc|status", "1|.5|keep", "2|.6|keep"))
    both = metaloop("judge", "night.tsv", "other.tsv", "nowhere.tsv", code=2, cwd=here)
    assert both.stdout.startswith("night.tsv ") and "nowhere.tsv: No such file" in both.stderr
    assert "val_acc, higher is better" in both.stdout  # two metrics: each log is judged by itself


def test_judge_without_a_measurement_or_a_kept_change_says_so(here: Path) -> None:
    (here / "crashed.tsv").write_text(samples.ONLY_CRASHES)
    lines = metaloop("judge", "crashed.tsv", code=11, cwd=here).stdout.splitlines()
    assert lines[2:] == ["real         nothing was measured", "next         no row was measured"]
    (here / "none.tsv").write_text(tsv(*HEAD, "b|2.5|discard|wider"))
    assert "real        no change was kept\n" in metaloop("judge", "none.tsv", code=10, cwd=here).stdout


BAD = {
    "blank": (b"\n \n", "an empty log"),
    "two metrics": (b"id\talpha\tbeta\n1\t2\t3\n2\t3\t4\n", "the metric may be any of"),
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


@pytest.mark.parametrize("last", ["f|1.4", "f|1.4|ke"])
def test_judge_last_refuses_a_line_that_is_still_written(here: Path, last: str) -> None:
    (here / "log.tsv").write_text(tsv(*NIGHT, last).removesuffix("\n"))
    done = metaloop("judge", "log.tsv", "--last", code=2, cwd=here)
    assert "last" in done.stderr and done.stdout == ""
    assert cli("judge", "log.tsv", cwd=here).returncode == 0


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
    assert "none of 9 kept changes is distinguishable from noise" in done.stdout
    assert "gain 1.29 [0.93, 1.47] with re-runs counted; after luck 1.11" in done.stdout


KERNEL = """iter,commit,median_us,p90_us,decision,note
0,9f1c,412.3,420.1,baseline,untouched
1,9f1c,409.8,419.0,baseline,untouched again
2,9f1c,413.9,421.7,baseline,untouched again
3,a001,398.2,405.5,accepted,vector loads
4,a002,399.0,404.1,rejected,unroll 8
5,a003,351.7,360.2,accepted,shared memory tile
6,a003,352.9,361.0,accepted,re-run of a003
"""


def test_judge_of_another_tools_log_agrees_with_scipy(here: Path) -> None:
    (here / "kernel.csv").write_text(KERNEL)
    words = ("kernel.csv", "--metric", "median_us", "--direction", "lower")
    assert "gain 59.1 [52.6, 65.6] with re-runs counted" in metaloop("judge", *words, cwd=here).stdout
    [item] = metaloop("judge", *words, "--json", cwd=here).json["items"]
    sd = ((0.3**2 + 2.2**2 + 1.9**2 + 2 * 0.6**2) / 3) ** 0.5  # two scripts, three degrees of freedom
    ends = stats.t.interval(0.95, 3, 412.0 - 352.9, sd * (1 + 1 / 3) ** 0.5)
    assert item["noise_sd"] == pytest.approx(sd) and item["shown_lines"] == [5, 7]
    assert (item["low"], item["high"]) == pytest.approx(ends, rel=1e-3)
    assert item["gain_after_luck"] == item["gain"]  # of re-runs after it was chosen


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    for name, text in (("night", samples.RERUN_LOWER), ("prose", samples.PROSE), ("unsure", samples.UNSURE)):
        (folder / name).mkdir()
        (folder / name / "results.tsv").write_text(text, encoding="utf-8")
    metaloop("import", "night/results.tsv", "-s", "studies/night", cwd=folder)
    return folder


def test_one_command_answers(logs: Path) -> None:
    done = metaloop("import", "prose/results.tsv", "--json", cwd=logs)
    item = done.json
    assert item["study"].startswith("studies/import-prose-") and (logs / item["study"]).is_dir()
    [run] = item["items"]
    assert (run["rows"], run["quarantined"], run["kept"], run["tried"]) == (5, 3, 2, 4)
    assert run["claimed_gain"] == pytest.approx(0.019) and run["noise_steps"] is None
    assert [(aside["line"], aside["lines"]) for aside in item["set_aside"]] == [(8, 2), (11, 1)]


def test_the_closing_lines(logs: Path) -> None:
    done = cli("import", "night/results.tsv", "-s", "lines", cwd=logs)
    assert done.stdout.splitlines() == [
        "night: 7 experiments, 3 re-runs, 2 kept, 1 of them distinguishable from noise",
        "  distinguishable, together at 5%: line 4 (lucky restart)",
        "  noise: SD 0.01, from 3 measurements of one script on the same rows (--rows N adds the noise of N rows); "
        "it alone gives 0.0105 after as many tries",
        "  measured again: line 4 in 5, 6, 7; where that is wrong, change the words of the row, or --noise SD",
        "  luck: as many tries without any effect would keep 1.1",
        "  fitness: higher is better (from its name); first 0.1, best 0.9 (line 4), gain 0.8, 0.2 with re-runs counted",
        "  commits: none, no git repository where the log lies; --set repository=PATH names one",
    ]
    code, shown = on_terminal("import", "night/results.tsv", "-s", "person", cwd=logs)
    assert code == 0 and max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("import unsure/results.tsv", "usage"),
        ("import studies", "not_found"),
        ("import prose/results.tsv --noise 0", "usage"),
        ("import night/results.tsv --rows 100", "usage"),
        ("import /dev/zero", "usage"),
        ("resume studies/night", "not_comparable"),
        ("verify studies/night", "not_comparable"),
        ("program new x.md --learnt studies/night", "not_comparable"),
    ],
)
def test_what_cannot_be_imported_or_run_is_one_line(logs: Path, words: str, kind: str) -> None:
    flags = ("-s", "studies/never") if words.startswith("import") else ()
    done = metaloop(*words.split(), *flags, "--json", cwd=logs, code=2)
    error = json.loads(done.stderr)["error"]
    assert error["kind"] == kind and "\n" not in error["message"] and error["hint"] and done.stdout == ""
    assert not (logs / "studies" / "never").exists()


def test_import_with_rows_answers_without_a_rerun(logs: Path) -> None:
    (logs / "shares.tsv").write_text(samples.SHARES)
    done = cli("import", "shares.tsv", "--rows", "400", "-s", "studies/shares", cwd=logs)
    assert done.stdout.splitlines()[:3] == [
        "shares: 4 experiments, 3 kept, 1 of them distinguishable from noise",
        "  distinguishable, together at 5%: line 4 (deeper)",
        "  noise: SD 0.0229 of a share of 400 rows, as if two scripts failed on unrelated rows, so rather too large; "
        "it alone gives 0.024 after as many tries",
    ]
    verdict = metaloop("status", "studies/shares", "--json", cwd=logs).stdout
    assert "1 of 3 kept changes is distinguishable from noise: line 4 (deeper)" in verdict


def test_import_prints_what_it_took_for_what(logs: Path) -> None:
    lines = ("gpu|val_bpb|status|what", "a|2|keep|baseline, std = .02", "b|1.9|keep|x", "c|1.95|discard|wider")
    (logs / "notes.tsv").write_text(samples.tsv(*lines, "c|1.96|discard|wider", "c|0.0|discard|not run"))
    done = cli("import", "notes.tsv", "--direction", "higher", "-s", "studies/notes", cwd=logs)
    for line in (
        "read as one run: 3 values of gpu; are their numbers comparable?",
        "direction: higher is better as given, but the name val_bpb means the opposite; is --direction right?",
        "1 row repeats a description without a better row between; --set reruns=words counts it as a re-run",
        'the log itself says "std = .02"; --noise SD uses it',
        "not measured: 1 row with a metric of 0 that was skipped or discarded; no other value is near 0",
    ):
        assert f"  {line}\n" in done.stdout


def test_show_says_that_a_list_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"seed": n} for n in range(2)]
    for total, title in ((3, "rests_on, 2 of 3 rows; its sql gives all of them:"), (2, "rests_on:")):
        show.print_record(Output(person=False), {"kind": "credit", "rests_on_rows": total}, {"rests_on": rows})
        assert title in capsys.readouterr().out.splitlines()


def test_show_sql_status_work_on_an_import(logs: Path) -> None:
    rows = query(logs / "studies/night", "FROM experiments ORDER BY number")
    assert [row["number"] for row in rows] == list(range(7)) and rows[0]["started_at"] is None
    best = rows[2]["experiment_id"]
    item = metaloop("show", best, "-s", "studies/night", "--json", cwd=logs).json
    assert (item["line"], item["again"], item["step_gain"]) == (4, None, pytest.approx(0.75))
    rows = metaloop("sql", "studies/night", "FROM imports", "--json", cwd=logs).json
    whole = metaloop("show", rows[0]["import_id"], "-s", "studies/night", "--json", cwd=logs).json
    assert (whole["kind"], whole["rows"], whole["set_aside"]) == ("import", 7, [])
    status = metaloop("status", "studies/night", "--json", cwd=logs).json
    assert (status["state"], status["trust"], status["experiments"]) == ("imported", "self-reported", 7)
    assert not {"device_seconds_charged", "runs_finished"} & status.keys()  # nothing was run here
    metaloop("credit", "studies/night", cwd=logs)
    said = metaloop("standings", "studies/night", cwd=logs).stderr
    assert "1 of 2 kept changes is distinguishable from noise" in said


def test_screen_begins_with_what_is_distinguishable_from_noise(logs: Path) -> None:
    three = [f"{name}/results.tsv" for name in ("night", "prose", "unsure")]
    metaloop("import", *three, "-s", "studies/three", cwd=logs)
    metaloop("report", "studies/three", "--card", "card.svg", cwd=logs)
    first = "1 of 2 kept changes (or new bests) in 1 run are distinguishable from noise; unknown in 1 run"
    html = (logs / "studies/three/report.html").read_text()
    assert f">{first}</h2>" in html and "line 4 (lucky restart)" in html
    assert (logs / "card.svg").read_text().count("in 1 run are") == 2
    status = metaloop("status", "studies/three", "--json", cwd=logs).json
    assert (status["logs"], status["verdict"]) == (2, f"{first}.")


def test_report_of_a_log_is_the_page_of_its_import(logs: Path) -> None:
    done = metaloop("report", "night/results.tsv", cwd=logs)
    assert done.stdout == "night/results.html\n" and not [*logs.glob("studies/import-night*")]
    html = (logs / "night" / "results.html").read_text()
    assert "line 4 (lucky restart)" in html and "metaloop sql STUDY" in html and "/tmp" not in html
    done = metaloop("report", "unsure/results.tsv", code=2, cwd=logs)
    assert "nothing says whether" in done.stderr and "metaloop import unsure/results.tsv" in done.stderr
