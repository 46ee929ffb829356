"""The options that a study stores and compares when it is resumed.

Goes with `launch.py`, when `metaloop resume` is there: the record then has `options.command_line`.
"""

from __future__ import annotations

import click
from click.core import ParameterSource

from programs.text import word_list

AT_EACH_START = word_list("""
    study resume dry-run yes apply data_noise json
""")  # options that change no study


def typed() -> dict[str, list[str]]:
    """Option → its values of this command, by its line or the environment, without AT_EACH_START; ``""``: the command
    and its arguments."""
    context = click.get_current_context(silent=True)
    if context is None:
        return {}
    options: dict[str, list[str]] = {"": context.command_path.split()[1:]}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source not in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            continue
        value = context.params.get(parameter.name or "")
        values = [_word(item) for item in (value if isinstance(value, tuple) else (value,)) if item is not None]
        option = (parameter.opts if value is not False else parameter.secondary_opts or parameter.opts)[-1]
        if isinstance(parameter, click.Argument):
            options[""] += values
        elif option == "--set":
            options.setdefault("--set", []).extend(values)
        elif option[2:] not in AT_EACH_START:
            options[option] = [] if isinstance(value, bool) else values
    for setting in getattr(context.command, "settings", {}).values():
        value = context.params[setting.name]
        if value not in (None, False, (), setting.default) and setting.name not in AT_EACH_START:
            values = [_word(item) for item in (value if isinstance(value, tuple) else (value,))]
            options.setdefault("--set", []).extend(f"{setting.name}={item}" for item in values)
    return {option: values for option, values in options.items() if values or option != "--set"}


def _word(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value).lower() if value is True else str(value)
