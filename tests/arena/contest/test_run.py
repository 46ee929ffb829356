"""From the first entry to the decision, on a simulated task: what is run, once, and what is made of it."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections import Counter
from dataclasses import replace
from html import escape, unescape
from pathlib import Path
from statistics import median

import pytest

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.entering import removal
from arena.contest.export import export
from arena.contest.ranking.announced import secret_check
from arena.contest.ranking.decision import begin
from arena.contest.ranking.views import board_view, entry_of, entry_view, queue_view
from arena.contest.running import closing, pace, work
from arena.contest.running.closing import RaceLog
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.running.seeds import derive_seeds
from arena.contest.settings import REPORT
from arena.contest.stored import Announcement
from arena.serving.process import as_process
from arena.study.study import Study
from meta.cli.contest_host import follow, remaining
from meta.cli.main import run
from meta.cli.output import Output
from programs.common.errors import Busy, Corrupt
from tests.arena.contest.hosting import (
    RUNS,
    Browser,
    entered,
    founded,
    numbered,
    quiet,
    served,
)
from tests.arena.contest.test_fair_entries import taken
from tests.meta.cli_study import metaloop


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_each_entry_has_its_runs_and_its_place_on_the_board(ran: Contest) -> None:
    assert queue_view(ran)["rows"] == []
    board = board_view(ran)
    assert [row["n"] for row in board["rows"]] == [RUNS] * 5
    assert Counter(row["role"] for row in board["rows"]) == {"program": 3, "control": 1, "a/a": 1}
    assert [row["gain"] for row in board["rows"]] == sorted((row["gain"] for row in board["rows"]), reverse=True)
    assert board["announcement"] == {} and f" {ran.task.unit} [" in board["aa_difference"]
    seen = entry_view(ran, entry_of(ran, numbered(ran, 5).entry_id), None)
    assert [told["run"] for told in seen["results"]] == [1, 2]
    assert seen["standing"]["gain"] == pytest.approx(sum(told["gain"] for told in seen["results"]) / RUNS)
    standings = query(ran.folder, "SELECT arm_id, gain, low, high, rank_low, rank_high, n FROM standings "
                      "WHERE purpose = 'contest' AND gain IS NOT NULL")  # fmt: skip
    assert [{key: row[key] for key in standings[0]} for row in board["rows"]] == standings


def test_leaders_run_again_and_the_decision_is_announced(ended: Contest) -> None:
    told = ended.announcement()
    assert ended.phase() == "decided" and told["secret"] == ended.study.secret
    confirmed = [row["number"] for row in told["rows"] if row["role"] == "program"]
    assert not {5, 6} & {*confirmed}  # the text of the first, and one that is void
    assert all(row["n"] == ended.config.confirm_runs for row in told["rows"])
    assert told["outcome"] in ("won", "shared", "none")
    assert "Stock (A/A) minus stock (control) in these runs: " in told["aa_difference"]
    progress = ended.database.fact("deciding")
    assert progress["looks"][0].startswith("look after ") and len(progress["race"]) == len(confirmed)
    check_ledger(ended)


def test_report_and_export_of_a_decided_contest(ended_copy: Contest, tmp_path: Path) -> None:
    contest, told = ended_copy, ended_copy.announcement()
    with served(contest) as port:
        page = Browser(port).get("/report")
        assert 'href="/report"' in Browser(port).get("/").text
        assert page.status == 200 and escape(told["headline"]) in page.text and contest.study.secret not in page.text
        assert "sandbox allow-scripts" in page.headers["content-security-policy"]
        removal.forget(contest, "Ada")
        assert Browser(port).get("/report").status == 404
    metaloop("report", contest.folder)
    again = (contest.folder / "report.html").read_text()
    assert "Ada" not in again and "former entrant 1" in again
    done = export(contest, tmp_path / "out")
    assert done["decided"] and len(list((tmp_path / "out" / "entries").iterdir())) == 6
    exported = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert contest.database.fact("tokens")["server"].encode() not in exported
    check_seeds(contest, tmp_path / "out", told)


def check_seeds(contest: Contest, folder: Path, told: Announcement) -> None:
    """Anyone can check that no seed was chosen by hand."""
    printed = subprocess.run(shlex.split(secret_check(told)), capture_output=True, text=True, check=True).stdout
    assert printed.strip() == contest.config.secret_hash
    study = Study.open(folder)
    study.look()
    found = derive_seeds(study)
    assert found["secret_hash"] == contest.config.secret_hash
    assert found["runs"] == len(study.state.runs) and found["seeds"] > 2 * found["runs"]
    assert run(["verify", "r0000", "-s", str(folder)]) != 0  # no such run: it is not said to be intact
    metaloop("verify", folder)  # without the scripts of the runs, which an export does not contain
    run_id, first = next(iter(study.state.runs.items()))
    assert first.started is not None
    first.started = replace(first.started, run_seed=first.started.run_seed + 1)
    with pytest.raises(Corrupt, match=f"of run {run_id} is not derived from the published secret"):
        derive_seeds(study)


def check_ledger(contest: Contest) -> None:
    """Every run once, every experiment once, the streams apart."""
    runs = query(contest.folder, "SELECT label, r.stream, r.state, count(*) n, count(DISTINCT run_id) ids, "
                 "count(DISTINCT run_seed) seeds FROM runs r JOIN matches USING (match_id) GROUP BY ALL")  # fmt: skip
    assert {(row["label"], row["stream"], row["state"]) for row in runs} == {
        ("screening", "search", "finished"), ("board", "selection", "finished"),
        ("confirmation", "confirmation", "finished"),
    }  # fmt: skip
    assert all(row["n"] == row["ids"] for row in runs)
    twice = query(contest.folder, "SELECT run_id, number, count(*) n FROM experiments GROUP BY ALL HAVING n > 1")
    assert twice == []
    entries = query(contest.folder, "SELECT record ->> 'entry_id' AS id, count(*) n FROM events "
                    "WHERE kind = 'entry' GROUP BY ALL HAVING n > 1")  # fmt: skip
    assert entries == []
    texts = query(contest.folder, "SELECT count(DISTINCT arm_id) arms, count(DISTINCT run_seed) seeds FROM runs "
                  "JOIN matches USING (match_id) JOIN programs USING (program_id) WHERE label = 'board' AND "
                  "operator = 'entry' GROUP BY program_id ORDER BY arms")  # fmt: skip
    assert texts == [{"arms": 1, "seeds": RUNS}, {"arms": 2, "seeds": 2 * RUNS}]  # of one text: two samples


def test_time_of_the_last_runs_predicts_that_of_the_next(
    ran_copy: Contest, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = ran_copy
    seconds, measured = pace.run_seconds(contest)
    assert measured and seconds == median(contest.database.fact("pace")["seconds"])  # by the clock, not by the budget
    assert remaining(contest).startswith("the leaders run again, at most ")
    assert pace.deciding(contest) == {}
    heard = list[str]()
    entered(contest, "local")
    contest.state(leaders=[3], deciding="2026-01-01T00:00:00+00:00")
    with Study.open(contest.folder) as study:
        log = RaceLog(ContestQueue(contest, study, quiet, heard.append), begin(contest, study))
        contest.database.set_fact("pace", seconds=[100.0])
        log.progress({"kind": "match_started"})
        log.progress({"kind": "run_ended"})
        assert heard == []  # once a minute
        log.last_line -= 61
        log.progress({"kind": "run_ended"})
        estimate = pace.deciding(contest)
        assert estimate["seconds"] == estimate["wanted"] * 100.0 / contest.study.workers > 0
        line = pace.progress_line(estimate)
        assert heard == [line] and line.startswith("0 of at most ") and "left at this pace" in line
    assert remaining(contest) == line
    monkeypatch.setattr("arena.contest.running.work.carry_on", interrupted)
    with pytest.raises(KeyboardInterrupt):
        follow(Output(), contest)
    said = capsys.readouterr().err
    assert said.startswith(line[:20]) and f"To follow or to resume it: metaloop contest close {contest.folder}" in said


def test_second_process_waits_and_a_close_follows_the_first_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    contest, turns = founded(tmp_path).contest, iter((False, False, True) * 2)
    monkeypatch.setattr("sys.argv", ["work", str(contest.folder)])
    monkeypatch.setattr("arena.serving.process.BUSY_SECONDS", 0.0)
    monkeypatch.setattr("meta.cli.contest_host.LOOK_SECONDS", 0.0)

    def taken(*_: object, **__: object) -> None:
        """Another process has the queue twice, and decides the contest meanwhile."""
        if not next(turns):
            raise Busy("taken")
        contest.state(decided="2026-01-01T00:00:00+00:00")

    with monkeypatch.context() as patched:
        patched.setattr("os.nice", lambda _: None)
        as_process(Contest.open, taken, "runs this contest's queue", "entry")
    assert capsys.readouterr().err.count("waits for it") == 1
    contest.state(decided="")
    monkeypatch.setattr("arena.contest.running.work.carry_on", taken)
    follow(Output(), contest)
    assert len(capsys.readouterr().err.splitlines()) == 1  # at most one line a minute


def test_report_and_page_name_entrants_and_count_kept_ideas(tmp_path: Path) -> None:
    """Entries of Ada and Bob, both called `solid list`, which may gain by the random edits after their list alone."""
    contest = founded(tmp_path).contest
    knob = next(knob for knob in contest.task.edits.knobs if knob.kind != "patch")
    for person, value in zip(("Ada", "Bob"), knob.values, strict=False):
        text = (
            f"---\nmetaloop:\n  name: solid list\n---\n# {person}\n\n## Ideas\n\n- Set `{knob.name}={value}` first.\n"
        )
        taken(contest, person, text.encode())
    work.carry_on(contest, quiet, until_idle=True)
    closing.publish(contest)
    page = (contest.folder / REPORT).read_text()
    assert "Ada: solid list" in page and "Bob: solid list" in page
    with served(contest) as port:
        page = unescape(Browser(port).get(f"/entry/{numbered(contest, 3).entry_id}").text)
    assert re.search(r"kept \d+ of its \d+ ideas?", page)
