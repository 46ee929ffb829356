"""The file system that an agent sees: options of bwrap; nothing is shown that is not named.

Read-only: the system's programs and libraries, a few files of /etc, the interpreter with its packages, and paths that
the user names. Writable: the worktree, and /tmp, /dev/shm and the home, which are in memory, limited and deleted at the
end.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from inner_loop.agents.running import AgentRunner
from inner_loop.gateway.serving import GATEWAY_PORT
from programs.errors import UsageError
from trainer.sandbox.system_view import SystemView, checked, interpreter

HOME = "/home/agent"
EXPERIMENTS, PROXY, TOOLS = "/run/metaloop/door", "/run/metaloop/proxy", "/run/metaloop/bin"
GATEWAY = "/run/metaloop/gateway"
_START, _ORDER = "/run/metaloop/start.py", "/run/metaloop/order.json"
_PROXY_PORT = 8115
_PROXIED = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), f"http://127.0.0.1:{_PROXY_PORT}")
_NOT_PROXIED = dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1")
_HOME_FILE_BYTES = 4 << 20


class View(SystemView):
    """The view of one agent."""

    def command(
        self, sandbox: AgentRunner, worktree: Path, proxy: Path | None, command: Sequence[str], ready: int
    ) -> list[str]:
        """What bwrap starts: the script that sets the limits and becomes, or supervises, the agent's command.

        ``ready`` is the descriptor on which it reports that the sandbox is ready; ``proxy`` a socket, for "proxy".
        """
        self._build(sandbox, worktree, proxy)
        relays = {GATEWAY: GATEWAY_PORT} if sandbox.gateway else {}
        if sandbox.network == "proxy":
            relays[PROXY] = _PROXY_PORT
        order = {
            "command": list(command),
            "environment": self._environment(sandbox),
            "folder": str(worktree),
            # for each process, by the kernel
            "limits": {
                "NPROC": sandbox.limits.processes,
                "FSIZE": sandbox.limits.file_mb << 20,
                "NOFILE": sandbox.limits.open_files,
                "CORE": 0,
            },
            "ready": ready,
            "relays": relays,
        }
        self._write(_ORDER, json.dumps(order).encode())
        self.options += ["--remount-ro", "/"]
        return ["--", os.path.realpath(sys.executable), "-I", "-S", "-B", _START, _ORDER]

    def _build(self, sandbox: AgentRunner, worktree: Path, proxy: Path | None) -> None:
        self._enter(sandbox.network == "full")
        self._system()
        self._hide(sandbox.hidden)
        self._etc(full=sandbox.network == "full")
        self._memory(sandbox)
        for path in sandbox.readable:
            self._show(checked(path, sandbox.hidden))
        self._hide_keys()
        self._hide(sandbox.hidden)
        for path in interpreter():  # on top: it may lie in a checkout, which is hidden
            self._show(path)
        self._hide(sandbox.hidden)
        self._home(sandbox.home)
        self._write(_START, Path(__file__).with_name("relay.py").read_bytes())
        for name, data in sandbox.tools.items():
            self._write(f"{TOOLS}/{name}", data, mode="0555")
        sockets = {EXPERIMENTS: sandbox.experiment_socket, PROXY: proxy, GATEWAY: sandbox.gateway}
        for path_inside, socket in sockets.items():
            if socket is not None:
                self._bind("--ro-bind", socket, path_inside)
        self._bind("--bind", worktree, str(worktree))
        self.options += [word for path_inside in ("/dev", *self._masked) for word in ("--remount-ro", path_inside)]

    def _memory(self, sandbox: AgentRunner) -> None:
        """The writable folders beside the worktree: in memory and limited."""
        limits = sandbox.limits
        for folder, size in (("/tmp", limits.tmp_mb), ("/dev/shm", 64), (HOME, limits.tmp_mb)):
            self.options += ["--size", str(size << 20), "--tmpfs", folder]
        self.options += ["--symlink", "../tmp", "/var/tmp"]

    def _home(self, home: Mapping[str, Path]) -> None:
        """Files are copied, so that a tool may rewrite its own; folders are bound."""
        for name, path in home.items():
            target = os.path.normpath(f"{HOME}/{name}")
            if not target.startswith(f"{HOME}/"):
                raise UsageError(
                    f"{name!r} is not a path in the agent's home", hint="a relative path: .codex/auth.json"
                )
            if path.is_dir():
                self._bind("--ro-bind", path.resolve(), target)
                continue
            try:
                data = path.read_bytes()
            except OSError as error:
                raise UsageError(f"{path}: {error.strerror}", hint="an agent's home is given as NAME=FILE") from None
            if len(data) > _HOME_FILE_BYTES:
                raise UsageError(f"{path} is too large to be copied into an agent's home", hint="name its folder")
            self._write(target, data, mode="0600")

    def _environment(self, sandbox: AgentRunner) -> dict[str, str]:
        tools = [str(path / "bin") for path in sandbox.readable if (path / "bin").is_dir()]
        tools += [str(path) for path in sandbox.readable if path.name == "bin"]
        tools = [*([TOOLS] if sandbox.tools else []), *tools]
        path = [*tools, os.path.dirname(sys.executable), "/usr/local/bin", "/usr/bin", "/bin"]
        own = {"PATH": ":".join(dict.fromkeys(path)), "TERM": "dumb", "LANG": "C.UTF-8"}
        own |= {**sandbox.environment, "HOME": HOME}
        own |= {"METALOOP_DOOR": EXPERIMENTS} if sandbox.experiment_socket else {}
        return own | (_PROXIED | _NOT_PROXIED if sandbox.network == "proxy" else {})
