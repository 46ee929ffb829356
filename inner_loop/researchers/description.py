"""What a command asks of a researcher before it starts a study: can it start here, what will it cost, is it tried once.

Each kind describes itself: the ``make`` in its module, or in a package that adds it, may have an attribute
``description``, a subclass of `ResearcherDescription`. A ``make`` without one is described by that class itself.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from inner_loop.gateway.route import LOCAL
from inner_loop.models.client import require_answer
from inner_loop.models.prices import require_ready, settled
from inner_loop.researchers import RESEARCHERS
from inner_loop.run_context import ModelConfig, is_replayed
from programs.common.errors import UsageError
from trainer.task import Task

MAY_COST = "this calls models, which may cost money"


@dataclass(frozen=True)
class ResearcherDescription:
    """Of the scripted researcher, and of those of packages: they need nothing, and models (-m) only write programs.

    ``name``: as `--researcher` has it; ``more``: what follows its colon. ``sandboxed``: whether an agent runs in a
    sandbox. No method prints anything.
    """

    name: str
    more: str = ""

    def settle(self, config: ModelConfig, sandboxed: bool) -> ModelConfig:
        """The configuration that a new study of the user's own stores: with the context size of its models.

        Raises UsageError where a reply of --set reply_tokens leaves no room for a prompt.
        """
        return settled(config)

    def preflight(self, config: ModelConfig, sandboxed: bool) -> None:
        """Raise, with a fix, where the researcher cannot start here or a model cannot be called."""
        if config.models:
            require_ready(config)

    def asks_consent(self, config: ModelConfig, sandboxed: bool) -> str:
        """Why the user has to agree before the start; empty if nothing can cost money."""
        base = os.environ.get("OPENAI_BASE_URL") or os.environ.get("OPENAI_API_BASE") or ""
        prefixes = ("ollama", "openai/") if urlsplit(base).hostname in LOCAL else ("ollama",)
        is_free = is_replayed() or all(model.startswith(prefixes) for model in config.models)
        return "" if is_free else MAY_COST

    def is_metered(self, config: ModelConfig) -> bool:
        """Whether a spending limit can hold, because calls are counted."""
        return True

    def try_once(
        self, task: Task, config: ModelConfig, sandboxed: bool, note: Callable[[str], None] = lambda _: None
    ) -> None:
        """Call the models once before anything is trained; raises if they refuse. ``note`` gets a remark about what
        takes long."""
        require_answer(config)

    def cost_line(self, task: Task, config: ModelConfig, experiments: int) -> tuple[str, dict[str, Any]]:
        """(what the calls of the researcher cost, facts for the plan); both are empty where it calls no model.

        ``experiments``: of all runs. Times are in seconds, ``usd`` is None where a model has no price.
        """
        return "", {"researcher": self.name, **describe_calls(config)} if config.models else {}

    def installed(self) -> dict[str, bool]:
        """Name → whether it is installed here, of each program that such a researcher starts."""
        return {}


def describe(researcher: str) -> ResearcherDescription:
    """The description of a researcher that `--researcher` or study.toml names.

    Raises NotFound for an unknown kind, UsageError for one of a package that cannot be used, or for a name after the
    colon where the kind takes none.
    """
    kind, _, more = researcher.partition(":")
    make = RESEARCHERS.get(kind)
    try:
        inspect.signature(make).bind(*RESEARCHERS.takes, **({"more": more} if more else {}))
    except TypeError:
        raise UsageError(f"--researcher {researcher}: {kind} takes no name after a colon", hint=f"-r {kind}") from None
    describing: type[ResearcherDescription] = getattr(make, "description", ResearcherDescription)
    return describing(researcher, more)


def describe_calls(config: ModelConfig) -> dict[str, Any]:
    """The models and the limits of their calls, as facts for the plan; times in seconds."""
    return {
        "models": ", ".join(config.models),
        "context_tokens": config.context_tokens or "unknown",
        **({"max_wall_s": config.max_wall} if config.max_wall else {}),
        "reply_tokens": config.reply_limit,
        "call_timeout_s": config.call_timeout,
        "patience_s": config.patience,
        "calls_at_once": config.calls_at_once,
    }
