"""The sandbox of a compiler: the compiler, its linker, the system's libraries and headers, and the source."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from trainer.command_view import CommandView

_FOLDERS = ("/usr/include", "/usr/lib", "/usr/lib64", "/usr/lib32", "/usr/libexec/gcc", "/nix/store")
_PROGRAMS = ("gcc", "clang", "cc", "as", "ld", "ld.bfd", "ld.lld")
_LINKS = ("lib", "lib32", "lib64", "libx32", "bin")
_PATH = "/usr/local/bin:/usr/bin:/bin"


class CompilerView(CommandView):
    """A `CommandView` without the system's programs and settings and without the interpreter's packages."""

    def _system(self) -> None:
        for folder in filter(os.path.isdir, _FOLDERS):
            self._show(Path(folder))
        for name in _LINKS:
            path = Path("/", name)
            if path.is_symlink():
                self.options += ["--symlink", os.readlink(path), str(path)]
            elif path.is_dir() and name != "bin":
                self._show(path)
        for option, real, path_inside in _programs():
            self.options += [option, real, path_inside]
            self.reach.append(Path(real))
        self.options += ["--proc", "/proc", "--dev", "/dev"]

    def _etc(self, full: bool) -> None:
        if Path("/etc/ld.so.cache").is_file():
            self._write("/etc/ld.so.cache", Path("/etc/ld.so.cache").read_bytes())

    def _interpreter(self) -> list[Path]:
        """The interpreter of the monitoring process: program, library and standard library, without packages."""
        standard, program = Path(sysconfig.get_path("stdlib")), Path(os.path.realpath(sys.executable))
        libraries = Path(sys.base_prefix, "lib").glob("libpython*.so*")
        self._packages = [path for name in ("site-packages", "dist-packages") if (path := standard / name).is_dir()]
        paths = [program, standard, *(path for path in libraries if path.is_file())]
        return [path for path in paths if not path.is_relative_to("/usr/lib")]

    def _build(self) -> None:
        super()._build()
        for path in self._packages:
            self.options += ["--tmpfs", str(path), "--remount-ro", str(path)]


def _programs() -> Iterator[list[str]]:
    """bwrap's arguments for each program: a bind, or a symlink if its target is in a folder that is shown."""
    for name in _PROGRAMS:
        path = shutil.which(name, path=_PATH)
        if path is not None:
            real = os.path.realpath(path)
            within = any(real.startswith(f"{folder}/") for folder in _FOLDERS)
            yield ["--symlink" if within else "--ro-bind", real, path]
