"""What all tests share: a cache of training data apart from the user's own."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

#: Before torch is imported: where other processes want the cores, two threads wait for each other by spinning, eight
#: times the CPU of one.
os.environ["OMP_NUM_THREADS"] = "1"

#: The same examples in each run; METALOOP_EXAMPLES=N draws N new ones for each property.
EXAMPLES = os.environ.get("METALOOP_EXAMPLES")
settings.register_profile(
    "tests", max_examples=int(EXAMPLES or 25), derandomize=EXAMPLES is None, database=None, deadline=None,
    suppress_health_check=[*HealthCheck],
)  # fmt: skip
settings.load_profile("tests")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def shared(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run of the tests have in common."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


TESTS = Path(__file__).parent
#: Files that take longest, as of all their tests; whatever else takes a minute alone is marked with a timeout.
LONG = ("test_bench.py", "meta/test_cli_study.py", "meta/llm/test_traces.py", "arena/contest/hostile/test_cost.py")


#: Where METALOOP_NO_SKIP is set, a test is skipped for want of one of these only; without a sandbox, a browser, Ray or
#: anything else it fails.
MAY_LACK = re.compile(
    r"Skipped: (needs a GPU|torch is built for CUDA|numbers of x86_64|x86_64 only|only root |needs root|root reads"
    r"|no node here|mini-swe-agent cannot|no system interpreter|no \S+: the kernel's headers|no (writable )?cgroup"
    r"|no pids controller|needs OpenEvolve)"
)


def strict(report: Report) -> Report:
    """A test that was skipped has failed, unless what it lacks may be missing."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if report.skipped and not hasattr(report, "wasxfail") and not MAY_LACK.match(reason):
        report.outcome, report.longrepr = "failed", f"{reason} (METALOOP_NO_SKIP is set)"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return strict(report) if "METALOOP_NO_SKIP" in os.environ else report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return strict(report) if "METALOOP_NO_SKIP" in os.environ else report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores: a quarter of the time the tests wait, for a disk, a process or a limit."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else len(os.sched_getaffinity(0)) + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files without a slow test are not imported where only those are wanted."""
    wanted = config.getoption("markexpr") != "slow" or not collection_path.match("test_*.py")
    return None if wanted or "slow" in collection_path.read_text(encoding="utf-8") else True


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What is imported for the tests stays: looking through it for garbage took a third of the time."""
    gc.disable()
    try:
        _import_files(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _import_files(config: pytest.Config) -> None:
    """In a fresh clone pytest rewrites the assertions of each file, half of what it takes to collect all: the processes
    of pytest-xdist begin at different files, so that each finds most of them done by the others."""
    told: dict[str, Any] | None = getattr(config, "workerinput", None)
    if told is None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS or sys.dont_write_bytecode:
        return
    files = [path for path in sorted(TESTS.rglob("test_*.py")) if not pytest_ignore_collect(path, config)]
    first = len(files) * int(told["workerid"].removeprefix("gw")) // told["workercount"]
    for path in files[first:] + files[:first]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # told when it is collected
            importlib.import_module(".".join(path.relative_to(TESTS.parent).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long, or have a test that may, come first, and those with slow tests next, so that no process is
    left alone with one at the end."""
    first = {TESTS / name for name in LONG}

    def allowed(item: pytest.Item) -> float:
        mark = item.get_closest_marker("timeout")
        return float(mark.args[0]) if mark is not None else float("slow" in item.keywords)

    longest: dict[Path, float] = {}
    for item in items:
        longest[item.path] = max(longest.get(item.path, 0.0), allowed(item))
    items.sort(key=lambda item: (item.path not in first, -longest[item.path]))


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Set before anything else, for the tests of all folders: which of them run in one process, and in which order,
    changes nothing. The processes of pytest-xdist share one, as workers of a study do."""
    folder = shared(tmp_path_factory) / "training"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METALOOP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a study of `tests.gallery` that has ended. Tests only read it, or copy it first."""
    from tests.gallery import ended_study

    return lambda name: ended_study(shared(tmp_path_factory), name)
