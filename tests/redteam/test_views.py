"""Login keys of the user: whatever is shown to a sandbox, what is in there looks for them, and finds none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inner_loop.agents import recipe as agent_recipe
from inner_loop.agents.job import agent_job
from inner_loop.agents.worktree import shown_files
from programs.common.errors import TaskError, UsageError
from tests.redteam.harness import Harm
from tests.trainer.foreign_repos import command_task, store, write_files
from trainer.commands.init import Drafting, write
from trainer.commands.task_toml import Wanted
from trainer.commands.view import readable_path, with_shown_paths
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Job, Limits
from trainer.jobs.sandboxed import run_sandboxed
from trainer.outcome import Cache
from trainer.sandbox import bwrap, login_keys
from trainer.streams import Streams
from trainer.task import Task

pytestmark = pytest.mark.skipif(bwrap.probe() is not None, reason=str(bwrap.probe()))
KEY = "redteam-login-key-4711"
OPEN = "redteam-plain-data-0815"
KEYS = (
    "token", "stored_tokens", "deep/er/.env", "deep/.netrc", "deep/.git-credentials", "id_rsa", "deep/id_ed25519_work",
    "server.pem", "deep/private.key", "credentials.json", "deep/Application_Default_Credentials.JSON", "auth.json",
    "deep/hf_token", "kaggle.json", "store.p12", ".npmrc", "pip.conf", ".ssh/known", "deep/.aws/config", ".config/gh/x",
    "client_secret_1.json", "secrets.toml", "deep/cookies.sqlite",
)  # fmt: skip
DATA = (
    "tokenizer.json", "tokens.bin", "special_tokens_map.json", "id_map.json", "keys.txt", "public.pem",
    "deep/monkey.txt", "deep/botocore/credentials.py",
)  # fmt: skip
WANTED = Wanted(
    command="python train.py", metric="loss", direction="lower", budget=20.0, editable=["train.py"], noise="unknown"
)
LOOK = r"""
import os, sys
def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""
found, python = set(), {os.path.realpath(place) for place in (sys.prefix, sys.base_prefix)}
for root in sys.argv[1:]:
    for folder, names, files in os.walk(root, followlinks=True):
        # the packages are gigabytes of no key, and lie below /tmp where the tests run in a fresh clone
        names[:] = [name for name in names if os.path.realpath(os.path.join(folder, name)) not in python]
        for name in [*names, *files]:
            text = read(os.path.join(folder, name))
            found |= {word for word in text.split() if word.startswith("redteam-")}
print("LOOKED", *sorted(found))
"""


def lay(root: Path) -> Path:
    """A folder of data in which keys lie, and links to them under other names."""
    for name in KEYS:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"-----BEGIN PRIVATE KEY-----\n{KEY}\n")
    for name in DATA:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"-----BEGIN CERTIFICATE-----\n{OPEN}-{name.replace('/', '-')}\n")
    (root / "weights.bin").symlink_to("token")
    (root / "deep" / "up").symlink_to("../id_rsa")
    (root / "all").symlink_to("deep")
    (root / "blobs").mkdir()
    (root / "blobs" / "0123").write_text(KEY)
    (root / "deep" / "access_token").symlink_to("../blobs/0123")  # as the hub's cache has its files
    for folder, _, files in os.walk(root):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(Path(folder, name), 0o644)
    return root


def judge(said: str) -> None:
    """Harm where a key was read; the data are all there."""
    assert "LOOKED" in said, said
    if KEY in said:
        raise Harm(f"a key was read: {said}")
    assert {f"{OPEN}-{name.replace('/', '-')}" for name in DATA} <= set(said.split()), said


def command(readable: list[str], *roots: str) -> str:
    files = {"look.py": LOOK.encode(), "conf/token": KEY.encode(), "a.pem": KEY.encode()}
    files["b.pem"] = f"PRIVATE KEY {KEY}".encode()
    job = Job(["python3", "look.py", "/task", *roots], files, Limits(60.0, 200.0))
    log = run_sandboxed(with_shown_paths(job, readable, sandboxed=True)).log
    return log.replace(KEY, "a certificate", 1)  # a.pem, which is none


@pytest.mark.exploit(48)
def test_no_key_is_in_what_a_command_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 by its own path, through a link to the folder, and at its place in the command's home."""
    data, home = lay(tmp_path / "data"), tmp_path / "home"
    lay(home / ".cache" / "theirs")
    (tmp_path / "linked").symlink_to(data)
    monkeypatch.setenv("HOME", str(home))
    judge(command([str(data)], str(data)))
    judge(command([str(tmp_path / "linked")], str(tmp_path / "linked")))
    judge(command(["~/.cache/theirs"], "/home/work/.cache/theirs"))


