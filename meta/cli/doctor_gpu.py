"""The GPU checks of ``metaloop doctor``: which GPUs there are, and whether an experiment in the sandbox reaches one."""

from __future__ import annotations

import time

from meta.cli.finding import CheckResult


def check_gpus() -> CheckResult:
    """List the GPUs without torch and CUDA, with a fix where one cannot be used."""
    from trainer import gpus

    survey = gpus.survey()
    if survey.gpus:
        names = ", ".join(f"{one.index}: {one.name}, {one.memory_mb} MiB" for one in survey.gpus)
        versions = f"driver {survey.gpus[0].driver}, torch {gpus.torch_version()} for CUDA {gpus.torch_cuda()}"
        return CheckResult("gpu", "ok", f"{names}; {versions}")
    if survey.reason == "no NVIDIA device node":
        return CheckResult("gpu", "ok", "none; GPU tasks run in a small CPU version")
    return CheckResult("gpu", "warn", survey.reason, survey.cure)


def check_gpu_sandbox() -> CheckResult:
    """Use the first GPU as an experiment does: its device nodes in the sandbox, a matrix product, torch.compile."""
    from programs.errors import EnvironmentProblem
    from trainer import gpus
    from trainer.device_profile import DeviceProfile
    from trainer.device_trial import try_device

    usable = gpus.usable()
    if not usable:
        return CheckResult("gpu sandbox", "ok", "not tried: no GPU")
    began = time.perf_counter()
    try:
        tried = try_device(DeviceProfile(usable[0]))
    except EnvironmentProblem as problem:
        return CheckResult(
            "gpu sandbox", "fail", problem.message, problem.hint or "METALOOP_DEVICES=cpu trains without it"
        )
    took = f"{time.perf_counter() - began:.0f} s"
    if tried.compiles:
        cure = "a C compiler (apt install gcc) and Triton are needed for torch.compile; the rest works"
        return CheckResult("gpu sandbox", "warn", f"{tried.name} computes; torch.compile: {tried.compiles}", cure)
    return CheckResult("gpu sandbox", "ok", f"{tried.name}: self-test, a matrix product and torch.compile in {took}")
