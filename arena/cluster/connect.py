"""Connects to a Ray cluster: the one in RAY_ADDRESS, that of this machine, or a new local one."""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from programs.common.distribution import install_line
from programs.common.errors import EnvironmentProblem, UsageError
from trainer.gpu import hardware_class

if TYPE_CHECKING:
    from trainer.gpu import Device

GONE_SECONDS = 8.0  # without an answer from the head; Ray itself would end this process after a minute
KNOCK_SECONDS = 2.0
HARDWARE_SECONDS = 60.0  # for a node to import Metaloop and answer


@dataclass
class Cluster:
    """A cluster that this process is connected to. ``address``: ``host:port`` of its head (GCS)."""

    address: str
    last_answer: float = 0.0

    def check(self) -> bool:
        """Whether the head answers now. Raises EnvironmentProblem after GONE_SECONDS without an answer."""
        if why := connection_error(self.address):
            if time.monotonic() - self.last_answer < GONE_SECONDS:
                return False
            raise EnvironmentProblem(
                f"lost the Ray cluster at {self.address}: {why}",
                hint="finished runs are kept: run the command again, on a new cluster or with METALOOP_EXECUTOR=local",
            )
        self.last_answer = time.monotonic()
        return True


def require() -> None:
    """Raise UsageError where Ray is not installed, without importing it."""
    from importlib.util import find_spec

    if find_spec("ray") is None:
        raise UsageError("METALOOP_EXECUTOR=ray: Ray is not installed", hint=install_line("ray"))


def connect(devices: int) -> Cluster:
    """Connect, once per process. A new local cluster has ``devices`` CPUs and ends with this process.

    Raises EnvironmentProblem if the cluster in RAY_ADDRESS does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the future default; avoids Ray's warning
    require()
    import ray

    if not ray.is_initialized():
        address_ = address()
        if address_:
            _join(address_)
        else:  # Ray would start workers with nice 15
            calm = {"worker_niceness": 0}
            here = {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "_system_config": calm}
            _init(address="local", num_cpus=devices, **here)
    return Cluster(ray.get_runtime_context().gcs_address, time.monotonic())


def address() -> str:
    """``host:port`` of the cluster to join; empty to start a local one.

    ``ray start`` writes the address of this machine's cluster to a file. Ray's own `auto` trusts that file and waits
    for minutes if it is out of date.
    """
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS={stated}: Ray's client protocol is not supported",
            hint="start the command on a node of the cluster, with RAY_ADDRESS=HOST:6379",
        )
    if stated not in ("", "auto"):
        return "" if stated == "local" else stated
    path = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    written = path.read_text("utf-8", "replace").strip() if path.is_file() else ""
    return written if written and not connection_error(written) else ""


def connection_error(endpoint: str) -> str:
    """Try a TCP connection to ``host:port``; returns the error, empty on success."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""


def _join(there: str) -> None:
    import ray

    why = connection_error(there)
    if not why:
        try:
            _init(address=there)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RaySystemError) as error:
            ray.shutdown()
            why = " ".join(str(error).split())[:160]
    if why:
        hint = "check with ray status, start one with ray start --head, or unset RAY_ADDRESS to use a local one"
        raise EnvironmentProblem(f"no Ray cluster answers at {there}: {why}", hint=hint)


def _init(**how: Any) -> None:
    import ray

    ray.init(namespace="metaloop", log_to_driver=False, logging_level=logging.ERROR, **how)
    # A thread of Ray prints node events to stdout, which is for data, whatever the options of init.
    ray._private.worker._worker_logs_enabled = False


def devices_of_nodes(resource: str) -> dict[str, int]:
    """The number of CPUs or GPUs (``resource``, in Ray's words) of each live node, by Ray's id."""
    import ray

    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    return {node["NodeID"]: int(node["Resources"].get(resource, 0)) for node in nodes if node["Alive"]}


def needs(resource: str, devices: int) -> dict[str, int]:
    """Ray's options for an actor or a task with that many CPUs or GPUs to itself."""
    return {"num_cpus": devices} if resource == "CPU" else {"num_cpus": 0, "num_gpus": devices}


def hardware_of_cluster(device: Device) -> str:
    """The hardware class of the node that answers first; empty if a local cluster would be started."""
    if not address():
        return ""
    connect(0)
    import ray

    resource = device.upper()
    options = needs(resource, 1) if resource == "GPU" else {"num_cpus": 0}  # without a GPU, a task sees none
    remote = ray.remote(max_retries=0)(_hardware).options(**options)
    try:
        return str(ray.get(remote.remote(device), timeout=HARDWARE_SECONDS))
    except ray.exceptions.RayError:
        return ""


def _hardware(device: Device) -> str:
    return hardware_class(device)
