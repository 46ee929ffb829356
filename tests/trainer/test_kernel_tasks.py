"""The built-in kernels, in NumPy and in C: what pays, what is wrong, and C code that tries more than it may."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.trainer.shelf import module_of
from trainer import building
from trainer.data import DataStore
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.launcher import Launcher
from trainer.outcome import Outcome
from trainer.source import Source
from trainer.streams import Stream, Streams
from trainer.task import Task

needs_compiler = pytest.mark.skipif(building.compiler() is None, reason="no C compiler on this machine")
NUMPY, C = "kernel", pytest.param("kernel-c", marks=needs_compiler)
STACKS = {
    "kernel": Edit({"DTYPE": "float32", "CHUNK": 80}, ("gemm", "dense", "once", "centred")),
    "kernel-c": Edit(
        {"OPTIMIZE": "O3", "TARGET": "native", "MATH": "fast", "REAL": "float", "PEDESTAL": 40000},
        ("rows", "margin", "separable", "boxes", "expf"),
    ),
}


HEADERS = "".join(f"#include <{name}.h>\n" for name in ("fcntl", "sys/mman", "sys/socket", "unistd"))
LEAVING = "}\n__attribute__((constructor)) static void leave(void) {\n    __builtin_trap();"


def outcome_of(
    place: Path, launcher: Launcher, name: str, change: Edit | str, stream: Stream = "search", tolerance: float = 1e-3
) -> Outcome:
    """Of the baseline after an edit, or with C code at the end of the first line of its solve."""
    task = Task.load(name)
    task = replace(task, scoring={**task.scoring, "repetitions": 2, "tolerance": tolerance})
    source = task.edits.apply(task.baseline(), change) if isinstance(change, Edit) else with_code(task, change)
    return Trainer(task, DataStore(task, Streams.from_seed(1), place), launcher=launcher).run(Spec(source, 1, stream))


def with_code(task: Task, code: str) -> Source:
    text = task.baseline().text()
    for place, more in (("    develop(result);\n", code), ("#include <math.h>\n", HEADERS if "open(" in code else "")):
        assert text.count(place) == 1
        text = text.replace(place, f"{place}{more}\n")
    return task.baseline().with_text("train.py", text)


def data_of(name: str) -> ModuleType:
    return module_of(Task.load(name), "data")


@pytest.mark.parametrize("name", ["kernel", "kernel-c"])
def test_inputs_follow_from_their_seed_and_so_does_the_result(name: str) -> None:
    data = data_of(name)
    one, again, other = (data.kernel_inputs(seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert np.array_equal(data.reference(one), data.reference(again)) and np.isfinite(data.reference(one)).all()


def test_neighbours_by_hand() -> None:
    """One query, by the sentence in data.py alone."""
    data = data_of("kernel")
    queries, stations, readings = data.kernel_inputs(3)
    scaled = (stations - stations.mean(0)) / stations.std(0)
    apart = (((queries[7] - stations.mean(0)) / stations.std(0) - scaled) ** 2).sum(1)
    near = sorted(range(len(apart)), key=lambda place: apart[place])[:25]
    weight = np.array([1 - apart[place] / apart[near[24]] for place in near[:24]])
    mean = np.average(readings[near[:24]], axis=0, weights=weight)
    sd = np.sqrt(np.average((readings[near[:24]] - mean) ** 2, axis=0, weights=weight))
    expected = np.concatenate((mean - readings.mean(0), sd))
    assert np.allclose(data.reference([queries, stations, readings])[7], expected, rtol=1e-9, atol=1e-9)


def test_contrast_by_hand() -> None:
    """One pixel in the corner, where the nearest pixels count for those beyond."""
    data = data_of("kernel-c")
    picture = data.kernel_inputs(3)[0].astype(float)

    def at(array: np.ndarray, row: int, column: int) -> float:
        return float(array[min(max(row, 0), 159), min(max(column, 0), 127)])

    steps = [(i, j, np.exp(-(i * i + j * j) / 4.5)) for i in range(-3, 4) for j in range(-3, 4)]
    smooth = np.zeros((160, 128))
    for row in range(6):
        for column in range(6):
            smooth[row, column] = sum(w * at(picture, row + i, column + j) for i, j, w in steps)
    smooth /= sum(w for _, _, w in steps)
    around = np.array([at(smooth, 1 + i, j) for i in range(-4, 5) for j in range(-4, 5)])
    expected = 1 / (1 + np.exp(-2 * (smooth[1, 0] - around.mean()) / (around.std() + 20)))
    assert data.reference(data.kernel_inputs(3))[1, 0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", [NUMPY, C])
def test_what_is_stacked_is_faster_by_far(name: str, tmp_path: Path, launcher: Launcher) -> None:
    baseline, best = (outcome_of(tmp_path, launcher, name, edit) for edit in (Edit(), STACKS[name]))
    assert (baseline.status, best.status, best.trust) == ("ok", "ok", "scored"), best.reason
    assert best.metric is not None and baseline.metric is not None and best.metric < 0.6 * baseline.metric
    assert outcome_of(tmp_path, launcher, name, STACKS[name], "confirmation").trust == "verified"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("kernel", Edit({"DTYPE": "float32"}, ("raw",)), Edit({"DTYPE": "float32"}, ("raw", "centred"))),
        ("kernel", Edit({"DTYPE": "float16"}), Edit({"DTYPE": "float32"})),
        ("kernel", Edit({}, ("memo",)), Edit({}, ("once",))),
        pytest.param(
            "kernel-c", Edit({"REAL": "float"}, ("boxes",)), Edit({"REAL": "float", "PEDESTAL": 40000}, ("boxes",)),
            marks=needs_compiler,
        ),
        pytest.param("kernel-c", Edit({}, ("remember",)), Edit({}, ("onepass",)), marks=needs_compiler),
    ],
)  # fmt: skip
def test_traps_and_pairs(name: str, wrong: Edit, right: Edit, tmp_path: Path, launcher: Launcher) -> None:
    trap = outcome_of(tmp_path, launcher, name, wrong)
    assert trap.status == "invalid" and "wrong result" in trap.reason
    assert outcome_of(tmp_path, launcher, name, right).status == "ok"


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("    x = 1;", "crash", "kernel.c:93:5: error:"),
        ("    *(int *)8 = 1;", "invalid", r"has ended|exit code -11"),
        ("    for (;;);", "timeout", "hard limit"),
        ("    result[77] += 0.01f;", "invalid", r"wrong result: 1 of 20480"),
        (LEAVING, "invalid", r"has ended|exit code"),
        ("    void exit(int);\n    exit(0);", "invalid", r"has ended|exit code"),
    ],
)
def test_c_code_that_fails(code: str, status: str, reason: str, tmp_path: Path, launcher: Launcher) -> None:
    found = outcome_of(tmp_path, launcher, "kernel-c", code)
    assert (found.status, found.metric) == (status, None) and re.search(reason, found.reason), found.reason
    assert found.device_seconds > 0


@needs_compiler
def test_a_kernel_without_solve(tmp_path: Path, launcher: Launcher) -> None:
    task = Task.load("kernel-c")
    source = task.baseline().with_text("train.py", task.baseline().text().replace("void solve(", "void other("))
    found = Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path), launcher=launcher).run(Spec(source, 1))
    assert found.status == "invalid" and "solve" in found.reason


ESCAPES = """
    int none = open("/dev/null", O_RDONLY), got = 0;
    got |= (none < 0) << 0;  /* the only one that works, or the rest would mean nothing */
    got |= (open("/metaloop/built/kernel.so", O_WRONLY) >= 0) << 1;
    got |= (open("/metaloop/built/other", O_WRONLY | O_CREAT, 0777) >= 0) << 2;
    got |= (unlink("/metaloop/built/kernel.so") == 0) << 3;
    got |= (open("/etc/passwd", O_RDONLY) >= 0) << 4;
    got |= (open("/usr/include/stdio.h", O_RDONLY) >= 0) << 5;
    got |= (socket(AF_UNIX, SOCK_STREAM, 0) >= 0) << 6;
    char *words[] = {"kernel.so", 0};
    got |= (execv("/metaloop/built/kernel.so", words) >= 0) << 7;
    int mine = open("own.so", O_RDWR | O_CREAT, 0777);
    got |= (mine < 0) << 8;
    got |= (ftruncate(mine, 4096) != 0) << 9;
    got |= (mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, mine, 0) != MAP_FAILED) << 10;
    if (got)
        result[got] = 77;