@pytest.mark.exploit(48)
def test_no_key_is_in_what_an_agent_sees(tmp_path: Path) -> None:
    """48 in what the user names as readable, and beside an agent's own installation."""
    (tmp_path / "worktree").mkdir()
    data, prefix = lay(tmp_path / "data"), tmp_path / ".local"
    program = prefix / "lib" / "node_modules" / "agent" / "cli.js"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    login = prefix / "share" / "opencode" / "auth.json"  # where opencode keeps its login
    login.parent.mkdir(parents=True)
    for path in (login, login.with_name("more"), program.with_name("token")):
        path.write_text(KEY)
    _, installed = agent_recipe.find(agent_recipe.Recipe(command=[str(program)]))
    words = ["python3", "-c", LOOK, str(data), str(prefix), "/home", "/tmp"]
    judge(run_sandboxed(agent_job(words, tmp_path / "worktree", readable=(data, *installed))).log)
    for name in ("token", "weights.bin", "server.pem"):
        with pytest.raises(UsageError, match="may contain keys"):
            agent_job(["true"], tmp_path / "worktree", readable=(data / name,))


@pytest.mark.exploit(48)
def test_a_key_that_comes_with_a_repository_stays_there(tmp_path: Path) -> None:
    """48 neither in the task that `task init` writes, nor in an agent's worktree of a task that names it."""
    place = repository(tmp_path / "repo", "")
    (place / "deploy").mkdir()
    for name in ("deploy/server.pem", "deploy/credentials.json", "token"):
        (place / name).write_text(f"PRIVATE KEY {KEY}")
    found = Drafting(place).draft(WANTED)
    assert "server.pem" not in found.toml and "credentials.json" not in found.toml and '"token"' not in found.toml
    assert any(fact.field == "left out" and fact.value == "token" for fact in found.facts)
    write(found, None)
    toml = place / "task.toml"
    toml.write_text(toml.read_text().replace('read_only = ["', 'read_only = ["token", "deploy/server.pem", "'))
    task = Task.load(place)
    assert {"token", "deploy/server.pem"} <= {name for name, _ in task.read_only_files}
    assert not any(KEY.encode() in data for _, data in shown_files(task))


def repository(place: Path, mention: str) -> Path:
    """Its train.py reads every file of the user's cache that it can find, and prints it."""
    place.mkdir()
    (place / "program.md").write_text("Run `python train.py` and lower the loss. Only `train.py` is edited.\n")
    body = LOOK.replace("sys.argv[1:]", 'os.path.expanduser("~"), "/home", "/tmp"')
    (place / "train.py").write_text(f"{mention}\n{body}\nprint('loss: 1.0')\n")
    (place / "prepare.py").write_text("TIME = 1\n")
    return place


MENTIONS = (
    "# the data: ~/.cache/huggingface",
    "x = '~/.cache/huggingface/hub'",
    "e = '~/.cache/theirs/../huggingface'",
)


