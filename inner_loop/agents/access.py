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
    """Hard lines. ``memory_mb``: all processes together, exact where there is a memory cgroup, else looked at 5 times
    a second. ``processes``: with their threads. ``file_mb``: a file, ``disk_mb``: the worktree. ``tmp_mb``: /tmp, and
    the home. ``output_mb``: of stdout and of stderr."""

    memory_mb: int = 4096
    processes: int = 512
    wall_seconds: float = 3600.0
    file_mb: int = 256
    disk_mb: int = 2048
    tmp_mb: int = 512
    output_mb: int = 64
    open_files: int = 4096

    def inside(self) -> dict[str, int]:
        """Those that the kernel keeps for each process, as names of resource.RLIMIT_*."""
        size = self.file_mb << 20
        return {"NPROC": self.processes, "FSIZE": size, "NOFILE": self.open_files, "CORE": 0}


@dataclass(frozen=True)
class AgentAccess:
    """What an agent may see, use and reach. ``worktree`` is the only path of this machine that it may write.

    ``readable``: further paths, read-only at their own place (the program's own installation). ``environment``: what
    it sees beside PATH, HOME, TERM and LANG. ``home``: name in its home → file of ours, copied, or folder, read-only
    (credentials). ``door``: a unix socket, there as $METALOOP_DOOR. ``tools``: scripts, first on PATH. ``hidden``:
    paths that stay unseen even where they lie in something shown; Metaloop's code and cache always are.
    ``allow_hosts``: for "proxy", as `proxy.Rule`. ``gateway``: a unix socket, inside at
    127.0.0.1:``gateway_port``; not with "full", where that would be a port of the machine.
    """

    worktree: Path
    network: Network = "none"
    readable: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    home: Mapping[str, Path] = field(default_factory=dict)
    door: Path | None = None
    tools: Mapping[str, bytes] = field(default_factory=dict)
    hidden: tuple[Path, ...] = ()
    allow_hosts: tuple[str, ...] = LLM_HOSTS
    gateway: Path | None = None
    gateway_port: int = 0
    limits: AgentLimits = field(default_factory=AgentLimits)
