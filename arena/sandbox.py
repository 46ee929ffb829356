"""Whether experiments may start on this machine: in a sandbox that works, or without one where the user said so."""

from __future__ import annotations

from programs.errors import EnvironmentProblem

FLAG = "--unsafe-no-sandbox"


def said(sandbox: bool) -> str:
    """How a plan tells it."""
    return "sandboxed" if sandbox else "WITHOUT a sandbox: every row will say unverified"


def require(sandbox: bool) -> None:
    """Raise EnvironmentProblem, with the cure, where a sandbox is asked for and does not work here."""
    if not sandbox:
        return
    from trainer.local import check_sandbox

    try:
        check_sandbox()
    except EnvironmentProblem as error:
        hint = error.hint if FLAG in error.hint else "; or ".join(part for part in (error.hint, FLAG) if part)
        raise EnvironmentProblem(error.message, hint=hint) from None
