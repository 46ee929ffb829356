"""`metaloop home audit` of a clone that a stranger handed over: its configuration, hooks and objects are hostile."""

from __future__ import annotations

import os
import subprocess
import time
import zlib
from hashlib import sha1
from pathlib import Path

import pytest

from analysis.imports.repository import opened
from arena.home.chain import Chain
from meta.cli.main import run
from programs.common import git_command
from programs.common.errors import Corrupt
from trainer.task import Task

KEYS = """
core.fsmonitor core.pager core.editor core.sshCommand core.gitProxy core.askPass core.alternateRefsCommand gpg.program
gpg.ssh.program gpg.x509.program diff.external filter.evil.clean filter.evil.smudge filter.evil.process
diff.evil.textconv merge.evil.driver credential.helper uploadpack.packObjectsHook remote.evil.uploadpack
"""
SIGNED = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose main is honest, with every setting, hook and remote that could start evil.sh."""
    chain, task = Chain(tmp_path / "main.git"), Task.load("strokes")
    chain.create()
    chain.append(dict(task.baseline().files), f"Block 0: the baseline of {task.name}", "", "host", "")
    evil = tmp_path / "evil.sh"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
    evil.chmod(0o755)
    lines = ["[core]\n\trepositoryformatversion = 1\n[log]\n\tshowSignature = true\n"]
    lines += ["[extensions]\n\tpartialClone = evil\n"]
    lines += [f'[remote "evil"]\n\turl = ext::{evil}\n\tpromisor = true\n\tpartialclonefilter = blob:none\n']
    lines += ['[protocol]\n\tallow = always\n[protocol "ext"]\n\tallow = always\n']
    for key in KEYS.split():
        section, name = key.rsplit(".", 1)
        head, _, driver = section.partition(".")
        lines.append((f'[{head} "{driver}"]' if driver else f"[{head}]") + f"\n\t{name} = {evil}\n")
    (chain.folder / "config").write_text("".join(lines))
    (chain.folder / "info").mkdir(exist_ok=True)
    (chain.folder / "info" / "attributes").write_text("* filter=evil diff=evil merge=evil\n")
    for name in ("reference-transaction", "post-index-change", "fsmonitor-watchman", "pre-auto-gc"):
        hook = chain.folder / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(evil.read_text())
        hook.chmod(0o755)
    return chain.folder


def store(folder: Path, kind: str, content: bytes) -> str:
    whole = f"{kind} {len(content)}\0".encode() + content
    name = sha1(whole).hexdigest()
    path = folder / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(whole))
    return name


def head(folder: Path) -> str:
    return (folder / "refs" / "heads" / "main").read_text().strip()


def signed(folder: Path) -> str:
    """The head with a junk signature."""
    content = zlib.decompress((folder / "objects" / head(folder)[:2] / head(folder)[2:]).read_bytes())
    before, _, after = content.partition(b"\0")[2].partition(b"\n\n")
    name = store(folder, "commit", before + b"\n" + SIGNED.encode() + b"\n" + after)
    (folder / "refs" / "heads" / "main").write_text(name + "\n")
    return name


def test_nothing_that_its_configuration_names_is_run(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = signed(clone)
    plain = ["git", "--git-dir", str(clone), "log", "-1"]
    subprocess.run(plain, capture_output=True, check=False, timeout=60)
    assert (tmp_path / "ran").exists(), "the trap is none"
    (tmp_path / "ran").unlink()
    assert run(["home", "audit", str(clone), "--blocks", "0"]) == 0
    assert "0 problems" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()
    with opened(clone) as commits:
        assert commits.join(name) is not None
    assert not (tmp_path / "ran").exists()


def test_missing_object_is_not_fetched_from_the_named_remote(clone: Path, tmp_path: Path) -> None:
    with Chain.borrowed(clone) as chain:
        [blob] = [row for row in chain.git("ls-tree", "-r", head(clone)).split() if len(row) == 40]
    (clone / "objects" / blob[:2] / blob[2:]).unlink()
    subprocess.run(
        ["git", "--git-dir", str(clone), "cat-file", "blob", blob], capture_output=True, check=False, timeout=60
    )
    assert (tmp_path / "ran").exists(), "the trap is none"
    (tmp_path / "ran").unlink()
    with Chain.borrowed(clone) as chain:
        assert chain.check()
        with pytest.raises(Corrupt):
            chain.files(head(clone))
    assert run(["home", "audit", str(clone), "--blocks", "0"]) == 1
    assert not (tmp_path / "ran").exists()


def test_the_hosts_own_commands_run_no_hook_either(clone: Path, tmp_path: Path) -> None:
    """A project's folder may come from someone else, too."""
    chain = Chain(clone)
    commit = chain.append({"train.py": "x = 1\n"}, "one", "", "host", chain.head)
    assert chain.message(commit) and chain.parents(commit) and chain.files(commit)
    assert not (tmp_path / "ran").exists()


def test_task_that_a_commit_names_is_not_loaded_from_a_folder(
    clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "task.toml").write_text("[task]\n")
    chain = Chain(tmp_path / "other.git")
    chain.create()
    chain.append({"train.py": "x = 1\n"}, f"Block 0: the baseline of {tmp_path}/task", "", "host", "")
    assert run(["home", "audit", str(chain.folder), "--blocks", "0"]) == 2
    assert "not part of metaloop" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["refs/heads/main", "packed-refs"])
def test_a_pipe_in_place_of_a_reference_ends_it_at_once(clone: Path, name: str) -> None:
    (clone / "refs" / "heads" / "main").unlink()
    os.mkfifo(clone / name)
    begin = time.monotonic()
    assert run(["home", "audit", str(clone), "--blocks", "0"]) == 1
    assert time.monotonic() - begin < 20


def test_trees_that_unfold_for_ever_and_huge_objects_are_refused(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten trees within one another, ten times each: ten thousand million files in two thousand bytes."""
    entry, mode = store(clone, "blob", b"x"), "100644"
    for _ in range(10):
        entry = store(clone, "tree", b"".join(f"{mode} {n}\0".encode() + bytes.fromhex(entry) for n in range(10)))
        mode = "40000"
    monkeypatch.setattr(git_command, "MOST_OUTPUT", 1 << 20)
    with Chain.borrowed(clone) as chain, pytest.raises(Corrupt):
        chain.files(entry)
    big = store(clone, "blob", bytes(64 << 20))
    tree = store(clone, "tree", b"100644 train.py\0" + bytes.fromhex(big))
    with Chain.borrowed(clone) as chain, pytest.raises(Corrupt, match="or more"):
        chain.files(tree)
    latin = store(clone, "tree", b"100644 train.py\0" + bytes.fromhex(store(clone, "blob", b"\xff\xfe")))
    with Chain.borrowed(clone) as chain, pytest.raises(Corrupt, match="UTF-8"):
        chain.files(latin)
