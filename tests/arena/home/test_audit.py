"""An audit of main: an honest chain passes, each altered one does not; a void block takes its descendants with it."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from arena.audit.verify import How
from arena.home.audit import problems, retrain
from arena.home.chain import COMMITTER, Chain, Trailers, Voided
from arena.home.host import ProjectHost
from arena.home.project import Project, Volunteer
from arena.home.state import state_of
from arena.home.verifying import Verifier
from arena.study.study import Study
from tests.arena.home.clients import Client, better, new_project, states, work
from tests.arena.home.serving import get, serving
from tests.meta.cli_study import metaloop, on_terminal
from trainer.experiment import SOURCE_BYTES
from trainer.streams import Streams


@pytest.fixture(scope="module")
def two_blocks(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two blocks: momentum, then the learning rate, both from the untouched script; beside each other,
    they would be merged in an order by lot. Tests change nothing in it."""
    project = new_project(tmp_path_factory.mktemp("chained") / "p")
    host = ProjectHost(project)
    ann, bob = Client(host, "Ann"), Client(host, "Bob")
    with project.database.write() as connection:  # no name that the host takes; pages escape it all the same
        connection.get_one(Volunteer, bob.number).name = "<script>x</script>|`a`"
    zero = project.chain.head
    ann.propose(better(project, MOMENTUM=0.9), 0.5)
    work(project)
    bob.propose(better(project, LR=0.2), 0.4, base=zero)
    work(project)
    assert {state for state, _ in states(project).values()} == {"merged"}
    return project


@pytest.fixture
def chained(two_blocks: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    return Project.open(Path(shutil.copytree(two_blocks.folder, tmp_path / "chained")))


def rewritten(
    project: Project,
    folder: Path,
    alter: Callable[[Trailers], Trailers],
    alter_files: Callable[[dict[str, str]], dict[str, str]] = dict,
) -> Chain:
    """A copy of main whose second block has other trailers, or other files."""
    chain = Chain(Path(shutil.copytree(project.chain.folder, folder)))
    _, first, second = chain.commits()
    trailers = chain.trailers(second)
    assert isinstance(trailers, Trailers)
    subprocess.run(["git", "--git-dir", folder, "update-ref", "refs/heads/main", first], check=True)
    chain.append(alter_files(chain.files(second)), "Block 2", alter(trailers).lines(), "Bob", first)
    return chain


def test_honest_chain_has_no_problems_and_confirmed_blocks(two_blocks: Project) -> None:
    assert list(problems(two_blocks.chain, two_blocks.task)) == []
    how = How(Streams.from_seed(5), fixed_steps=True)
    audited = retrain(two_blocks.chain, two_blocks.task, how, 1, 6, lambda _: None, random.Random(0))
    assert [row.verdict for row in audited] == ["confirmed"]
    assert audited[0].low is not None and audited[0].low > 0


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda t: replace(t, differences=(*t.differences[:-1], 9.0)), "log e is"),
        (lambda t: replace(t, log_e=99.0), "recorded as 99"),
        (lambda t: replace(t, level=0.05), "more than the error budget grants"),
        (lambda t: replace(t, level=1e-9), "a merge needs"),
        (lambda t: replace(t, gain=9.0), "does not follow"),
        (lambda t: replace(t, high=9.0), "does not follow"),
        (lambda t: replace(t, test=1), "named twice"),
        (lambda t: replace(t, splits=(t.splits[0],) * len(t.splits)), "used twice"),
        (lambda t: replace(t, seeds=t.seeds[1:]), "seeds"),
        (lambda t: replace(t, block=7), "block 7 follows block 1"),
        (lambda t: replace(t, base="0" * 40), "not with the main before it"),
        (lambda t: replace(t, differences=(float("nan"),) * len(t.differences)), "not finite"),
    ],
)
def test_each_altered_trailer_is_noticed(
    two_blocks: Project, tmp_path: Path, alter: Callable[[Trailers], Trailers], why: str
) -> None:
    assert any(why in line for line in problems(rewritten(two_blocks, tmp_path / "m", alter), two_blocks.task))


@pytest.mark.parametrize(
    ("alter", "why"),
    [
        (lambda files: files | {"data.py": "x = 1\n", "evil.py": ""}, "'data.py' is not an editable file"),
        (lambda files: files | {"train.py": files["train.py"] + "#" * SOURCE_BYTES}, "larger than 64 KB"),
        (lambda _: {"other.py": ""}, "'other.py' is not an editable file"),
        (lambda _: {}, "changes nothing"),
    ],
)
def test_audit_files_that_no_proposal_changes_are_noticed(
    two_blocks: Project, tmp_path: Path, alter: Callable[[dict[str, str]], dict[str, str]], why: str
) -> None:
    chain = rewritten(two_blocks, tmp_path / "m", lambda trailers: trailers, alter)
    assert [line for line in problems(chain, two_blocks.task) if why in line and "block 2" in line]


def test_audit_link_in_a_block_is_noticed(two_blocks: Project, tmp_path: Path) -> None:
    chain = rewritten(two_blocks, tmp_path / "m", lambda trailers: trailers)
    _, first, second = chain.commits()
    files, message = chain.files(second), chain.message(second)
    rows = [f"120000 blob {chain.git('hash-object', '-w', '--stdin', data=b'/etc/passwd').strip()}\t{n}" for n in files]
    tree = chain.git("mktree", data="\n".join(rows).encode()).strip()
    commit = chain.write_commit(
        tree, first, message, COMMITTER | {"GIT_AUTHOR_NAME": "Bob", "GIT_AUTHOR_EMAIL": "bob@invalid"}
    )
    chain.git("update-ref", "refs/heads/main", commit)
    assert any("has a link" in line for line in problems(chain, two_blocks.task))


