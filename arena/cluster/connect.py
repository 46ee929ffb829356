"""The connection to a Ray cluster: the one that RAY_ADDRESS names, the one of this machine, or one of our own."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from programs.errors import EnvironmentProblem, UsageError

NAMESPACE = "metaloop"
INSTALL = 'pip install "metaloop[ray]"'
GONE_SECONDS = 8.0  # without an answer of the head; Ray itself would end this process after a minute
KNOCK_SECONDS = 2.0


@dataclass
class Cluster:
    """A cluster that this process is connected to. ``address``: of its head (GCS), ``host:port``."""

    address: str
    own: bool
    heard: float = 0.0

    def check(self) -> bool:
        """Whether the head can be reached now. Raises EnvironmentProblem once it has been silent for too long."""
        if said := knock(self.address):
            if time.monotonic() - self.heard < GONE_SECONDS:
                return False
            raise EnvironmentProblem(
                f"the Ray cluster at {self.address} is gone: {said}",
                hint="what was finished is kept: the same command goes on, on a new cluster or with --executor local",
            )
        self.heard = time.monotonic()
        return True


def require() -> None:
    """Raise UsageError where Ray is not installed, without importing it."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise UsageError("--executor ray: Ray is not installed", hint=INSTALL)


def connect(devices: int) -> Cluster:
    """Connect, once per process. A cluster of our own has as many CPUs as ``devices``, and ends with this process.

    Raises EnvironmentProblem where RAY_ADDRESS names a cluster that does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do anyway, unasked
    require()
    _take_token()
    import ray

    if ray.is_initialized():
        return Cluster(ray.get_runtime_context().gcs_address, False, time.monotonic())
    there = address()
    if there:
        _join(there)
    else:
        _start(devices)
    return Cluster(ray.get_runtime_context().gcs_address, not there, time.monotonic())


def _take_token() -> None:
    """``ray start`` asks for a token where there is one; ``ray.init`` brings it only where it is told to.

    To be told before Ray is imported, which reads its settings then.
    """
    token = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    if "ray" not in sys.modules and (token or Path("~/.ray/auth_token").expanduser().is_file()):
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def address() -> str:
    """Of the cluster to join, ``host:port``; empty where one of our own is to be started."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS={named}: Ray's client protocol does not carry a study",
            hint="start the command on a node of the cluster, with RAY_ADDRESS=HOST:6379",
        )
    return _of_this_machine() if named in ("", "auto") else "" if named == "local" else named


def _of_this_machine() -> str:
    """The address of the cluster that this machine belongs to; empty where there is none, or its head is gone.

    ``ray start`` writes it down. Ray's own `auto` trusts that file, and waits for minutes where it is out of date.
    """
    path = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    written = path.read_text("utf-8", "replace").strip() if path.is_file() else ""
    return written if written and not knock(written) else ""


def knock(endpoint: str) -> str:
    """Whether something listens at ``host:port``; empty if so, else why not."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _join(there: str) -> None:
    import ray

    said = knock(there)
    if not said:
        try:
            _init(address=there)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RaySystemError) as error:
            ray.shutdown()
            said = " ".join(str(error).split())[:160]
    if said:
        hint = "ray status tells what runs, ray start --head starts one; without RAY_ADDRESS, one of our own is started"
        raise EnvironmentProblem(f"no Ray cluster answers at {there}: {said}", hint=hint)


def _start(devices: int) -> None:
    """A cluster of our own, whose workers are as urgent as any process: Ray would start them nice 15."""
    calm = {"worker_niceness": 0}
    _init(address="local", num_cpus=devices, include_dashboard=False, _node_ip_address="127.0.0.1", _system_config=calm)


def _init(**how: Any) -> None:
    import ray

    ray.init(namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR, **how)
    # A thread of Ray prints what befalls nodes on stdout, where data belong, whatever init is told.
    ray._private.worker._worker_logs_enabled = False
