"""C source of strangers through a compiler in a sandbox: what it may not see, how it may end, what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from programs.errors import EnvironmentProblem, TaskError
from trainer import building

needs_compiler = pytest.mark.skipif(building.compiler() is None, reason="no C compiler on this machine")
GOOD = b"#include <math.h>\nvoid solve(const double *a, double *b) { *b = sqrt(*a); }\n"
BOMB = b"""#define A(x) x x x x x x x x x x
#define B(x) A(A(A(A(x))))
#define C(x) B(B(B(x)))
int f(void) { C(C(;)) }
"""


@needs_compiler
def test_a_shared_object_comes_out() -> None:
    built = building.build(b"// flags: -O3 -march=native\n" + GOOD)
    assert built.trouble is None and built.library.startswith(b"\x7fELF")
    assert built.library != building.build(b"// flags: -O0\n" + GOOD).library
    assert building.require().version == building.version()


@pytest.mark.parametrize(
    "flag",
    [
        "-fplugin=/tmp/x.so",
        "@/etc/passwd",
        "-I/etc",
        "-B/tmp",
        "-wrapper",
        "-specs=x",
        "-o/x",
        "-include",
        "-O9",
        "\x1b",
    ],
)
def test_flags_that_are_not_on_the_list(flag: str) -> None:
    with pytest.raises(ValueError, match="is not allowed"):
        building.recipe_of(f"// flags: -O2 {flag}\n".encode() + GOOD)


def test_a_recipe() -> None:
    assert building.recipe_of(b"// flags: -O2 -ffast-math\n" + GOOD)[0] == ("-O2", "-ffast-math")
    assert building.recipe_of(GOOD)[0] == ()
    assert building.recipe_of(b"\n// flags: -fplugin=x\n" + GOOD)[0] == ()  # not the first line
    with pytest.raises(ValueError, match="more than 256 KB"):
        building.recipe_of(GOOD + b" " * building.MOST_BYTES)


@needs_compiler
def test_the_first_error_is_the_reason() -> None:
    built = building.build(b"void solve(void) {\n  int a = b;\n  c();\n}\n")
    assert built.trouble is not None and built.trouble[0] == "crash" and not built.library
    assert built.trouble[1].startswith("kernel.c:2:11: error:") and "b" in built.trouble[1]
    assert "\x1b" not in built.log and "\n" not in built.trouble[1]


@needs_compiler
def test_nothing_of_this_machine_can_be_read(tmp_path: Path) -> None:
    """Neither by the preprocessor nor by the assembler; what is there can be asked for one by one."""
    canary = tmp_path / "canary.h"
    canary.write_text('#error "canary"\n')
    ours = Path(building.__file__)
    for path in (canary, ours, ours.parent / "tasks" / "strokes" / "data.py", Path("/etc/passwd"), Path("/bin/sh")):
        asked = building.build(f'#if __has_include("{path}")\n#error "it is there"\n#endif\n'.encode() + GOOD)
        assert asked.trouble is None, path
        for line in (f'#include "{path}"', f'__asm__(".incbin \\"{path}\\"");'):
            built = building.build(line.encode() + b"\n" + GOOD)
            assert built.trouble is not None and built.trouble[0] == "crash", line
            assert "canary" not in built.log.replace(str(canary), "")


@needs_compiler
@pytest.mark.parametrize(
    "source",
    [
        BOMB,
        b'#include "/dev/zero"\n',
        b'#include "kernel.c"\n',
        b"char a[1ull << 40] = {1};",
        b'__asm__(".fill 0x7fffffff, 8, 1");',
        b'__asm__(".rept 1000000000\\n nop\\n.endr");',
        b'#include "/dev/stdin"\nint x[;',
        b"\xff\x00\x1b[31m" * 100,
        b"#warning \x1b]0;x\x07\n" * 2000 + b"int x[;",
    ],
    ids=["macros", "zero", "itself", "huge", "fill", "repeat", "stdin", "bytes", "escapes"],
)
def test_bombs_end(source: bytes) -> None:
    built = building.build(source)
    assert built.trouble is not None and built.trouble[0] in ("crash", "oom", "timeout")
    assert not built.library and "\x1b" not in built.log + built.trouble[1]
    assert building.build(GOOD).trouble is None  # the next one is as before


@needs_compiler
def test_a_reference_that_does_not_compile(tmp_path: Path) -> None:
    (tmp_path / "reference.c").write_text("int x[;")
    with pytest.raises(TaskError, match=r"reference\.c: kernel\.c:1"):
        building.trusted(tmp_path / "reference.c")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(building, "NAMES", ("no-such-compiler",))
    building.compiler.cache_clear()
    yield
    building.compiler.cache_clear()


def test_without_a_compiler(no_compiler: None) -> None:
    with pytest.raises(EnvironmentProblem, match="no C compiler here") as raised:
        building.require()
    assert "install one" in raised.value.hint and "\n" not in raised.value.message
    with pytest.raises(EnvironmentProblem, match="no C compiler here"):
        building.build(GOOD)
