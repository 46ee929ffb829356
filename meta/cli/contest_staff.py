"""The researcher of a contest and its spending limits: flags of ``contest init``, and ``contest caps``."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from meta.cli import resolve
from meta.cli.flags import SHARES, ContestFolder, ModelFlags
from meta.cli.options import only, verb
from meta.cli.output import Output
from meta.cli.researcher_choice import ResearcherChoice
from programs.errors import UsageError

if TYPE_CHECKING:
    from inner_loop.run_context import ModelConfig

LEAST_REPLIES = 4  # the limit of one run must allow this many replies of maximum length


def researcher_choice_of(models: ModelFlags, yes: bool) -> ResearcherChoice:
    """The models of a contest, checked. Raises UsageError where calls may cost money without a limit."""
    choice = ResearcherChoice.of(models, yes=yes)
    choice = replace(choice, config=with_shares(choice.settled))
    kind = choice.researcher.partition(":")[0]
    if kind != "scripted" and not choice.config.caps() and not choice.config.agent_direct:
        raise UsageError(
            f"--researcher {choice.researcher}: entries call models, so the contest needs a spending limit",
            hint="--max-usd 20, or --max-tokens 20000000 for a model without a price",
        )
    choice.ready(None)
    return choice


def with_shares(config: ModelConfig) -> ModelConfig:
    """Set the spending limit of one run: as given, else a share of the whole, so that no entry spends it all."""
    usd = config.run_usd or (config.max_usd / SHARES if config.max_usd else None)
    least = LEAST_REPLIES * config.reply_tokens
    tokens = config.run_tokens
    if tokens is None and config.max_tokens:
        tokens = min(config.max_tokens, max(math.ceil(config.max_tokens / SHARES), least))
    if tokens and tokens < least:
        raise UsageError(
            f"{tokens} tokens per run are fewer than {LEAST_REPLIES} replies of {config.reply_tokens}",
            hint=f"--set run_tokens={least} or more, or a smaller reply_tokens",
        )
    for name, one, whole in (("usd", usd, config.max_usd), ("tokens", tokens, config.max_tokens)):
        if one and whole and one > whole:
            raise UsageError(f"run_{name} {one:g} is more than --max-{name} {whole:g}", hint=f"lower --set run_{name}")
    return config.model_copy(update={"run_usd": usd, "run_tokens": tokens})


@verb(
    ("metaloop contest caps my-contest", "the limits, and the spending so far"),
    ("metaloop contest caps my-contest --max-usd 40", "raise a limit; a waiting queue resumes"),
)
def caps(
    out: Output,
    folder: ContestFolder,
    flags: Annotated[ModelFlags, only("max_usd", "max_tokens", "more")],
) -> None:
    """Show or change the spending limits of a contest's models. The limits per run are
    part of the rules: they are set when the contest is created."""
    from arena.contest.contest import Contest
    from inner_loop.models.spend_limiter import SpendLimiter
    from meta.cli.researcher_choice import CAPS as KEPT

    path = resolve.contest_folder(folder, out)
    contest = Contest.open(path)
    wanted = ResearcherChoice.of(flags, yes=False).config
    given = {name: getattr(wanted, name) for name in KEPT if getattr(wanted, name)}
    if given:
        config = contest.study.model_copy(update={"staff": contest.study.staff.model_copy(update=given)})
        config.dump(path / resolve.MARK)
        contest = Contest.open(path)
    models, spent = contest.study.staff, SpendLimiter(path).spent()
    out.thing(
        {
            "researcher": contest.study.researcher,
            "models": ", ".join(models.models),
            "max_usd": models.max_usd,
            "max_tokens": models.max_tokens,
            "run_usd": models.run_usd,
            "run_tokens": models.run_tokens,
            "spent_usd": round(spent.usd, 4),
            "spent_tokens": spent.tokens,
        }
    )
    if given:
        out.note("a running host applies the new limits by itself")
