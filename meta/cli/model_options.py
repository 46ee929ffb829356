"""The researcher and its models from the flags of a command, and the question before they cost money."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inner_loop.researchers.description import describe
from inner_loop.run_context import RECORD, REPLAY, ModelConfig
from meta.cli import resolve
from meta.cli.flags import ModelFlags
from meta.cli.options import parse_duration
from meta.cli.output import ask
from programs.common.errors import NotFound, UsageError

DURATIONS = ("max_wall", "call_timeout", "patience")


def parse_models(flags: ModelFlags) -> tuple[str, ModelConfig]:
    """(researcher, its configuration). A model implies the chat researcher, the command line of an agent that agent.

    Raises UsageError for a bad value, or NotFound where METALOOP_REPLAY names no folder.
    """
    values: dict[str, Any] = {"models": tuple(resolve.listed(flags.model))}
    if flags.max_usd is not None:
        values["max_usd"] = flags.max_usd
    config = ModelConfig(**values)
    for setting in flags.more:  # its names are known: `options.settings_option` has refused others
        name, _, text = setting.partition("=")
        try:
            if name == "prices":
                values[name] = {**values.get(name, {}), **parse_price(text)}
            elif name in DURATIONS:
                values[name] = parse_duration(text)
            else:
                is_list = isinstance(ModelConfig.model_fields[name].default, tuple)
                values[name] = tuple(resolve.listed(text)) if is_list else text
            config = ModelConfig(**values)
        except ValueError as error:
            problem = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            hint = str(ModelConfig.model_fields[name].description)
            raise UsageError(f"--set {setting}: {problem}", hint=hint) from None
    resolve_recordings()
    implied = "command" if config.agent else "chat" if config.models else "scripted"
    return flags.researcher or implied, config


def parse_price(text: str) -> dict[str, tuple[float, ...]]:
    """``openai/NAME=0.5/1.5``, or with a third figure. Raises ValueError."""
    name, _, figures = text.rpartition("=")
    prices = tuple(float(figure) for figure in figures.split("/"))
    if not name or not 2 <= len(prices) <= 3 or not all(0 <= price < 1e6 for price in prices):
        raise ValueError("not a price")
    return {name: prices}


def resolve_recordings() -> None:
    """A recording belongs to a command, not to its study: its folder is in the environment, which workers read with
    another working folder."""
    folders = {name: Path(os.environ[name]) for name in (RECORD, REPLAY) if os.environ.get(name)}
    if len(folders) == 2:
        raise UsageError(f"{RECORD} and {REPLAY} exclude each other", hint="leave one of them out")
    if REPLAY in folders and not folders[REPLAY].is_dir():
        raise NotFound(f"{folders[REPLAY]}: not a folder with a recording", hint=f"{RECORD}=DIR makes one")
    os.environ.update({name: str(folder.expanduser().resolve()) for name, folder in folders.items()})


def require_able(researcher: str, config: ModelConfig, *, yes: bool) -> None:
    """Raise where the researcher cannot start here, in a sandbox; ask as `ask_consent`."""
    describe(researcher).preflight(config, True)
    ask_consent(researcher, config, sandboxed=True, yes=yes)


def ask_consent(researcher: str, config: ModelConfig, *, sandboxed: bool, yes: bool) -> None:
    """Where the researcher may cost money, the user has to agree: at a terminal, or with ``yes`` (--yes)."""
    description = describe(researcher)
    reason = description.asks_consent(config, sandboxed)
    if reason and not yes:
        hint = "--yes, with --max-usd 5" if description.is_metered(config) else "--yes"
        ask(f"{reason}; continue?", f"{reason}, and there is no terminal to confirm it", hint)
