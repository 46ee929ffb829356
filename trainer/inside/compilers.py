"""Prepares a template for experiments that compile (torch.compile, Triton), without initialising CUDA.

CUDA does not survive a fork, so the template only imports modules, and each experiment creates its own context. If CUDA
is initialised, or a thread was started that a fork would lose, the template fails, not the experiment.
"""

from __future__ import annotations

import os
import sys
from typing import Any

# imported before the fork, if installed: modules that torch.compile takes seconds to import at first use
_STACK = ("torch._dynamo", "torch._inductor.compile_fx", "torch._inductor.async_compile", "triton", "triton.compiler")


def ready(*, preload: bool) -> None:
    """Import the compilers and check that this process can be forked. RuntimeError if not."""
    if preload:
        for name in _STACK:
            try:
                __import__(name)
            except ImportError:
                continue  # a CPU build has no Triton
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError("CUDA was initialised before the fork (METALOOP_GPU_PRELOAD=0 imports less)")
    if held := [path for path in map(_target, _descriptors()) if path.startswith("/dev/nvidia")]:
        raise RuntimeError(f"the template has {held[0]} open (METALOOP_GPU_PRELOAD=0 imports less)")
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise RuntimeError(f"the template has {threads} threads (METALOOP_GPU_PRELOAD=0 imports less)")


def _descriptors() -> list[str]:
    return [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # the descriptor of the listing itself


def environment(folder: str) -> dict[str, str]:
    """The compilers' cache folders below ``folder``, a private copy of the untouched source's cache."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/inductor",
        "TRITON_CACHE_DIR": f"{folder}/triton",
        "CUDA_CACHE_PATH": f"{folder}/cuda",
    }
