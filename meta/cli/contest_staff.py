"""The researcher of a contest and its spending limits: flags of ``contest init``, and ``contest caps``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.crew import Crew
from meta.cli.flags import SHARES, ContestFolder, ModelFlags
from meta.cli.options import only, verb
from meta.cli.output import Output
from meta.cli.staffing import AgentFlags
from programs.errors import UsageError

if TYPE_CHECKING:
    from inner_loop.kit import Staff

LEAST_REPLIES = 4  # the limit of one run must allow this many replies of maximum length


def crew_of(models: ModelFlags, agent: AgentFlags, yes: bool) -> Crew:
    """The models of a contest, checked. Raises UsageError where calls may cost money without a limit."""
    crew = Crew.of(models, agent, yes=yes)
    crew = replace(crew, staff=with_shares(crew.staff, models.run_usd, models.run_tokens))
    kind = crew.researcher.partition(":")[0]
    if kind != "scripted" and not crew.staff.caps() and not crew.staff.agent_direct:
        raise UsageError(
            f"--researcher {crew.researcher}: entries call models, so the contest needs a spending limit",
            hint="--max-usd 20, or --max-tokens 20000000 for a model without a price",
        )
    crew.ready(None)
    return crew


def with_shares(staff: Staff, run_usd: float | None, run_tokens: int | None) -> Staff:
    """Set the spending limit of one run: as given, else a share of the whole, so that no entry spends it all."""
    usd = run_usd or (staff.max_usd / SHARES if staff.max_usd else None)
    least = LEAST_REPLIES * staff.reply_tokens
    tokens = run_tokens
    if tokens is None and staff.max_tokens:
        tokens = min(staff.max_tokens, max(math.ceil(staff.max_tokens / SHARES), least))
    if tokens and tokens < least:
        raise UsageError(
            f"{tokens} tokens per run are fewer than {LEAST_REPLIES} replies of {staff.reply_tokens}",
            hint=f"--run-tokens {least} or more, or a smaller --reply-tokens",
        )
    for name, one, whole in (("usd", usd, staff.max_usd), ("tokens", tokens, staff.max_tokens)):
        if one and whole and one > whole:
            raise UsageError(f"--run-{name} {one:g} is more than --max-{name} {whole:g}", hint=f"lower --run-{name}")
    return staff.model_copy(update={"run_usd": usd, "run_tokens": tokens})


@verb(
    ("metaloop contest caps my-contest", "the limits, and the spending so far"),
    ("metaloop contest caps my-contest --max-usd 40", "raise a limit; a waiting queue resumes"),
)
def caps(
    out: Output,
    folder: ContestFolder,
    flags: Annotated[ModelFlags, only("max_usd", "max_tokens", "run_usd", "run_tokens", "price")],
) -> None:
    """Show or change the spending limits of a contest's models. The limits per run are
    part of the rules and cannot be changed."""
    from arena.contest.contest import Contest
    from inner_loop.models.spend_limiter import SpendLimiter
    from meta.cli.crew import CAPS as KEPT

    path = resolve.contest_folder(folder, out)
    contest = Contest.open(path)
    wanted = Crew.of(flags, yes=False).staff
    given = {name: getattr(wanted, name) for name in KEPT if getattr(wanted, name)}
    if flags.run_usd or flags.run_tokens:
        raise UsageError("the limits per run are part of the rules", hint="create a new contest for other rules")
    if given:
        config = contest.study.model_copy(update={"staff": contest.study.staff.model_copy(update=given)})
        config.dump(path / resolve.MARK)
        contest = Contest.open(path)
    staff, spent = contest.study.staff, SpendLimiter(path).spent()
    out.thing({
        "researcher": contest.study.researcher, "models": ", ".join(staff.models), "max_usd": staff.max_usd,
        "max_tokens": staff.max_tokens, "run_usd": staff.run_usd, "run_tokens": staff.run_tokens,
        "spent_usd": round(spent.usd, 4), "spent_tokens": spent.tokens,
    })  # fmt: skip
    if given:
        out.note("a running host applies the new limits by itself")
