"""`metaloop ui`: who may read it, what its pages show, that it follows a running study and changes nothing."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator
from html import unescape
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from rich.console import Console

from analysis.report.page import Page
from analysis.report.source import ReportSource
from analysis.study import COMPUTED_VIEWS, VIEWS, open_study
from analysis.study import query as ask
from analysis.tables import rows
from analysis.trust import WHY
from analysis.verdict.verdict import decided, verdict_of
from analysis.wording import brief, number
from arena.contest.web.curve import curve
from meta.cli.board import load_board
from meta.cli.status import _screen, item_of
from meta.mutators.mix import MUTATORS
from meta.window import study_page
from meta.window.records import fetch, run_page
from meta.window.words import RULES, figure, interval, minus
from tests.analysis.report.browser import Browser, found, hidden_and_back
from tests.arena.contest.test_browser import go, until
from tests.meta.opened_window import TOKEN, Window, first, until_read

LONG_NAMES = (
    "document.querySelectorAll('.sides .named').forEach((one) => one.textContent = 'champion idea-queue-learnt-v4')"
)
WHOLE = "[...document.querySelectorAll('pre.program')]"
STACKED = "[...document.querySelectorAll('.scroll:has(> .stack)')]"


@pytest.fixture(scope="module")
def window(root: Path) -> Iterator[Window]:
    opened = Window(root)
    until_read(opened)
    yield opened
    opened.close()


def test_only_the_address_with_the_token_opens_it(window: Window) -> None:
    assert httpx.get(f"{window.url}/").status_code == 403
    assert httpx.get(f"{window.url}/", params={"token": "guess"}).status_code == 403
    assert httpx.get(f"{window.url}/static/style.css").status_code == 403
    opened = httpx.get(f"{window.url}/study", params={"at": "one", "token": TOKEN})
    assert opened.status_code == 303 and opened.headers["location"] == "/study?at=one"
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=strict" in opened.headers["set-cookie"]
    assert window.client.get("/", headers={"host": f"evil.example:{window.port}"}).status_code == 403
    assert window.client.post("/").status_code == 405
    answer = window.client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_study_below_the_folder_is_listed_with_its_verdict(window: Window, root: Path) -> None:
    text = window.page("/")
    assert 'href="/study?at=one"' in text and 'href="/study?at=deep%2Fer%2Ftwo"' in text
    decision = load_board(root / "one")[0].decision
    assert decision is not None
    first_, *others = decided(decision).sentences
    listed = unescape(text)
    assert f">{first_}</p>\n<details><summary" in listed and f">{' '.join(others)}</p></details>" in listed  # folded


def test_from_a_study_to_a_run_an_experiment_and_a_program(window: Window, root: Path) -> None:
    text = window.page("/study", at="one")
    assert "Finished" in text and "confirmation" in text and "Verified gain of each run" in text
    board, nav = load_board(root / "one")[0], text.partition("<nav")[2].partition("</nav>")[0]
    assert board.decision
    found = decided(board.decision)
    assert len(found.sentences) > 2 and all(f"<li>{one}</li>" in unescape(text) for one in found.sentences[1:])
    assert all("".join(f"<td>{cell}</td>" for cell in row.values()) in unescape(text) for row in found.table)
    assert ">Overview</a>" in nav and ">one</a>" not in nav
    assert "Lineage" in window.page("/study", **first(text.partition('id="match"')[2], "/study"))
    run = window.page("/run", **first(text, "/run"))
    assert ">Gain over the baseline</th>" in run
    assert re.search(r'data-label="\w+">[\d.]+</td><td class="right" data-label="gain">', run)
    assert '<path class="best"' in run
    experiment = window.page("/experiment", **first(run, "/experiment"))
    assert "Source id" in experiment
    program = window.page("/program", **first(text, "/program"))
    assert '<pre class="program"' in program
    assert "verdict" in window.page("/report", at="one").lower()


def test_a_finished_study_shows_the_confirmation_first_and_the_held_out_task_second(
    window: Window, root: Path, tmp_path: Path
) -> None:
    text = window.page("/study", at="one")
    shown = re.findall(r'<h2 id="match\d?">([^<]+) <span class="soft">on ([^<]+)<', text)
    assert [name for name, _ in shown] == ["Confirmation", "Held-out task"]
    [held_out] = ask(root / "one", "SELECT task FROM matches WHERE purpose = 'reserve'")
    assert shown[1][1] == held_out["task"] != shown[0][1]
    assert "Runs: confirmation" in text
    other = window.page("/study", **first(text.partition('id="match"')[2], "/study"))
    assert '<h2 id="match">Opening race' in other and "Held-out task</h2>" not in other


def test_its_tables_have_mean_gains_and_name_both_arms_of_stock(
    window: Window, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = window.page("/study", at="one").partition('id="match"')[2].partition("</section>")[0]
    for row in ask(
        root / "one",
        "SELECT coalesce(name, '') || if(role = 'a/a', ' (A/A)', '') AS name, gain, low, high, claimed, n AS verified, "
        "runs AS claims FROM standings WHERE purpose = 'confirmation'",
    ):
        verified, claimed = (
            f'<td class="right" data-label="{label} gain (runs)">{number(row[key], 3, True)} '
            f'<span class="soft">({row[n]})</span></td>'
            for label, key, n in (("Verified", "gain", "verified"), ("Claimed", "claimed", "claims"))
        )
        interval_ = f'<td class="right" data-label="95%">{interval(row["low"], row["high"], row["verified"])}</td>'
        assert f">{row['name']}</a></td>{verified}{interval_}{claimed}" in text, row
    assert ">stock, both arms</a></td>" in text
    gains = [row["gain"] for row in ask(root / "one", "SELECT gain FROM standings WHERE purpose = 'confirmation'")]
    shown = re.findall(r'"Verified gain \(runs\)">([^ ]+) ', text)  # the last row is both arms of stock
    assert shown[: len(gains)] == [number(gain, 3, True) for gain in sorted(gains, reverse=True)]
    at = first(window.page("/study", at="one").partition('id="match"')[2], "/study")
    opening = window.page("/study", **at)
    drawn = opening.partition('<svg class="gains"')[2].partition("</svg>")[0]
    dots = re.findall(r'aria-label="([^"]+), run [^"]+"><circle class="(\w+)"', drawn)
    assert {name for name, look in dots if look == "discarded"} == {"stock", "stock (A/A)"}
    assert {look for name, look in dots if not name.startswith("stock")} == {"kept"}
    assert "Hollow: runs of stock" in opening
    monkeypatch.setattr(study_page, "starter", lambda _: SimpleNamespace(program_id="in no match"))
    assert "Hollow" not in window.page("/study", **at)


def test_the_lineage_has_the_programs_and_the_gains_of_the_report(window: Window, root: Path) -> None:
    with open_study(root / "one", views=VIEWS) as con:
        found = Page(ReportSource(con, "one"), verdict_of(con)).asked("lineage").rows
    rows = {row["id"]: row for row in found}
    text = window.page("/study", at="one").partition('id="lineage"')[2]
    shown = re.findall(r'id=(\w+)">[^<]+</a>.*?</td><td class="right">([^<]+)</td><td class="right">(\d+)<', text)
    assert {one: (gain, int(n)) for one, gain, n in shown} == {
        one: (number(row["gain"], 4, True), row["runs"] or 0) for one, row in rows.items()
    }
    assert text.count("never ran") == sum(not row["runs"] for row in rows.values()) > 0
    ran = sum(bool(row["runs"]) for row in rows.values())  # not one that would do the same as another
    assert 0 < ran < len(rows) and f"<dt>Programs that ran</dt><dd>{ran}<" in window.page("/study", at="one")


def test_a_run_has_the_noise_of_the_whole_study_and_says_what_its_axes_are(window: Window, root: Path) -> None:
    with open_study(root / "one", views=VIEWS) as con:
        runs = rows(con.execute("FROM runs JOIN seed_noise() USING (task) WHERE experiments > 1 LIMIT 12"))
    for row in runs:
        text = window.page("/run", at="one", id=row["run_id"])
        sd = row["sd"]
        assert f"({row['trainings']} trainings of this study) have an SD of {brief(sd, 2)}:" in text
        assert f"; {row['direction']} is better</text>" in text and ">experiment</text>" in text
        assert f"claimed gain {number(row['claimed_gain'], 4, True)};" in text


def test_values_outside_the_frame_of_a_course_and_a_run_under_way_are_mentioned(root: Path) -> None:
    with open_study(root / "one") as con:
        [run] = fetch(con, "SELECT run_id FROM runs ORDER BY kept DESC, run_id LIMIT 1")
        course = run_page(con, run["run_id"], 0).course
    assert "at the end" in curve(course).caption
    last = course["experiments"][-1]
    far = {
        **course,
        "experiments": [*course["experiments"], {**last, "metric": 1e6, "decision": "discard", "status": "ok"}],
    }
    assert "outside the frame" in curve(far).outside and "outside the frame" not in curve(far).caption
    assert (
        " so far" in curve(course, going_on=True).caption and "at the end" not in curve(course, going_on=True).caption
    )


def test_an_experiment_is_shown_in_words_and_rounded(window: Window, root: Path) -> None:
    [row] = ask(root / "one", "SELECT * FROM experiments WHERE number = 1 AND status = 'ok' ORDER BY metric LIMIT 1")
    text = window.page("/experiment", at="one", id=row["experiment_id"])
    assert f'<dd title="{row["metric"]}">{brief(row["metric"], 5)}</dd>' in text
    assert "<dt>Length of the training</dt><dd>the whole" in text and "is better)" in text


def test_a_program_is_explained_and_lists_its_runs(window: Window, root: Path) -> None:
    [made] = ask(root / "one", "SELECT child_id, operator FROM mutations WHERE accepted ORDER BY child_id LIMIT 1")
    text = window.page("/program", at="one", id=made["child_id"])
    assert f"Made by the rule {made['operator']}, without a model, which {RULES[made['operator']]}." in text
    runs = ask(root / "one", f"SELECT run_id FROM runs WHERE program_id = '{made['child_id']}'")
    assert runs and set(re.findall(r'href="/run\?at=one&amp;id=(\w+)"', text)) == {run["run_id"] for run in runs}
    assert set(MUTATORS.built_in) <= RULES.keys()
    [row] = ask(root / "one", f"SELECT * FROM credit WHERE method = 'mutation' AND child_id = '{made['child_id']}'")
    limits = interval(row["low"], row["high"], row["n"])
    over = f"it gained {number(row['estimate'], 3, True)} {row['unit']} (95%: {limits})"
    assert row["design"] == "paired" and f"{over} over its parent, on the {row['n']} run seeds that both ran" in text
    [mean] = ask(root / "one", "SELECT avg(verified_gain) AS gain, count(*) AS n FROM runs WHERE stream = 'selection' "
                 f"AND state = 'finished' AND program_id = '{made['child_id']}'")  # fmt: skip
    cells = re.search(r"<tr><td>search on .*?</tr>", text)
    assert cells and f">{number(mean['gain'], 3, True)} nats<" in cells[0] and f">{mean['n']}</td></tr>" in cells[0]


def test_a_study_links_to_its_card_and_the_report_links_back(window: Window) -> None:
    text = window.page("/study", at="one")
    card = window.client.get("/card", params=first(text, "/card"))
    assert card.headers["content-type"].startswith("image/svg+xml") and card.text.startswith("<svg")
    assert "style-src 'unsafe-inline'" in card.headers["content-security-policy"]
    assert first(window.page("/report", **first(text, "/report")), "/study") == {"at": "one"}


def test_a_query_reads_and_nothing_else(window: Window, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert '<td class="cell short">stock<' in window.page("/sql", at="one", q="SELECT name FROM programs")
    assert "estimate" in window.page("/sql", at="one", q="DESCRIBE credit")
    listed = re.findall(r'<td class="cell short">(\w+)<', window.page("/sql", at="one", q="SHOW TABLES"))
    assert set(listed) == {row["name"] for row in ask(root / "one", "SHOW TABLES")} >= set(COMPUTED_VIEWS)
    example = unescape(re.search(r"<textarea[^>]*>([^<]+)<", window.page("/sql", at="one"))[1])  # type: ignore[index]
    assert 'role="alert"' not in window.page("/sql", at="one", q=example) and ask(root / "one", example)
    for query in (f"COPY runs TO '{root}/stolen.csv'", "FROM read_csv('/etc/passwd')", "INSTALL httpfs", "SELEC 1"):
        assert 'role="alert"' in window.page("/sql", at="one", q=query), query
    assert not (root / "stolen.csv").exists()
    text = window.page("/sql", at="one", q="FROM range(5000)")
    assert "1,000 rows, the first ones" in text or "1000 rows, the first ones" in text
    monkeypatch.setattr("meta.window.records.MOST_SECONDS", 0.3)
    began = time.monotonic()
    endless = "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c"
    assert "stopped after 0.3 seconds" in window.page("/sql", at="one", q=endless)
    assert time.monotonic() - began < 200


def test_a_table_rounds_numbers_and_cuts_long_texts_but_has_the_whole_value(window: Window) -> None:
    text = window.page("/sql", at="one", q="SELECT -0.0123456789::DOUBLE AS a, 12345678 AS b, repeat('long ', 40) AS c")
    assert 'title="-0.0123456789">\u22120.012346<' in text and ">12345678<" in text
    assert f"<details><summary>{'long ' * 17}long…</summary>{'long ' * 40}</details>" in text
    assert minus("[-0.12 to 0.29], v-2, 2026-01-02, p = 2e-06") == "[\u22120.12 to 0.29], v-2, 2026-01-02, p = 2e-06"


def test_credit_shows_the_lines_of_the_champion_and_single_changes_by_their_names(window: Window) -> None:
    waiting = window.page("/credit", at="deep/er/two")
    assert "Computing the estimates" in waiting and 'content="0; url=/credit?at=deep%2Fer%2Ftwo&amp;now=1"' in waiting
    assert "Single changes" in window.page("/credit", at="deep/er/two", now="1")
    assert "Computing" not in window.page("/credit", at="deep/er/two")
    text = window.page("/credit", **first(window.page("/study", at="one"), "/credit"), now="1")
    assert "Early estimates" not in text and "alone, on the untouched script" in text
    assert "estimated effect of each directive" in text and '<div class="passage' in text
    table = text.partition('id="changes"')[2]
    rows = re.findall(r"<tr class=\"row\"><td[^>]*>(?:<details><summary>)?([^<]+)<", table)
    assert 0 < len(rows) <= 30 and any("=" in label or label.startswith("+") for label in rows)
    figures = re.findall(r'<td class="cell right"[^>]*>([^<]+)<', table)
    assert (
        figures and max(len(one.partition(".")[2]) for one in figures) <= 4 and not any("e" in one for one in figures)
    )
    q = [figure(value, 3, least=0.001).text for value in (9.94e-06, 0.0093953, 0.05, None)]
    assert q == ["<.001", "0.009", "0.050", "–"] and figure(-0.697, 2).text == minus("-0.70")
    query = first(table, "/sql")
    assert rows[0] in window.page("/sql", **query)


def test_self_reported_gains_are_nowhere_called_verified(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    study = window.page("/study", at="one")
    links = [(path, first(study, path)) for path in ("/run", "/program")]
    for trust in ("verified", "scored"):
        monkeypatch.setitem(WHY, trust, "as if the script printed it")
    for path, query in [("/study", {"at": "one"}), *links]:
        text = window.page(path, **query)
        assert "Retrained gain" in text and "verified gain" not in text.lower(), path


def test_what_is_not_there_is_said_and_harms_nothing(window: Window) -> None:
    for path, values in (
        ("/study", {"at": "none"}),
        ("/run", {"at": "one", "id": "r0"}),
        ("/study", {"at": "../x"}),
        ("/experiment", {"at": "one", "id": "e0"}),
        ("/program", {"at": "one", "id": "p0"}),
    ):
        assert "there is no" in window.page(path, 404, **values)  # fmt: skip
    window.page("/static/app.py", 404)
    window.page("/")


def test_a_study_that_goes_on_is_followed_and_a_new_one_appears(root: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "live" / "ledger"
    ledger.mkdir(parents=True)
    (ledger.parent / "study.toml").write_bytes((root / "one" / "study.toml").read_bytes())
    lines = (root / "one" / "ledger" / "main-1.jsonl").read_bytes().splitlines(keepends=True)
    (ledger / "main-1.jsonl").write_bytes(b"".join(lines[:3]))
    opened = Window(tmp_path)
    try:
        until_read(opened)
        assert "champion" not in opened.page("/study", at="live")
        with opened.client.stream("GET", "/events", params={"at": "live"}) as events:
            lines_sent = events.iter_lines()
            seen = next(line for line in lines_sent if line.startswith("data:"))
            began = time.monotonic()
            (ledger / "main-1.jsonl").write_bytes(b"".join(lines))
            assert next(line for line in lines_sent if line.startswith("data:")) != seen
            entered = opened.page("/study", at="live")  # in matches, but the ledgers of the runs are not there
            assert ">waiting<" in entered and "<dt>Programs that ran</dt><dd>0<" in entered
            assert time.monotonic() - began < 200
        end = time.monotonic() + 200
        while "champion" not in opened.page("/study", at="live"):
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        opened.close()


def test_a_running_study_shows_how_much_of_its_plan_is_done(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "live"
    shutil.copytree(root / "one", copy)
    whole = ask(copy, "SELECT count(*) AS runs, count(*) FILTER (purpose = 'race') AS opening FROM runs")[0]
    records = [(path, line) for path in (copy / "ledger").iterdir() for line in path.read_bytes().splitlines(True)]
    end = min(json.loads(line)["at"] for _, line in records if json.loads(line)["kind"] == "match_ended")
    for path in {path for path, _ in records}:  # as it was when the opening race ended
        path.write_bytes(b"".join(line for at, line in records if at == path and json.loads(line)["at"] <= end))
    with (copy / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as its process does
        opened = Window(tmp_path)
        try:
            until_read(opened)
            text = " ".join(opened.page("/study", at="live").split())
            (item, _), shown = item_of(load_board(copy)[0], copy), Console(width=80, record=True, file=StringIO())
            shown.print(_screen(load_board(copy)[0], copy, 80))
            [kept] = ask(copy, "SELECT run_id, max_by(gain, number) AS gain FROM experiments WHERE decision = 'keep' "
                               "GROUP BY run_id ORDER BY run_id LIMIT 1")  # fmt: skip
            for path in (copy / "ledger").iterdir():  # and if that run had not ended
                lines = path.read_bytes().splitlines(True)
                path.write_bytes(b"".join(line for line in lines if not is_end_of(json.loads(line), kept["run_id"])))
            under_way = opened.page("/run", at="live", id=kept["run_id"])
            card, credit = opened.page("/card", at="live"), opened.page("/credit", at="live", now="1")
        finally:
            opened.close()
    assert "did not see. Programs of the search are also chosen by these gains." in text
    early = f"is still running: these estimates come from its {item['experiments']:,} experiments so far"
    assert early in credit and "</strong> The study" in credit
    done = re.search(r"</progress> (\d+)&nbsp;of&nbsp;(\d+) planned runs ended; time left: about ([\d.]+) ", text)
    assert done and int(done[1]) == whole["opening"] and whole["runs"] <= int(done[2]) <= whole["runs"] + 6, whole
    said = shown.export_text()
    assert f"{done[1]} of {done[2]} runs ended" in said and f"time left: about {done[3]} " in said, said
    assert "No verdict yet: " in card and "nothing is decided" in card and ">stock" in card
    assert "verified gain" in said and re.search(r"[+-]\d\.\d{4} \(\d\)", said) and "opening race" in said, said
    assert item["runs_planned"] == int(done[2]) and item["seconds_left"] > 0
    assert f"claimed gain {number(kept['gain'], 4, True)};" in under_way and " so far" in under_way


def test_beside_a_confirmation_the_trust_is_that_of_the_search() -> None:
    board, match = SimpleNamespace(champion=None, trusts={"scored"}), SimpleNamespace(event={"stream": "confirmation"})
    said = study_page.trust(board, match)  # type: ignore[arg-type]
    assert said[1] == "scored" and said[2].startswith("the experiments of the search were trained in a sandbox")
    assert "the data of the match below are not used to choose programs" in said[2]
    match.event["stream"] = "selection"
    assert "search" not in study_page.trust(board, match)[2]  # type: ignore[arg-type]


def is_end_of(record: dict[str, object], run_id: str) -> bool:
    return record["kind"] == "run_ended" and record["run_id"] == run_id


CHANGED = """(() => {  // the answer on the next return to the page
  const get = fetch;
  window.fetch = async (...all) => {
    const text = await (await get(...all)).text();
    return new Response(text.replace("</main>", "<p id='added'></p></main>"));
  };
  Object.defineProperty(document, "hidden", { value: false, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
})()"""


@pytest.mark.slow
@pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium")
def test_in_a_browser_nothing_is_cut_off_and_the_keys_work(window: Window) -> None:
    command = found()
    assert command is not None
    with Browser(command) as browser:
        go(browser, f"{window.url}/?token={TOKEN}")
        study = window.page("/study", at="one")
        paths = ["/", "/study?at=one", "/sql?at=one&q=FROM+runs", "/credit?at=one"]
        paths += [f"{path}?{httpx.QueryParams(first(study, path))}" for path in ("/run", "/program")]
        paths += [f"/experiment?{httpx.QueryParams(first(window.page('/run', **first(study, '/run')), '/experiment'))}"]
        for path in paths:
            for width in (1280, 360):
                go(browser, window.url + path, width)
                browser.value(LONG_NAMES)
                assert browser.value("document.documentElement.scrollWidth") <= width, (path, width)
                assert browser.value(f"{STACKED}.every((one) => one.scrollWidth <= one.clientWidth)"), (path, width)
                assert browser.value(f"{WHOLE}.every((one) => one.scrollHeight <= one.clientHeight)"), (path, width)
                assert browser.value(f"{STACKED}.length") > 0 or not path.startswith("/study")
        go(browser, f"{window.url}/")
        press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true}}))"
        browser.value(press.format("j"))
        assert browser.value("document.activeElement.className") == "open"
        browser.value(press.format("/"))
        assert browser.value("document.activeElement.id") == "find"
        browser.value(
            "document.activeElement.value = 'deep';"
            "document.activeElement.dispatchEvent(new InputEvent('input', {bubbles: true}))"
        )
        until(browser, "[...document.querySelectorAll('.studies li')].filter((one) => !one.hidden).length === 1")
        browser.value("document.activeElement.blur()")
        browser.value("shown = document.querySelector('.studies')")
        hidden_and_back(browser)
        kept = "document.getElementById('find').value === 'deep' && document.querySelector('.studies') === shown"
        assert browser.value(f"{kept} && document.getElementById('live').hidden")  # nothing has changed
        browser.value(CHANGED)
        until(browser, "document.getElementById('added') !== null && !document.getElementById('live').hidden")
        assert browser.value("document.getElementById('find').value") == "deep"
        assert not browser.complaints()
