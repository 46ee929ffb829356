"""A copy to give away: the same figures, no secret, no path of this machine, and nothing can be continued in it."""

from __future__ import annotations

import shutil
import socket
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.ledger import Ledger, check, read
from analysis.study import query
from arena.settings import StudyConfig
from bench.whole import whole_study
from meta.study.share import Cleaner, share, verified
from programs.errors import Corrupt
from programs.shelf import starter
from tests.studies import TINY, planted, study_on
from trainer.task import Task

from .cli_study import cli, metaloop

FIGURES = "SELECT run_id, name, role, verified_gain, device_seconds_charged, experiments FROM runs ORDER BY ALL"
FAULT = {
    "kind": "of-a-later-version",
    "message": "no space left on /home/someone/disk/a b.txt, see http://host.org/a/b and /dev/shm/x",
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a task that lies at a path, with a path in a record, too."""
    folder = tmp_path_factory.mktemp("share")
    task = planted(folder / "task")
    whole_study(task, replace(TINY, run_budget=0.8), 1, folder / "study")
    with Ledger(folder / "study" / "ledger", "main") as ledger:
        ledger.append(FAULT)
        ledger.finish()
    (folder / "study" / "champion.evidence.md").write_text(f"metaloop verify {folder}/study\n")
    return folder / "study"


@pytest.fixture(scope="module")
def copy(study: Path) -> Path:
    target = study.parent / "copy"
    said = share(study, target)
    assert "the files of the task" in said[0] and "are not in the copy" in said[0]
    return target


def test_the_copy_has_the_same_figures_and_a_sound_ledger(study: Path, copy: Path) -> None:
    assert query(copy, FIGURES) == query(study, FIGURES) and len(query(copy, FIGURES)) > 10
    assert check(copy / "ledger") == []
    for view in ("credit", "mutations", "champions", "programs"):
        assert query(copy, f"FROM {view} ORDER BY ALL") == query(study, f"FROM {view} ORDER BY ALL")


def test_neither_the_secret_nor_a_path_of_this_machine_is_in_it(study: Path, copy: Path) -> None:
    secret = StudyConfig.read(study / "study.toml").secret
    texts = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert {path.name for path in texts} >= {"study.toml", "champion.evidence.md", "main-1.jsonl"}
    for path, raw in texts.items():
        for private in (secret, str(study.parent), "/home/someone", "secret ="):
            assert private.encode() not in raw, (path, private)
    assert (copy / "champion.evidence.md").read_text() == "metaloop verify …/study\n"


def test_what_is_no_path_of_this_machine_stays() -> None:
    clean = Cleaner()
    for text in ("http://host.org/a/b", "/dev/shm/x", "a/b/c", "1/2", "/usr/bin/env python", "and/or", "~/studies/a"):
        assert clean.text(text) == text
    assert clean.text(str(FAULT["message"])).startswith("no space left on …/a b.txt")
    assert clean.text('File "/work/x/train.py", line 3') == 'File "…/train.py", line 3'


@pytest.mark.parametrize("host", ["search", "strokes", "total", "lr", "baseline", "gpu-node-17"])
def test_copy_on_a_host_with_an_ordinary_name_has_the_same_records(
    host: str, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that the study uses for something else stays, and the command says so."""
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    source, script = tmp_path / "source", "x = total /batch/steps\n"
    shutil.copytree(study, source)
    with Ledger(source / "ledger", "other") as ledger:
        ledger.append({"kind": "of-a-later-version", "stream": "search", "of": ["strokes-v2"]})
        ledger.finish()
    (source / "best_train.py").write_text(script)
    (source / "champion.evidence.md").write_text("measured on gpu-node-17, in total\n")
    said = " ".join(share(source, tmp_path / "copy"))
    for view in ("runs", "credit", "mutations", "champions", "programs"):
        assert query(tmp_path / "copy", f"FROM {view} ORDER BY ALL") == query(source, f"FROM {view} ORDER BY ALL")
    streams = [record.get("stream") for record in read(tmp_path / "copy" / "ledger")]
    assert "search" in streams and (tmp_path / "copy" / "best_train.py").read_text() == script
    assert "best_train.py names /batch/steps" in said
    assert (f"the name of this machine, {host}, stays" in said) == (host in ("search", "strokes", "lr", "baseline"))
    page = (tmp_path / "copy" / "champion.evidence.md").read_text()
    assert ("HOST" in page) == (host in ("total", "gpu-node-17"))


def test_it_can_be_read_and_not_continued(copy: Path, tmp_path: Path) -> None:
    for words in (("standings",), ("report", "-o", str(tmp_path / "r.html")), ("status",)):
        done = metaloop(words[0], copy, *words[1:], cwd=tmp_path)
        assert "warning" not in done.stderr, done.stderr
    done = cli("evolve", "--resume", copy, cwd=tmp_path)
    assert done.returncode and "shared copy without the secret" in done.stderr
    with study_on(tmp_path / "s", Task.load("strokes")) as own:
        own.admit(starter("stock"), generation=0, operator="starter")
    share(tmp_path / "s", tmp_path / "shared")
    metaloop("export", "shared", "--for", "prose", "--program", "p", cwd=tmp_path)


def test_the_ledger_of_a_copy_is_checked(study: Path, copy: Path, tmp_path: Path) -> None:
    told = cli("export", study, "--zip", "-o", "other.zip", cwd=tmp_path).stderr
    refused = cli("verify", "other.zip", cwd=tmp_path)
    assert refused.returncode and "zipfile -e other.zip . unpacks it; then name other instead" in refused.stderr
    shutil.unpack_archive(tmp_path / "other.zip", tmp_path)
    done = metaloop("verify", "other", "--json", cwd=tmp_path)
    assert "No script was trained again" in done.stderr, done.stderr
    found = done.json
    assert found["verdict"] == "consistent" and found["programs"] > 2
    assert f"its ledger ends with {found['head']}; metaloop verify other checks it" in told
    named = cli("verify", "r1", "-s", copy, cwd=tmp_path)
    assert named.returncode and "no run can be trained again" in named.stderr, named.stderr
    (segment,) = (tmp_path / "other" / "ledger").glob("main-*.jsonl")
    segment.write_text(segment.read_text().replace("nats", "Nats", 1))
    changed = cli("verify", "other", cwd=tmp_path)
    assert changed.returncode and not changed.stdout


def test_records_cut_off_and_another_champion_are_found(copy: Path, tmp_path: Path) -> None:
    cut, other = tmp_path / "cut", tmp_path / "other"
    for target in (cut, other):
        shutil.copytree(copy, target)
    (segment,) = (cut / "ledger").glob("main-*.jsonl")
    segment.write_bytes(b"".join(segment.read_bytes().splitlines(keepends=True)[:-20]))
    with pytest.raises(Corrupt, match="missing"):
        verified(cut)
    (cut / "ledger" / "end-1.jsonl").unlink()
    with pytest.raises(Corrupt, match="names the last record is missing"):
        verified(cut)
    best, *_ = query(copy, "SELECT program_id, text FROM programs")
    with Ledger(other / "ledger", "main") as ledger:
        ledger.append({"kind": "champion", "program_id": best["program_id"]})
        ledger.finish()
    (other / "champion.md").write_text(best["text"])
    assert verified(other)["records"]
    (other / "champion.md").write_text(best["text"] + "\n- Set `lr=9`.\n")
    with pytest.raises(Corrupt, match="is not the champion of the ledger") as refused:
        verified(other)
    assert refused.value.hint
    show, _, _ = refused.value.hint.partition(" > NEW.md")
    shown = metaloop(*show.split()[1:], cwd=tmp_path)
    (other / "champion.md").write_text(shown.stdout)
    assert verified(other)["records"]


def test_the_command_writes_one_file_and_overwrites_nothing(study: Path, tmp_path: Path) -> None:
    done = metaloop("export", study, "--zip", "-o", "mine.zip", "--json", cwd=tmp_path)
    assert done.json["copy"] == "mine.zip"
    assert "python3 -m zipfile -e mine.zip . && metaloop ui mine" in done.stderr
    packed = cli("standings", "mine.zip", cwd=tmp_path)
    assert packed.returncode and "is one file" in packed.stderr and "zipfile -e mine.zip" in packed.stderr
    with zipfile.ZipFile(tmp_path / "mine.zip") as whole:
        assert "mine/study.toml" in whole.namelist()
    again = cli("export", study, "--zip", "-o", "mine.zip", cwd=tmp_path)
    assert again.returncode and "mine.zip already exists" in again.stderr
    assert not [path for path in tmp_path.iterdir() if path.name != "mine.zip"]
