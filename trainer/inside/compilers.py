"""What a template does for experiments that compile (torch.compile, Triton) on a GPU that it must not touch itself.

CUDA does not survive a fork. So the template imports, and each experiment makes its own context; what would show that
CUDA was initialised, or that a thread was started which a fork would lose, ends the template instead of an experiment.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# imported before the fork, as far as they are there: what torch.compile takes seconds for at first use
_STACK = ("torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.async_compile", "triton", "triton.compiler")


def ready(*, preload: bool) -> None:
    """Import the compilers, and see that this process may be forked. RuntimeError where it may not."""
    if preload:
        for name in _STACK:
            try:
                __import__(name)
            except ImportError:
                continue  # no Triton in a build for the CPU
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("CUDA was initialised before the fork (METALOOP_GPU_PRELOAD=0 imports less)")
    if held := [path for path in map(_target, _descriptors()) if path.startswith("/dev/nvidia")]:
        raise RuntimeError(f"the template holds {held[0]} (METALOOP_GPU_PRELOAD=0 imports less)")
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"the template has {threads} threads (METALOOP_GPU_PRELOAD=0 imports less)")


def _descriptors() -> list[str]:
    return [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # the listing's own


def environment(folder: str) -> dict[str, str]:
    """Where compilers keep what they made: below ``folder``, a private copy of what the untouched source made."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "CUDA_CACHE_PATH": f"{folder}/cuda",
    }
