"""Main, whose blocks are commits: read again, merged, not overwritten, taken back with their descendants; its audit
passes an honest one and notices each altered one."""

from __future__ import annotations

import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from arena.audit.verify import How
from arena.home.audit import problems, retrain
from arena.home.chain import COMMITTER, Chain, Trailers, Voided, merged, read_trailers
from arena.home.host import ProjectHost
from arena.home.project import Project, Volunteer
from arena.home.state import state_of
from arena.home.verifying import Verifier
from arena.study.study import Study
from programs.common.errors import Corrupt
from tests.arena.home.clients import Client, better, new_project, states, work
from tests.arena.home.serving import get, serving
from tests.meta.cli_study import metaloop, on_terminal
from tests.serving import wait_for
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


def test_link_commit_without_trailers_and_damage_are_noticed(two_blocks: Project, tmp_path: Path) -> None:
    chain = rewritten(two_blocks, tmp_path / "link", lambda trailers: trailers)
    _, first, second = chain.commits()
    row = f"120000 blob {chain.git('hash-object', '-w', '--stdin', data=b'/etc/passwd').strip()}\ttrain.py"
    tree = chain.git("mktree", data=row.encode()).strip()
    author = {"GIT_AUTHOR_NAME": "Bob", "GIT_AUTHOR_EMAIL": "bob@invalid"}
    chain.git(
        "update-ref", "refs/heads/main", chain.write_commit(tree, first, chain.message(second), COMMITTER | author)
    )
    assert any("has a link" in line for line in problems(chain, two_blocks.task))
    chain = Chain(Path(shutil.copytree(two_blocks.chain.folder, tmp_path / "present")))
    chain.append({"train.py": "x = 1\n"}, "a present", "", "Eve", chain.head)
    assert any("no block" in line for line in problems(chain, two_blocks.task))
    chain = Chain(Path(shutil.copytree(two_blocks.chain.folder, tmp_path / "damaged")))
    victim = next(path for path in sorted((chain.folder / "objects").rglob("*")) if path.is_file() and path.stem)
    victim.chmod(0o600)
    victim.write_bytes(b"x")
    assert [line for line in problems(chain, two_blocks.task) if "fsck" in line]


def test_void_block_takes_its_descendants_until_verified_again(chained: Project) -> None:
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


