"""What an agent may see, use and reach, as data: `sandbox` starts it, `view` shows it files, `watch` ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from inner_loop.agents.proxy import LLM_HOSTS

Network = Literal["none", "proxy", "full"]
NETWORKS: tuple[Network, ...] = get_args(Network)


@dataclass(frozen=True)
class AgentLimits:
    """Hard limits. ``memory_mb``: all processes together, exact with a memory cgroup, else polled 5 times a second.
    ``processes``: including their threads. ``file_mb``: per file, ``disk_mb``: the worktree. ``tmp_mb``: /tmp, and
    the home. ``output_mb``: stdout and stderr each."""

    memory_mb: int = 4096
    processes: int = 512
    wall_seconds: float = 3600.0
    file_mb: int = 256
    disk_mb: int = 2048
    tmp_mb: int = 512
    output_mb: int = 64
    open_files: int = 4096

    def inside(self) -> dict[str, int]:
        """Those that the kernel enforces for each process, as names of resource.RLIMIT_*."""
        size = self.file_mb << 20
        return {"NPROC": self.processes, "FSIZE": size, "NOFILE": self.open_files, "CORE": 0}


@dataclass(frozen=True)
class AgentAccess:
    """What an agent may see, use and reach. ``worktree`` is the only path of this machine that it may write.

    ``readable``: further paths, read-only at their own path (the agent's installation). ``environment``: its variables
    beside PATH, HOME, TERM and LANG. ``home``: name in its home → our file, copied, or folder, read-only (credentials).
    ``experiment_socket``: a Unix socket, named by $METALOOP_DOOR inside. ``tools``: scripts, first on PATH. ``hidden``:
    paths that stay hidden even inside a shown folder; Metaloop's code and cache always are. ``allow_hosts``: for
    "proxy", as `proxy.Rule`. ``gateway``: a Unix socket, inside at 127.0.0.1:``gateway_port``; not with "full", where
    that would be a port of the machine.
    """

    worktree: Path
    network: Network = "none"
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    home: Mapping[str, Path] = field(default_factory=dict)
    experiment_socket: Path | None = None
    tools: Mapping[str, bytes] = field(default_factory=dict)
    hidden: tuple[Path, ...] = ()
    allow_hosts: tuple[str, ...] = LLM_HOSTS
    gateway: Path | None = None
    gateway_port: int = 0
    limits: AgentLimits = field(default_factory=AgentLimits)
