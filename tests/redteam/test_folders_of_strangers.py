"""Studies of strangers, as folders: pipes, links, devices and records that make no sense where a study has files."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from analysis.ledger import Ledger, check, read
from meta.cli.main import run
from meta.ui.studies import follow
from programs.common.errors import Corrupt, MetaloopError
from programs.shelf import starter
from tests.meta.cli_study import match_event, program_event
from tests.meta.opened_window import Window

SECRET = "canary-41bd"
LIMIT_S = 60  # that nothing waits for a pipe, however slow the machine


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two studies: ``good``, and ``evil``, which is to be spoilt."""
    monkeypatch.chdir(tmp_path)
    for name in ("good", "evil"):
        folder = tmp_path / "all" / name
        with Ledger(folder / "ledger", "main") as ledger:
            ledger.append(program_event(starter("stock"), []))
            ledger.append(match_event([]))
            ledger.finish()
        (folder / "study.toml").write_text("schema = 1\n")
    return tmp_path / "all"


def line(record: object) -> bytes:
    return json.dumps(record).encode() + b"\n"


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def to_zero(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def endless_line(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch()
    os.truncate(path, 1 << 28)  # zeros that take no room; without the limit, all are one line in memory


SPOILT = {
    "pipe": lambda folder: pipe(folder / "ledger" / "zz-1.jsonl"),
    "zero": lambda folder: to_zero(folder / "ledger" / "zz-1.jsonl"),
    "long line": lambda folder: endless_line(folder / "ledger" / "zz-1.jsonl"),
    "nested": lambda folder: (folder / "ledger" / "zz-1.jsonl").write_bytes(b"[" * 60_000 + b"\n"),
    "nested record": lambda folder: (folder / "ledger" / "zz-1.jsonl").write_bytes(
        b'{"kind":"program","x":' + b"[" * 60_000 + b"]" * 60_000 + b"}\n"
    ),
    "key": lambda folder: (folder / "ledger" / "zz-1.jsonl").write_bytes(line({"kind": "experiment"})),
    "type": lambda folder: (folder / "ledger" / "zz-1.jsonl").write_bytes(
        line({"kind": "match", "match_id": {}, "arms": 7, "config": 3, "at": 5})
    ),
    "lock": lambda folder: pipe(folder / "lock"),
    "settings": lambda folder: to_zero(folder / "study.toml"),
}
DAMAGED = ("pipe", "zero", "long line", "key", "type", "lock")


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("how", SPOILT)
def test_damaged_study_neither_stops_the_list_nor_delays_it(
    studies: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    SPOILT[how](studies / "evil")
    assert run(["ls", str(studies), "--json"]) == 0
    rows = {Path(row["study"]).name: row["state"] for row in json.loads(capsys.readouterr().out)["items"]}
    assert rows["good"] == "stopped" and (rows.get("evil") == "damaged") == (how in DAMAGED)
    assert run(["ls", str(studies)]) == 0
    capsys.readouterr()
    done = run(["status", str(studies / "evil")])
    said = capsys.readouterr().err
    assert "unexpected" not in said and "Traceback" not in said and (done > 0) == (how in (*DAMAGED, "settings"))


@pytest.mark.timeout(LIMIT_S)
@pytest.mark.parametrize("how", ["pipe", "zero", "nested"])
def test_every_reader_of_a_ledger_says_which_file_it_is(
    studies: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    SPOILT[how](studies / "evil")
    for words in (["verify"], ["standings"], ["report", "-o", "r.html"], ["sql", "FROM runs", "-s"]):
        assert run([*words[:2], *words[2:], str(studies / "evil")]) in (0, 1, 2)
        said = capsys.readouterr().err
        assert "unexpected" not in said, said
    if how != "nested":
        with pytest.raises(Corrupt, match=r"zz-1\.jsonl"):
            for problem in check(studies / "evil" / "ledger"):
                raise Corrupt(problem)


@pytest.mark.timeout(4 * LIMIT_S)
def test_the_window_follows_the_others_and_shows_it_as_damaged(studies: Path) -> None:
    for how in ("key", "pipe", "lock"):
        shutil.copytree(studies / "evil", studies / f"evil-{how}")
        SPOILT[how](studies / f"evil-{how}")
    window = Window(studies)
    try:
        waiter = threading.Event()
        while not all(one.whole for one in window.studies.followed.values()):
            waiter.wait(0.05)
        page = window.page("/")
        assert page.count('class="state damaged"') == 3
        answer = window.client.get("/study", params={"at": "evil-key"})
        assert answer.status_code == 400 and "damaged" in answer.text
        before = window.studies.followed["good"].version
        with Ledger(studies / "good" / "ledger", "main") as ledger:
            ledger.append(program_event(starter("local"), []))
        while window.studies.followed["good"].version == before:
            waiter.wait(0.05)
    finally:
        window.close()


def test_a_figure_that_cannot_be_shown_is_damage(studies: Path) -> None:
    one = follow("evil", studies / "evil")
    one.look()
    one.study.matches[next(iter(one.study.matches))] = None  # type: ignore[assignment]
    assert one.item() == (None, []) and one.state == "damaged"


def test_ledger_segment_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(SECRET)
    with Ledger(tmp_path / "ledger", "main") as ledger:
        ledger.append(program_event(starter("local"), []))
    (tmp_path / "ledger" / "zz-1.jsonl").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(MetaloopError, match="not a regular file"):
        list(read(tmp_path / "ledger"))