@pytest.mark.slow
def test_host_takes_a_block_back_while_another_process_serves(chained: Project) -> None:
    serve = ["home", "serve", str(chained.folder)]
    assert "a reason is missing" in metaloop(*serve, "--void", "1", code=2).stderr
    assert "no block 0 that can be void" in metaloop(*serve, "--void", "0", "--because", "no", code=2).stderr
    with Study.open(chained.folder):
        metaloop(*serve, "--void", "1", "--because", "a mistake")
        assert "another block is being taken back" in metaloop(*serve, "--void", "2", "--because", "no", code=2).stderr
    command = [sys.executable, "-m", "meta.cli.main", *serve, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # the serve that goes on does it
        assert process.stdout is not None and process.stdout.readline().startswith(b"url\thttp://")
        wait_for(lambda: states(chained)[1][0] == "void")
        process.send_signal(signal.SIGINT)
    assert states(chained)[1] == ("void", "a mistake")
    assert "void already: a mistake" in metaloop(*serve, "--void", "1", "--because", "again", code=2).stderr
    shown = metaloop("status", chained.folder).stdout
    assert re.search(r"\n1\tAnn \(1\)\t0\.\d+\t.*\ta mistake\n", shown)
    assert re.search(r"\n +1  ", on_terminal("status", chained.folder, cwd=chained.folder)[1])  # on the right


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
    _, one, two, _ = rows = state_of(chained).blocks
    assert [row.main_gain for row in rows] == [0.0, one.gain, one.gain + two.gain, one.gain]
    with serving(chained) as url:
        page = get(url)[1]
    assert f"+{one.gain:.4f} after 1 block." in page
    circles = re.findall(r'<circle class="(.*?)".*? cy="(.*?)"', page)
    assert [kind for kind, _ in circles] == ["kept", "kept", "discarded", "kept"]
    heights = [float(height) for _, height in circles]
    assert heights[2] < heights[1] == heights[3] < heights[0]


TRAILERS = Trailers(
    1, 7, 2, "0" * 40, 0.25, 0.1, 0.4, "nats", 3, 1e-5, 12.5, (11, 12), ("7-0", "7-1"), (0.1 + 0.2, 0.2), "h1"
)
FIRST = {"train.py": "a = 1\n", "lib/model.py": "b = 2\n"}


@pytest.fixture
def empty(tmp_path: Path) -> Chain:
    made = Chain(tmp_path / "main.git")
    made.create()
    return made


def test_blocks_are_commits_that_a_clone_can_read(empty: Chain, tmp_path: Path) -> None:
    assert empty.head == ""
    zero = empty.append(FIRST, "The baseline", "", "host", "")
    one = empty.append({**FIRST, "train.py": "a = 2\n"}, "Block 1", TRAILERS.lines(), "Ann <x>\n", zero)
    assert empty.head == one and empty.commits() == [zero, one]
    assert empty.files(zero) == FIRST and empty.files(one)["train.py"] == "a = 2\n"
    assert read_trailers(empty.message(one)) == TRAILERS and read_trailers(empty.message(zero)) is None
    subprocess.run(["git", "clone", "-q", str(empty.folder), str(tmp_path / "copy")], check=True)
    assert (tmp_path / "copy/lib/model.py").read_text() == "b = 2\n"
    shown = ["git", "-C", str(tmp_path / "copy"), "log", "-1", "--format=%an|%cn"]
    assert subprocess.check_output(shown, text=True) == "Ann x|metaloop home\n"
    assert not list(empty.folder.glob("index-*"))


def test_an_author_whose_name_git_refuses_is_a_volunteer(empty: Chain) -> None:
    head = ""
    for name in (".", "'", ":;", "<>", ""):
        head = empty.append(FIRST, "The baseline", "", name, head)
        assert empty.git("log", "-1", "--format=%an", head).strip() == "volunteer"


def test_a_head_that_has_moved_is_not_overwritten(empty: Chain) -> None:
    zero = empty.append(FIRST, "The baseline", "", "host", "")
    one = empty.append({**FIRST, "train.py": "a = 2\n"}, "Block 1", TRAILERS.lines(), "Ann", zero)
    with pytest.raises(Corrupt, match="update-ref"):
        empty.append({**FIRST, "train.py": "a = 3\n"}, "Block 1", TRAILERS.lines(), "Bob", zero)
    assert empty.head == one


def test_damaged_trailers_are_said() -> None:
    text = f"Block 1\n\n{TRAILERS.lines()}"
    assert read_trailers(text) == TRAILERS
    with pytest.raises(Corrupt, match="block 1"):
        read_trailers(text.replace("Level: 1e-05", "Level: low"))
    with pytest.raises(Corrupt, match="block 1"):
        read_trailers(text.replace("Seeds: 11 12\n", ""))


BASE = "".join(f"line {i}\n" for i in range(9))
MARKS = "".join(f"{mark * 60} x\n" for _ in range(200) for mark in "<|=")  # a search for conflicts took hours


def with_line(number: int, new: str, text: str = BASE) -> str:
    return text.replace(f"line {number}\n", new)


OURS, THEIRS, BESIDE = with_line(1, "ours\n"), with_line(7, "theirs\n"), with_line(2, "beside\n")


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        (OURS, THEIRS, with_line(1, "ours\n", THEIRS)),
        (OURS, with_line(1, "theirs\n"), None),
        (OURS, BESIDE, with_line(1, "ours\n", BESIDE)),
        (OURS, with_line(2, "beside\nmore\n"), None),
        (OURS, with_line(2, "beside\n", THEIRS), with_line(1, "ours\n", with_line(2, "beside\n", THEIRS))),
        (BASE, THEIRS, THEIRS),
        (OURS, BASE, OURS),
        (OURS, THEIRS + MARKS, with_line(1, "ours\n", THEIRS) + MARKS),
        (OURS, BESIDE + MARKS, None),
    ],
)
def test_texts_are_merged_line_by_line(ours: str, theirs: str, both: str | None) -> None:
    assert merged(BASE, ours, theirs) == both
