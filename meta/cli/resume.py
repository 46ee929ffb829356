"""``metaloop resume``: go on with a study of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from inner_loop.run_context import LIMITS
from meta.cli import driver, resolve
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy, EndFlags, ModelFlags, YesFlag
from meta.cli.model_options import parse_models
from meta.cli.options import flag, only
from meta.cli.output import Output
from programs.common.errors import UsageError


@dataclass(frozen=True)
class ResumeFlags:
    """The options that may differ from those that the study was created with."""

    workers: Annotated[
        int | None,
        flag("Worker processes, each with a device of its own  [default: as many as before].", "-j", min=1),
    ]
    no_sandbox: Annotated[bool, flag("Go on with a study that was created without a sandbox, without one.")]
    models: Annotated[ModelFlags, only("max_usd", "more")]
    ending: EndFlags
    yes: YesFlag = False


@verb(
    ("metaloop resume studies/NAME", "from where it was stopped or killed, to its result"),
    ("metaloop resume studies/NAME --max-usd 20", "with another spending limit"),
    ("metaloop resume studies/NAME --apply", "commit the result to the task's repository"),
)
def resume(out: Output, study: AnyStudy, flags: ResumeFlags) -> None:
    """Resume a study with its own settings, and show its result. Finished work is kept. Only
    the number of workers and the limits of models may differ from when it was created."""
    fixed = [text for text in flags.models.more if text.partition("=")[0] not in LIMITS]
    if fixed:
        name = fixed[0].partition("=")[0]
        raise UsageError(f"--set {name} is fixed when a study is created", hint="leave it out, or start a new study")
    _, limits = parse_models(flags.models)
    driver.resume(
        out,
        resolve.study_folder(study, out).resolve(),
        limits=limits,
        workers=flags.workers,
        no_sandbox=flags.no_sandbox,
        yes=flags.yes,
        ending=flags.ending,
    )
