"""The GPU checks of ``metaloop doctor``: which GPUs there are, and whether a command reaches one as in a study."""

from __future__ import annotations

import sys
import time

from meta.cli.finding import CheckResult

_SECONDS = 300.0  # for the first compilation on a machine
_TRIAL = """
import torch
x = torch.linspace(-1, 1, 4096, device="cuda")
assert float(x @ x) > 0
print(torch.cuda.get_device_name(0), "computes", flush=True)
double = torch.compile(lambda x: torch.relu(x) * 2 + x.sin())
assert torch.allclose(double(x), torch.relu(x) * 2 + x.sin(), atol=1e-5), "torch.compile computes something else"
print("compiled")
"""


def check_gpus() -> CheckResult:
    """List the GPUs, with a fix where one cannot be used."""
    from trainer import gpu

    survey = gpu.survey()
    if survey.gpus:
        names = ", ".join(f"{one.index}: {one.name}, {one.memory_mb} MiB" for one in survey.gpus)
        return CheckResult("gpu", "ok", f"{names}; driver {survey.gpus[0].driver}")
    if survey.none:
        return CheckResult("gpu", "ok", "none; tasks of a GPU do not run here")
    return CheckResult("gpu", "warn", survey.reason, survey.cure)


def check_gpu_command() -> CheckResult:
    """Use the first GPU as an experiment does, with this Python's torch: a product of vectors, torch.compile."""
    from programs.errors import EnvironmentProblem
    from trainer import gpu
    from trainer.commands.job import CommandJob, CommandLimits
    from trainer.commands.launcher import CommandLauncher, require_sandbox

    if not (usable := gpu.usable()):
        return CheckResult("gpu command", "ok", "not tried: no GPU")
    began = time.perf_counter()
    job = CommandJob([sys.executable, "-c", _TRIAL], {}, gpu=usable[0])
    try:
        require_sandbox(True)
        ended = CommandLauncher(True).carry_out(job, CommandLimits(1e6, _SECONDS, 1 << 17, processes=4096))
    except EnvironmentProblem as problem:
        return CheckResult("gpu command", "fail", problem.message, problem.hint or "")
    lines = [line for line in ended.log.splitlines() if line.strip()]
    took, last = f"{time.perf_counter() - began:.0f} s", lines[-1] if lines else f"exit code {ended.exit_code}"
    if last == "compiled":
        return CheckResult("gpu command", "ok", f"{lines[0]} and compiles in the sandbox, in {took}")
    if any(" computes " in line for line in lines):
        cure = "a C compiler (apt install gcc) and Triton are needed for torch.compile; the rest works"
        return CheckResult("gpu command", "warn", f"it computes in the sandbox; torch.compile: {last}", cure)
    cure = "a command that brings its own libraries may work; METALOOP_DEVICES=cpu trains without the GPU"
    return CheckResult("gpu command", "warn", f"this Python's torch: {last}", cure)
