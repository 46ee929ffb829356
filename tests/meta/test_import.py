"""``metaloop import``: one command from a log to an answer; then show, sql and status work on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.study import query
from meta.cli import show
from meta.cli.output import Output
from tests.analysis.imports import samples

from .cli_study import cli, metaloop, on_terminal


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("import")
    for name, text in (("night", samples.RERUN_LOWER), ("prose", samples.PROSE), ("unsure", samples.UNSURE)):
        (folder / name).mkdir()
        (folder / name / "results.tsv").write_text(text, encoding="utf-8")
    metaloop("import", "night/results.tsv", "-s", "studies/night", cwd=folder)
    return folder


def test_one_command_answers(here: Path) -> None:
    done = metaloop("import", "prose/results.tsv", "--json", cwd=here)
    item = done.json
    assert item["study"].startswith("studies/import-prose-") and (here / item["study"]).is_dir()
    [run] = item["items"]
    assert (run["rows"], run["quarantined"], run["kept"], run["tried"]) == (5, 3, 2, 4)
    assert run["claimed_gain"] == pytest.approx(0.019) and run["noise_steps"] is None
    assert [(aside["line"], aside["lines"]) for aside in item["set_aside"]] == [(8, 2), (11, 1)]


def test_the_closing_lines(here: Path) -> None:
    done = cli("import", "night/results.tsv", "-s", "lines", cwd=here)
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
    done = cli("import", "prose/results.tsv", "-s", "unknown", cwd=here)
    assert done.stdout.startswith(
        "prose: 5 experiments, 2 kept; how many of them are distinguishable from noise is unknown\n"
    )
    code, shown = on_terminal("import", "night/results.tsv", "-s", "person", cwd=here)
    assert code == 0 and max(map(len, shown.splitlines())) <= 80


def test_what_is_listed_is_whole_or_says_how_much_more(here: Path) -> None:
    twice = [f"{n:07x}|{1 - n / 100 + again / 1000}|keep|change {n}" for n in range(11) for again in (0, 1)]
    (here / "twice.tsv").write_text(samples.tsv("commit|val_loss|status|what", *twice))
    done = cli("import", "twice.tsv", "-s", "twice", cwd=here)
    assert "line 20 in 21; and 1 more; where that is wrong" in done.stdout


@pytest.mark.parametrize(
    ("args", "code", "kind"),
    [
        (("unsure/results.tsv",), 2, "usage"),
        (("nowhere.tsv",), 2, "usage"),
        (("studies",), 2, "not_found"),
        (("prose/results.tsv", "--metric", "speed"), 2, "usage"),
        (("prose/results.tsv", "--noise", "0"), 2, "usage"),
        (("prose/results.tsv", "--rows", "100"), 2, "usage"),
        (("night/results.tsv", "--rows", "0"), 2, "usage"),
        (("/dev/zero",), 2, "usage"),
    ],
)
def test_errors_are_one_line(here: Path, args: tuple[str, ...], code: int, kind: str) -> None:
    done = cli("import", *args, "-s", "studies/never", "--json", cwd=here)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["kind"]) == (code, kind)
    assert "\n" not in error["message"] and error["hint"] and done.stdout == ""
    assert not (here / "studies" / "never").exists()


def test_import_with_rows_answers_without_a_rerun(here: Path) -> None:
    (here / "shares.tsv").write_text(samples.SHARES)
    done = cli("import", "shares.tsv", "--rows", "400", "-s", "studies/shares", cwd=here)
    assert done.stdout.splitlines()[:3] == [
        "shares: 4 experiments, 3 kept, 1 of them distinguishable from noise",
        "  distinguishable, together at 5%: line 4 (deeper)",
        "  noise: SD 0.0229 of a share of 400 rows, as if two scripts failed on unrelated rows, so rather too large; "
        "it alone gives 0.024 after as many tries",
    ]
    verdict = metaloop("status", "studies/shares", "--json", cwd=here).stdout
    assert "1 of 3 kept changes is distinguishable from noise: line 4 (deeper)" in verdict
    done = cli("import", "night/results.tsv", "--rows", "100", "-s", "refused", cwd=here)
    assert "--rows is for an error rate or an accuracy, from 0 to 1 or in percent; fitness is not named" in done.stderr


def test_import_prints_what_it_took_for_what(here: Path) -> None:
    """A line for each note, with its values; a log of failures alone says so."""
    lines = ("gpu|val_bpb|status|what", "a|2|keep|baseline, std = .02", "b|1.9|keep|x", "c|1.95|discard|wider")
    (here / "notes.tsv").write_text(samples.tsv(*lines, "c|1.96|discard|wider", "c|0.0|discard|not run"))
    done = cli("import", "notes.tsv", "--direction", "higher", "-s", "studies/notes", cwd=here)
    for line in (
        "read as one run: 3 values of gpu; are their numbers comparable?",
        "direction: higher is better as given, but the name val_bpb means the opposite; is --direction right?",
        "1 row repeats a description without a better row between; --set reruns=words counts it as a re-run",
        'the log itself says "std = .02"; --noise SD uses it',
        "not measured: 1 row with a metric of 0 that was skipped or discarded; no other value is near 0",
    ):
        assert f"  {line}\n" in done.stdout
    (here / "crashed.tsv").write_text(samples.ONLY_CRASHES)
    done = cli("import", "crashed.tsv", "-s", "studies/crashed", cwd=here)
    assert done.stdout.startswith("crashed: nothing was measured, 2 of 2 experiments failed\n")
    assert "noise" not in done.stdout and "luck" not in done.stdout


def test_show_says_that_a_list_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"seed": n} for n in range(2)]
    for total, title in ((3, "rests_on, 2 of 3 rows; its sql gives all of them:"), (2, "rests_on:")):
        show.print_record(Output(person=False), {"kind": "credit", "rests_on_rows": total}, {"rests_on": rows})
        assert title in capsys.readouterr().out.splitlines()


def test_questions_name_the_flag(here: Path) -> None:
    done = cli("import", "unsure/results.tsv", "-s", "studies/u1", cwd=here)
    assert "--direction lower or --direction higher" in done.stderr and done.returncode == 2
    done = metaloop("import", "unsure/results.tsv", "--direction", "higher", "-s", "studies/u1", cwd=here)
    done = metaloop("import", "unsure", "night", "-s", "studies/u3", cwd=here)
    assert "unsure/results.tsv: left out: nothing says" in " ".join(done.stderr.split())


@pytest.mark.slow
def test_show_sql_status_work_on_an_import(here: Path) -> None:
    rows = query(here / "studies/night", "FROM experiments ORDER BY number")
    assert [row["number"] for row in rows] == list(range(7)) and rows[0]["started_at"] is None
    best = rows[2]["experiment_id"]
    item = metaloop("show", best, "-s", "studies/night", "--json", cwd=here).json
    assert (item["line"], item["again"], item["step_gain"]) == (4, None, pytest.approx(0.75))
    rows = metaloop("sql", "studies/night", "FROM imports", "--json", cwd=here).json
    whole = metaloop("show", rows[0]["import_id"], "-s", "studies/night", "--json", cwd=here).json
    assert (whole["kind"], whole["rows"], whole["set_aside"]) == ("import", 7, [])
    status = metaloop("status", "studies/night", "--json", cwd=here).json
    assert (status["state"], status["trust"], status["experiments"]) == ("imported", "self-reported", 7)
    assert not {"device_seconds_charged", "runs_finished"} & status.keys()  # nothing was run here
    _, shown = on_terminal("status", "studies/night", cwd=here)
    assert "nothing was run here" in shown and "device" not in shown and " 1 runs" not in shown
    for verb in ("standings", "credit"):
        done = cli(verb, "studies/night", cwd=here)
        assert done.returncode == 0, (verb, done.stderr)
    assert "1 of 2 kept changes is distinguishable from noise" in cli("standings", "studies/night", cwd=here).stderr


def test_screen_begins_with_what_is_distinguishable_from_noise(here: Path) -> None:
    logs = [f"{name}/results.tsv" for name in ("night", "prose", "unsure")]
    metaloop("import", *logs, "-s", "studies/three", cwd=here)
    metaloop("report", "studies/three", "--card", "card.svg", cwd=here)
    first = "1 of 2 kept changes (or new bests) in 1 run are distinguishable from noise; unknown in 1 run"
    html = (here / "studies/three/report.html").read_text()
    assert f">{first}</h2>" in html and "line 4 (lucky restart)" in html
    assert (here / "card.svg").read_text().count("in 1 run are") == 2
    status = metaloop("status", "studies/three", "--json", cwd=here).json
    assert (status["logs"], status["verdict"]) == (2, f"{first}.")


@pytest.mark.parametrize(
    "args",
    [
        ("resume", "studies/night"),
        ("verify", "studies/night"),
        ("program", "new", "x.md", "--learnt", "studies/night"),
    ],
)
def test_nothing_can_be_run_in_an_import(here: Path, args: tuple[str, ...]) -> None:
    done = cli(*args, "--json", cwd=here)
    error = json.loads(done.stderr)["error"]
    assert (done.returncode, error["kind"]) == (2, "not_comparable")
    assert "imported" in error["message"]


def test_report_of_a_log_is_the_page_of_its_import(here: Path) -> None:
    done = metaloop("report", "night/results.tsv", cwd=here)
    assert done.stdout == "night/results.html\n" and not [*here.glob("studies/import-night*")]
    html = (here / "night" / "results.html").read_text()
    assert "line 4 (lucky restart)" in html and "metaloop sql STUDY" in html and "/tmp" not in html
    done = metaloop("report", "unsure/results.tsv", code=2, cwd=here)
    assert "nothing says whether" in done.stderr and "metaloop import unsure/results.tsv" in done.stderr