@pytest.mark.exploit(48)
@pytest.mark.parametrize("mention", MENTIONS)
def test_a_line_that_mentions_a_cache_does_not_show_it(
    mention: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 the login of the hub was read by train.py and stood in the study's cache afterwards."""
    home = tmp_path / "home"
    for name in ("huggingface/token", "huggingface/hub/x", "mozilla/x", "theirs/token"):
        (home / ".cache" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / ".cache" / name).write_text(KEY)
    monkeypatch.setenv("HOME", str(home))
    place = write(Drafting(repository(tmp_path / "repo", f"HOME = ''\nimport os\n{mention}")).draft(WANTED), None)
    toml = (place / "task.toml").read_text()
    assert "huggingface" not in toml and "mozilla" not in toml
    if mention.startswith("# the data"):  # one is enough: each trains
        task = Task.load(place)
        data = DataStore(task, Streams.from_seed(1), tmp_path / "data")
        trainer = Trainer(task, data, cache=Cache(tmp_path / "cache"))
        outcome = trainer.run(Spec(task.baseline(), 1))
        assert outcome.status == "ok" and "LOOKED" in outcome.log, outcome
        kept = "".join(path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file())
        if KEY in outcome.log or KEY in kept:
            raise Harm("the login was read")


@pytest.mark.exploit(48)
def test_a_task_cannot_name_a_shared_cache_or_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """48 also not through a link, nor in another place where the cache is; a model's own folder can be named."""
    home = tmp_path / "home"
    lay(home / ".cache" / "huggingface" / "hub" / "models--a--b")
    (home / ".cache" / "huggingface" / "token").write_text(KEY)
    (home / "data").symlink_to(home / ".cache" / "huggingface")
    (tmp_path / "moved" / "torch").mkdir(parents=True)
    (home / "plain").mkdir()
    (home / "plain" / "id_rsa").write_text(KEY)
    (home / "plain" / "file").symlink_to("id_rsa")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "moved"))
    for text in ("~/.cache", "~/.cache/huggingface", "~/.cache/huggingface/hub", "~/.cache/huggingface/token", "~/data",
                 str(home / "data"), str(tmp_path / "moved"), str(tmp_path / "moved" / "torch"), "~/plain/id_rsa",
                 "~/plain/file", "~/.cache/HuggingFace"):  # fmt: skip
        with pytest.raises(TaskError):
            readable_path(text)
    assert readable_path("~/.cache/huggingface/hub/models--a--b").is_dir()
    judge(command(["~/.cache/huggingface/hub/models--a--b"], "/home/work"))


def test_the_model_that_the_code_fetches_is_shown_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    for name in ("huggingface/hub/models--o--m/x", "huggingface/hub/models--o--other/x", "huggingface/token", "mine/x"):
        (home / ".cache" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / ".cache" / name).write_text("data")
    monkeypatch.setenv("HOME", str(home))
    lines = "M = \"AutoModel.from_pretrained('o/m')\"\n"
    found = Drafting(repository(tmp_path / "repo", lines)).draft(WANTED)
    shown = {fact.value for fact in found.facts if fact.field == "readable"}
    assert shown == {"~/.cache/huggingface/hub/models--o--m"}


def test_names_of_data_are_no_names_of_keys() -> None:
    assert [name for name in DATA if login_keys.is_key(name, b"CERTIFICATE")] == []
    assert [
        name for name in KEYS if not login_keys.is_key(name) and not set(Path(name).parts) & {*login_keys.FOLDERS}
    ] == []


@pytest.mark.parametrize("shown", ["project", "project/studies", "project/studies/s", "project/studies/other/rows"])
def test_command_with_readable_project_sees_no_secret_of_study(shown: str, tmp_path: Path) -> None:
    """5.12 the study, and others beside it, lie in a folder that the task shows to its command, or are shown."""
    study = tmp_path / "project" / "studies" / "s"
    for folder in (study, study.with_name("other")):
        write_files(folder, {"study.toml": f'secret = "{KEY}"\n', "rows/a.txt": KEY})
    write_files(tmp_path / "project", {"data/plain.txt": OPEN})
    code = (
        "import os\nprint('loss: 1')\nfor top, _, names in os.walk(%r):\n    for name in names:\n"
        "        print(open(os.path.join(top, name)).read())\n"
    )
    task = command_task(
        tmp_path / "task", {"train.py": code % str(tmp_path / "project")}, f"readable = ['{tmp_path / shown}']"
    )
    trainer = Trainer(task, store(task, study / "data"))
    try:
        outcome = trainer.run(Spec(task.baseline(), 1))
    except TaskError as error:
        assert "must not see" in error.message and shown.count("/") > 1
        return
    assert outcome.metric == 1.0 and KEY not in outcome.log
    assert OPEN in outcome.log or shown != "project"
