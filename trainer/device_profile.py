"""The device profile: the additional access that a sandbox allows for one GPU and for compilers.

The candidate may call the driver, start programs of the system and read a /proc with its own processes, so this profile
is weaker than the plain one (docs/threat-model.md). Without a GPU the profile has no device node, which is how it was
tested. It has not been tested on a GPU yet (docs/gpu.md).
"""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainer import gpu
from trainer.gpus import DEV, Gpu

PRELOAD = "METALOOP_GPU_PRELOAD"  # 0: the template imports only torch, without the modules that torch.compile needs
#: programs, headers and files that compilers read; missing ones are skipped
_TOOLS = (
    "/usr/bin",
    "/bin",
    "/usr/sbin",
    "/sbin",
    "/usr/libexec",
    "/usr/include",
    "/usr/local/bin",
    "/usr/local/include",
    "/etc/alternatives",
    "/usr/local/nvidia",
    "/usr/local/cuda",
)
_DRIVER = re.compile(r"lib(?:cuda|nvidia-ml)\.so\.1\b.*=> (/\S+)$")


@dataclass(frozen=True)
class DeviceProfile:
    """``gpu``: the GPU in the sandbox, None for the profile without one. ``dev``: the folder of device nodes."""

    gpu: Gpu | None = None
    dev: Path = DEV

    @property
    def device(self) -> str:
        """The value of METALOOP_TRAIN_DEVICE."""
        return "cuda" if self.gpu else "cpu"

    @property
    def preload(self) -> bool:
        return os.environ.get(PRELOAD, "1") != "0"

    def environment(self) -> dict[str, str]:
        """Variables for the template and each experiment."""
        variables = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1", "TORCH_WARM_POOL": "0"}
        variables |= {"TORCHINDUCTOR_FX_GRAPH_CACHE": "1", "TORCHINDUCTOR_AUTOGRAD_CACHE": "1"}  # read at import
        if self.gpu:
            variables |= {"CUDA_VISIBLE_DEVICES": self.gpu.uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if cuda := next((folder for folder in self.driver if (Path(folder) / "libcuda.so.1").exists()), None):
            variables["TRITON_LIBCUDA_PATH"] = cuda
        return variables

    @cached_property
    def driver(self) -> tuple[str, ...]:
        """The folders of the driver's libraries, in the loader's search order."""
        if self.gpu is None:
            return ()
        folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if _has_driver(folder)]
        with suppress(OSError, subprocess.SubprocessError):
            command = ["/sbin/ldconfig", "-p"]
            said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
            folders += [os.path.dirname(match[1]) for line in said.splitlines() if (match := _DRIVER.search(line))]
        folders += [folder for folder in ("/usr/local/nvidia/lib64", "/usr/lib/wsl/lib") if _has_driver(folder)]
        # links in these folders may point to the folder in which the driver was unpacked
        real = [os.path.dirname(os.path.realpath(os.path.join(folder, "libcuda.so.1"))) for folder in folders]
        return tuple(dict.fromkeys([*folders, *real]))

    def folders(self) -> list[str]:
        """Further paths of this machine that this profile shows read-only."""
        return [path for path in (*_TOOLS, sysconfig.get_path("include"), *self.driver) if os.path.exists(path)]

    def binds(self, below: str = "") -> list[str]:
        """Arguments of bwrap for nodes and /sys, ``below`` a folder; they must follow those for /dev."""
        if self.gpu is None:
            return ["--ro-bind", "/sys", f"{below}/sys"]
        return gpu.bwrap_arguments(self.nodes, self.gpu.index, below)

    @cached_property
    def nodes(self) -> list[Path]:
        return gpu.device_nodes(self.dev)


def train_environment(profile: DeviceProfile | None) -> Mapping[str, str]:
    """The variable that names the experiment's device."""
    return {"METALOOP_TRAIN_DEVICE": profile.device if profile else "cpu"}


def _has_driver(folder: str) -> bool:
    return folder.startswith("/") and os.path.exists(os.path.join(folder, "libcuda.so.1"))