def test_commit_without_trailers_and_damaged_object_are_noticed(two_blocks: Project, tmp_path: Path) -> None:
    chain = Chain(Path(shutil.copytree(two_blocks.chain.folder, tmp_path / "m")))
    chain.append({"train.py": "x = 1\n"}, "a present", "", "Eve", chain.head)
    assert any("no block" in line for line in problems(chain, two_blocks.task))
    chain = Chain(Path(shutil.copytree(two_blocks.chain.folder, tmp_path / "n")))
    victim = next(path for path in sorted((chain.folder / "objects").rglob("*")) if path.is_file() and path.stem)
    victim.chmod(0o600)
    victim.write_bytes(b"x")
    assert [line for line in problems(chain, two_blocks.task) if "fsck" in line]


def test_void_block_takes_its_descendants_until_verified_again(
    chained: Project,
) -> None:
    with Study.open(chained.folder) as study:
        lines: list[str] = []
        verifier = Verifier(chained, study, lines.append)
        verifier.void(1, "it was a mistake")
        verifier.void(1, "once more")
        assert lines == ["Block 3: block 1 is void: it was a mistake"]
    zero, _, _, restored = chained.chain.commits()
    assert chained.chain.files(restored) == chained.chain.files(zero)
    assert isinstance(chained.chain.trailers(restored), Voided)
    assert states(chained) == {1: ("void", "it was a mistake"), 2: ("waiting", "it was built on block 1")}
    work(chained)
    assert states(chained)[2][0] == "merged" and states(chained)[1][0] == "void"
    assert chained.chain.files(chained.chain.head) == better(chained, LR=0.2)
    assert list(problems(chained.chain, chained.task)) == []
    assert [(block.number, bool(block.void)) for block in chained.chain.blocks()] == [
        (0, False), (1, True), (2, True), (3, False), (4, False)
    ]  # fmt: skip
    trailers = chained.chain.trailers(chained.chain.commits()[2])
    assert isinstance(trailers, Trailers)
    again = chained.chain.trailers(chained.chain.head)
    assert isinstance(again, Trailers) and not set(again.splits) & set(trailers.splits)  # fresh data once more


def test_host_takes_a_block_back_while_another_process_serves(chained: Project) -> None:
    serve = ["home", "serve", str(chained.folder), "--void"]
    assert "a reason is missing" in metaloop(*serve, "1", code=2).stderr
    assert "no block 0 that can be void" in metaloop(*serve, "0", "--because", "no", code=2).stderr
    with Study.open(chained.folder):
        metaloop(*serve, "1", "--because", "a mistake")
        assert "another block is being taken back" in metaloop(*serve, "2", "--because", "another", code=2).stderr
    work(chained)
    assert states(chained)[1] == ("void", "a mistake")
    assert "void already: a mistake" in metaloop(*serve, "1", "--because", "again", code=2).stderr
    shown = metaloop("status", chained.folder).stdout
    assert re.search(r"\n1\tAnn \(1\)\t0\.\d+\t.*\ta mistake\n", shown)
    assert re.search(r"\n +1  ", on_terminal("status", chained.folder, cwd=chained.folder)[1])  # on the right


@pytest.mark.slow
def test_the_host_takes_a_block_back_by_the_serve_that_goes_on(chained: Project) -> None:
    command = [sys.executable, "-m", "meta.cli.main", "home", "serve", str(chained.folder), "--port", "0"]
    with subprocess.Popen([*command, "--void", "1", "--because", "a mistake"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline().startswith(b"url\thttp://")
        while states(chained)[1][0] != "void":
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)


def test_pages_show_blocks_and_escape_what_strangers_wrote(chained: Project) -> None:
    with serving(chained) as url:
        _, page = get(url)
        assert "&lt;script&gt;" in page and "<script>x" not in page
        assert f"metaloop home join {url} --name" in page
        _, text = get(f"{url}/llms.txt")
        assert r"\<script\>x" in text and "\n| 2 | " in text
        request = Request(f"{url}/", headers={"Host": "example.org"})
        plain = urlopen(request, timeout=30).read().decode()
        assert "metaloop home join https://HOST" in plain and "ssh -N -L 8331:127.0.0.1:8331 HOST" in plain
        assert '"block":2' in get(f"{url}/api/v1/state")[1]


def test_the_height_of_main_follows_a_void_block(chained: Project) -> None:
    with Study.open(chained.folder) as study:
        Verifier(chained, study, lambda _: None).void(2, "bad")
    rows = state_of(chained).blocks
    assert [row.main_gain for row in rows] == [0.0, rows[1].gain, rows[1].gain + rows[2].gain, rows[1].gain]
    with serving(chained) as url:
        page = get(url)[1]
    assert f"+{rows[1].gain:.4f} after 1 block." in page
    assert re.findall('circle class="(.*?)"', page) == ["kept", "kept", "discarded", "kept"]
    heights = [float(height) for height in re.findall('<circle.*? cy="(.*?)"', page)]
    assert heights[2] < heights[1] == heights[3] < heights[0]
