"""The parameters of typed functions as click arguments and flags.

A parameter of the function, or a field of a frozen dataclass that groups several, is annotated with its type and its
click parameter: ``seeds: Annotated[int | None, flag("Runs per program.", "-n", min=1)]``. Help lists them in the order
of the source.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import click

from programs.common.errors import UsageError

Choice = Callable[[str], bool]  # of the flags of a group, by name; bool: all of them
Maker = Callable[[str, object], click.Parameter]  # from the name and the type of a parameter

LONGEST = 1e9  # seconds
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d++(?:\.\d++)?|\.\d++)(min|[smhd])")


def parse_duration(text: str) -> float:
    """Seconds of ``20m``, ``5400s``, ``1h30m``, ``1 h 30 min`` or a bare number. Raises ValueError with the accepted
    forms."""
    plain = text.strip().lower().replace(" ", "")
    try:
        seconds = float(plain)
    except ValueError:
        parts = _PART.findall(plain)
        if not parts or "".join(n + u for n, u in parts) != plain:
            raise ValueError(f"{text!r} is not a duration: write 90, 90s, 20m, 1h30m or 8h") from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds < LONGEST:
        raise ValueError(f"{text!r} is not a valid duration: it must be above 0 and below {LONGEST:g} seconds")
    return seconds


Above0 = click.FloatRange(min=0, min_open=True)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A click type for :func:`parse_duration`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Percent(click.IntRange):
    """A click type: ``20%`` or ``20``."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.IntRange.convert(self, str(value).removesuffix("%"), param, ctx)  # type: ignore[arg-type]


def flag(
    help: str,
    *names: str,
    command: str = "",
    min: Any = None,
    max: Any = None,
    cls: type[click.Option] = click.Option,
    **settings: Any,
) -> Maker:
    """A click option, by default named ``--`` and the parameter's name; METALOOP_NAME in the environment sets it too,
    or METALOOP_COMMAND_NAME where other commands have an option of this name with another meaning.

    Its click type follows from the parameter's type: a bool is a switch, a tuple is repeatable, ``min`` and ``max``
    bound a number. Help shows the default.
    """

    def make(name: str, hint: object) -> click.Option:
        long = next((n for n in names if n.startswith("--")), "--" + name.replace("_", "-"))
        variable = f"metaloop {command} {long.split('/')[0][2:]}"
        kinds = get_args(hint) or (hint,)
        values: dict[str, Any] = {"multiple": get_origin(hint) is tuple}
        values["envvar"] = re.sub("[ -]+", "_", variable).upper()
        if bool in kinds:
            values |= {"is_flag": "/" not in long or None, "default": False if hint is bool else None}
        elif int in kinds or float in kinds:
            within = click.IntRange if int in kinds else click.FloatRange
            values["type"] = within(min, max) if {min, max} != {None} else int if int in kinds else float
            values["metavar"] = "N" if int in kinds else None
        values |= settings
        default = values.get("default")
        if default is None and not (values["multiple"] or type(None) in kinds or values.get("required")):
            raise TypeError(f"--{name} may be left out, so its type needs None or the flag a default")
        values["show_default"] = default not in (None, False, "")
        return cls([*dict.fromkeys([*names, long]), name], help=help, **values)

    return make


class Setting(click.Option):
    """A row of a command's table of rare settings; ``--set NAME=VALUE`` sets it, or METALOOP_NAME in the environment.

    It uses click's types, defaults and variables, but it is no option of the command."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        return f"'--set {self.name}'"


def rare(help: str, command: str = "", **settings: Any) -> Maker:
    """A `Setting`: a :func:`flag` for few, without an option of its own."""
    return flag(help, command=command, cls=Setting, **settings)


def model_settings() -> dict[str, str]:
    """The fields of a `ModelConfig` that ``--set`` may name, those with a description; and this description."""
    from inner_loop.run_context import ModelConfig

    return {name: field.description for name, field in ModelConfig.model_fields.items() if field.description}


def settings_option(name: str, hint: object, takes_models: bool = True) -> click.Option:
    """``--set NAME=VALUE`` of a command. Its value is what it sets of models and agents, if the command takes that."""
    return click.Option(
        ["--set", name],
        multiple=True,
        metavar="NAME=VALUE",
        envvar="METALOOP_SET",
        help="A rarer setting; --set help lists them.",
        callback=read_settings,
        is_eager=True,
        expose_value=takes_models,
    )


def read_settings(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    """Put the value of each of the command's settings into ``context.params``, and return the texts that are for models
    and agents. ``help`` prints all settings, as --help does the options. Raises UsageError for an unknown name."""
    table: Mapping[str, Setting] = getattr(context.command, "settings", {})
    helps = {name: str(setting.help) for name, setting in table.items()}
    helps |= model_settings() if option.expose_value else {}
    if "help" in texts:
        formatter = click.HelpFormatter(width=80)
        formatter.write_dl([*helps.items()])
        click.echo(formatter.getvalue(), nl=False)
        context.exit()
    values: dict[str, list[str]] = {}
    for text in texts:
        name, mark, value = text.partition("=")
        if name not in helps:
            near = difflib.get_close_matches(name, helps, n=1)
            hint = f"did you mean {near[0]}=VALUE?" if near else "--set help lists the settings"
            raise UsageError(f"--set {text}: {context.command_path} has no such setting", hint=hint)
        if not mark:
            raise UsageError(f"--set {text}: its value is missing", hint=f"--set {name}=VALUE")
        values.setdefault(name, []).append(value)
    for name, setting in table.items():
        typed = values.pop(name, [])
        options = {name: typed if setting.multiple else typed[-1]} if typed else {}
        setting.handle_parse_result(context, options, [])  # else from the environment, or its default
    return tuple(text for text in texts if text.partition("=")[0] in values)


#: The option of every command, before or after its name.
AS_JSON = click.Option(
    ["--json", "as_json"], is_flag=True, envvar="METALOOP_JSON", help="Print data and errors as JSON."
)


def argument(**settings: Any) -> Maker:
    return lambda name, _hint: click.Argument([name], **settings)


def only(*names: str) -> Choice:
    """Only these flags of a group; the others keep their defaults. ``Annotated[PlayingFlags, only("workers")]``."""
    return lambda name: name in names


def click_parameters(owner: object, choice: Choice = bool) -> Iterator[click.Parameter]:
    """The click parameters and settings of a function, or of a dataclass of flags, in the order of the source."""
    for name, kind, more in _values(owner, choice):
        if is_dataclass(kind):
            yield from click_parameters(kind, *more)
        else:
            yield more[0](name, kind)


def _values(owner: object, choice: Choice) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """(name, type, metadata of its annotation) of each parameter of a function, or field of a dataclass."""
    for name, hint in get_type_hints(owner, include_extras=True).items():
        if name not in ("out", "return") and choice(name):
            yield name, getattr(hint, "__origin__", hint), getattr(hint, "__metadata__", ())


def typed_values(owner: object, values: Mapping[str, Any], choice: Choice = bool) -> dict[str, Any]:
    """The values that click has parsed, as the parameters of a function or the fields of a dataclass."""
    return {
        name: kind(**typed_values(kind, values, *more))
        if is_dataclass(kind) and isinstance(kind, type)
        else values[name]
        for name, kind, more in _values(owner, choice)
    }


def command_line() -> str:
    """The command line as it was typed, quoted for a shell; empty outside a command."""
    context = click.get_current_context(silent=True)
    words = context.find_root().obj if context else None  # set by meta.cli.main.run
    return shlex.join(["metaloop", *words]) if words else ""
