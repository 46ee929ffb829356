"""The sandbox of a command: the system, the interpreter, paths that the task names, and a copy of the task's files."""

from __future__ import annotations

import marshal
import os
import sys
from pathlib import Path
from typing import Any

from programs.errors import TaskError, UsageError
from trainer.commands import compile_cache
from trainer.commands.job import HOME, CommandJob, CommandLimits
from trainer.sandbox import login_keys
from trainer.sandbox.bwrap import memory_file
from trainer.sandbox.system_view import SystemView, checked, interpreter

WORK, COMPILED = "/task", "/compiled"
_START, _ORDER, _PACKING = "/run/metaloop/start.py", "/run/metaloop/order", "/run/metaloop/packing.py"
_INSIDE = Path(__file__).parent.parent / "inside"


class CommandView(SystemView):
    """bwrap's options for one job; `words` is the command line after them."""

    user = "work"

    def __init__(self, job: CommandJob, limits: CommandLimits) -> None:
        super().__init__()
        self._job, self._limits = job, limits
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        self._enter(False)
        self._system()
        if self._job.gpu:
            self.options += self._job.gpu.binds
            for folder in self._job.gpu.driver_folders:
                self._show(Path(folder))
        self._hide(())
        self._etc(full=False)
        size = self._limits.disk_mb
        folders = [(WORK, size), ("/tmp", size), (HOME, size), ("/dev/shm", min(size, 256))]
        if self._job.compiled is not None:
            folders.append((COMPILED, self._job.compiled_mb))
            self._write(_PACKING, (_INSIDE / "packing.py").read_bytes())
        for path_inside, megabytes in folders:
            self.options += ["--perms", "0755", "--size", str(megabytes << 20), "--tmpfs", path_inside]
        self.options += ["--symlink", "../tmp", "/var/tmp"]
        for text in dict.fromkeys([*self._job.readable, *filter(os.path.isabs, self._job.links.values())]):
            self._name(text)
        self._hide_keys()
        self._hide(())
        for path in self._interpreter():
            self._show(path)
        self._hide(())
        for name, path in self._job.bound.items():
            self._bind("--ro-bind", path, f"{WORK}/{name}")
        self._write(_START, (_INSIDE / "supervise.py").read_bytes())
        self.options += [word for path_inside in ("/dev", *self._masked) for word in ("--remount-ro", path_inside)]

    def _interpreter(self) -> list[Path]:
        return interpreter()

    def _name(self, text: str) -> None:
        self._show(readable_path(text), f"{HOME}/{text[2:]}" if text.startswith("~/") else "")

    def words(self, ready: int, reply: int, go: int) -> list[str]:
        """The command line after bwrap's options; this call completes the options."""
        blob = self._files()
        compiled = self._job.compiled or {}
        self._fds += compiled.values()
        order = {
            "command": list(self._job.command),
            "environment": self._environment(),
            "folder": WORK,
            "limits": self._limits.inside(),
            "files": blob[1],
            "given": blob[0],
            "links": list(self._job.links.items()),
            "kept": list(self._job.kept),
            "wanted": list(self._job.wanted),
            "wanted_bytes": self._limits.result_mb << 20,
            "compiled": (COMPILED, compiled.get("compiled"), compiled.get("compiled_out"), self._job.compiled_mb << 20),
            "ready": ready,
            "reply": reply,
            "go": go,
        }
        self._write(_ORDER, marshal.dumps(order))
        self.options += ["--as-pid-1", "--chdir", WORK, "--remount-ro", "/"]
        return ["--", os.path.realpath(sys.executable), "-I", "-S", "-B", _START, _ORDER]

    def _files(self) -> tuple[int, list[Any]]:
        given = sorted((name, file) for name, file in self._job.files.items() if not login_keys.is_key(name, file[0]))
        descriptor = memory_file(b"".join(data for _, (data, _) in given))
        self._open.callback(os.close, descriptor)
        self._fds.append(descriptor)
        return descriptor, [(name, len(data), 0o755 if run else 0o644) for name, (data, run) in given]

    def _environment(self) -> dict[str, str]:
        """The command's environment, without Metaloop's own variables, keys, or paths that are not shown."""
        shown = [path for text in self._job.readable if not text.startswith("~/") for path in (readable_path(text),)]
        tools = [str(path / "bin") for path in shown if (path / "bin").is_dir()]
        path = [*tools, os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]
        own = {"PATH": ":".join(dict.fromkeys(path)), "TERM": "dumb", "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
        own |= {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        if gpu := self._job.gpu:
            own |= {**gpu.environment, "LD_LIBRARY_PATH": ":".join(gpu.driver_folders)}
        own |= compile_cache.environment(COMPILED) if self._job.compiled is not None else {}
        return {**own, **self._job.environment, "HOME": HOME}


def readable_path(text: str) -> Path:
    """A path that a task may show to its command. TaskError for home folders, keys, Metaloop's files, missing paths."""
    path = Path(text).expanduser()
    where = f"[run] {text!r}"
    hint = "metaloop task init --from finds what a repository needs"
    if not path.is_absolute() or ".." in path.parts:
        raise TaskError(f"{where}: is not an absolute path", hint=hint)
    if reason := login_keys.refusal(path):
        raise TaskError(f"{where}: {reason}", hint=hint)
    try:
        return checked(path, reader="commands")
    except UsageError as error:
        raise TaskError(f"{where}: {error.message}", hint=error.hint) from None
