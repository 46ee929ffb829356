"""What ``metaloop doctor`` says of GPUs: which are found, and whether an experiment in the sandbox reaches one."""

from __future__ import annotations

import time

from meta.cli.finding import Finding


def check_gpus() -> Finding:
    """Found without torch and without CUDA; the cure where there is one that cannot be used."""
    from trainer import gpus

    found = gpus.survey()
    if found.gpus:
        told = ", ".join(f"{one.index}: {one.name}, {one.memory_mb} MiB" for one in found.gpus)
        versions = f"driver {found.gpus[0].driver}, torch {gpus.torch_version()} for CUDA {gpus.torch_cuda()}"
        return Finding("gpu", "ok", f"{told}; {versions}")
    if found.reason == "no NVIDIA device node":
        return Finding("gpu", "ok", "none; tasks for a GPU run as toys on the CPU")
    return Finding("gpu", "warn", found.reason, found.cure)


def check_gpu_sandbox() -> Finding:
    """The first of them, as an experiment has it: its nodes in the sandbox, a product of matrices, torch.compile."""
    from programs.errors import EnvironmentProblem
    from trainer import gpus
    from trainer.device_profile import DeviceProfile
    from trainer.device_trial import try_device

    usable = gpus.usable()
    if not usable:
        return Finding("gpu sandbox", "ok", "not tried: no GPU")
    began = time.perf_counter()
    try:
        tried = try_device(DeviceProfile(usable[0]))
    except EnvironmentProblem as problem:
        return Finding("gpu sandbox", "fail", problem.message, problem.hint or "METALOOP_DEVICES=cpu trains without it")
    took = f"{time.perf_counter() - began:.0f} s"
    if tried.compiles:
        cure = "a C compiler (apt install gcc) and Triton are needed for torch.compile; the rest works"
        return Finding("gpu sandbox", "warn", f"{tried.name} computes; torch.compile: {tried.compiles}", cure)
    return Finding("gpu sandbox", "ok", f"{tried.name}: self-test, a matrix product and torch.compile in {took}")
