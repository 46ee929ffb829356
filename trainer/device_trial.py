"""Tests a GPU in the sandbox as an experiment would use it; `metaloop doctor` shows the result."""

from __future__ import annotations

from dataclasses import dataclass

from programs.errors import EnvironmentProblem
from trainer.device_profile import DeviceProfile, train_environment
from trainer.launcher import LauncherFault, ProcessLimits, ProcessRequest
from trainer.local import LocalLauncher

_SECONDS = 300.0  # for the first compilation on a machine
_COMPILES = b"""
import os, torch
device = os.environ["METALOOP_TRAIN_DEVICE"]
double = torch.compile(lambda x: torch.relu(x) * 2 + x.sin())
x = torch.linspace(-1, 1, 4096, device=device)
found, wanted = double(x), torch.relu(x) * 2 + x.sin()
assert torch.allclose(found, wanted, atol=1e-5), "torch.compile computes something else"
print("compiled")
"""


@dataclass(frozen=True)
class Tried:
    """``name`` as torch reports it in the sandbox; ``compiles``: empty, or why torch.compile does not work there."""

    name: str
    compiles: str


def try_device(profile: DeviceProfile) -> Tried:
    """Start the sandbox with the device, run its self-test, multiply two matrices, and compile a function.

    Raises EnvironmentProblem, with its cure, if an experiment could not run at all.
    """
    launcher = LocalLauncher(profile=profile)
    limits = ProcessLimits(1e6, _SECONDS, 1 << 16)
    environment = train_environment(profile)
    try:
        launcher.start()
        name = launcher.run(ProcessRequest("matmul", limits, environment=environment)).log.strip()
        ended = launcher.run(ProcessRequest("train", limits, files={"train.py": _COMPILES}, environment=environment))
    except LauncherFault as fault:
        hint = "docs/gpu.md describes how to test it by hand"
        raise EnvironmentProblem(f"the sandbox with a GPU fails: {fault}", hint=hint) from None
    finally:
        launcher.close()
    return Tried(name, "" if ended.exit_code == 0 else ended.error or ended.killed or f"exit code {ended.exit_code}")