"""


@pytest.mark.slow
@needs_compiler
def test_what_native_code_can_reach(tmp_path: Path, launcher: Launcher) -> None:
    """Its library cannot be changed, nothing else can be executed, and the sandbox is that of any train.py."""
    found = outcome_of(tmp_path, launcher, "kernel-c", ESCAPES)
    assert found.status == "ok", found.reason
    caught = outcome_of(tmp_path, launcher, "kernel-c", ESCAPES.replace("none < 0", "none >= 0"))
    assert caught.status == "invalid"  # the attempts were made


@pytest.mark.slow
@needs_compiler
def test_without_a_sandbox_it_is_compiled_in_one_and_unverified(tmp_path: Path, bare_launcher: Launcher) -> None:
    found = outcome_of(tmp_path, bare_launcher, "kernel-c", Edit({}, ("boxes",)))
    assert (found.status, found.trust) == ("ok", "unverified"), found.reason


@needs_compiler
def test_flags_in_the_checkpoint_are_looked_at(tmp_path: Path, launcher: Launcher) -> None:
    task = Task.load("kernel-c")
    text = task.baseline().text().replace('"-ffast-math"', '"-fplugin=x.so"').replace('MATH = "exact"', 'MATH = "fast"')
    source = task.baseline().with_text("train.py", text)
    found = Trainer(task, DataStore(task, Streams.from_seed(1), tmp_path), launcher=launcher).run(Spec(source, 1))
    assert found.status == "invalid" and "-fplugin=x.so" in found.reason and "not allowed" in found.reason
