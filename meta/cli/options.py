"""The parameters of typed functions as click arguments and flags.

A parameter of the function, or a field of a frozen dataclass that groups several, is annotated with its type and its
click parameter: ``seeds: Annotated[int | None, flag("Runs per program.", "-n", min=1)]``. Help lists them in the order
of the source.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from programs.errors import UsageError
from programs.text import word_list

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
SETTINGS = "metaloop.settings"  # in click's meta: name → value, of --set


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


def flag(help: str, *names: str, command: str = "", cls: type[click.Option] = click.Option, **settings: Any) -> Maker:
    """A click option, by default named ``--`` and the parameter's name; METALOOP_NAME in the environment sets it too,
    or METALOOP_COMMAND_NAME where other commands have an option of this name with another meaning.

    Its click type follows from the parameter's type: a bool is a switch, a tuple is repeatable, ``min`` and ``max``
    bound a number. Help shows the default.
    """

    def make(name: str, hint: object) -> click.Option:
        long = next((n for n in names if n.startswith("--")), "--" + name.replace("_", "-"))
        words = f"{command} {long.split('/')[0][2:]}".strip()
        made = {"envvar": "METALOOP_" + re.sub(r"[ -]", "_", words).upper(), **settings}
        kinds = get_args(hint) or (hint,)
        if bool in kinds:
            made.setdefault("default", False if hint is bool else None)
            made["is_flag"] = "/" not in long or None
        elif int in kinds or float in kinds:
            bounds = {bound: made.pop(bound, None) for bound in ("min", "max")}
            if any(value is not None for value in bounds.values()):
                made["type"] = (click.IntRange if int in kinds else click.FloatRange)(**bounds)
            elif "type" not in made:
                made["type"] = int if int in kinds else float
            if int in kinds:
                made.setdefault("metavar", "N")
        made["multiple"] = get_origin(hint) is tuple
        if not (made["multiple"] or type(None) in kinds or made.get("required")) and made.get("default") is None:
            raise TypeError(f"--{name} may be left out, so its type needs None or the flag a default")
        made["show_default"] = made.get("default") is not False and made.get("default") not in (None, "")
        return cls([*dict.fromkeys([*names, long]), name], help=help, **made)

    return make


class Rare(click.Option):
    """A setting that ``--set NAME=VALUE`` gives, or METALOOP_NAME in the environment. It is no option of its own."""

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        pass

    def get_help_record(self, ctx: click.Context) -> None:
        return None

    def get_error_hint(self, ctx: click.Context | None) -> str:
        return f"'--set {self.name}'"

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        given = ctx.meta.get(SETTINGS, {}).get(self.name)
        if given is None:
            return super().consume_value(ctx, opts)
        last = given[-1] or ("true" if self.is_flag else "")
        return given if self.multiple else last, ParameterSource.COMMANDLINE


def rare(help: str, command: str = "", **settings: Any) -> Maker:
    """A :func:`flag` for few: ``--set NAME=VALUE``."""
    return flag(help, command=command, cls=Rare, **settings)


def _sort_settings(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Keeps the values of `Rare` parameters for them, and returns those of models and agents. ``--set help`` prints
    all settings of the command, as --help does its options."""
    own = {p.name or "": str(p.help) for p in context.command.params if isinstance(p, Rare)}
    known = own | (_of_models() if parameter.expose_value else {})
    if "help" in given:
        formatter = click.HelpFormatter(width=80)
        formatter.write_dl([*known.items()])
        click.echo(formatter.getvalue(), nl=False)
        context.exit()
    for text in given:
        name, _, value = text.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}=VALUE?" if near else "--set help lists the settings"
            raise UsageError(f"--set {text}: {context.command_path} has no such setting", hint=hint)
        if name in own:
            context.meta.setdefault(SETTINGS, {}).setdefault(name, []).append(value)
    return tuple(text for text in given if text.partition("=")[0] not in own)


def _of_models() -> dict[str, str]:
    """The fields of a `ModelConfig` that ``--set`` may name: those with a description."""
    from inner_loop.run_context import ModelConfig

    return {name: field.description for name, field in ModelConfig.model_fields.items() if field.description}


def settings_flag(**more: Any) -> Maker:
    """``--set NAME=VALUE``: the settings of models and agents; the command's own go to its `Rare` parameters."""
    said = "A rarer setting; --set help lists them."
    return flag(said, "--set", metavar="NAME=VALUE", callback=_sort_settings, is_eager=True, **more)


def argument(**settings: Any) -> Maker:
    return lambda name, _hint: click.Argument([name], **settings)


def only(*names: str) -> Choice:
    """Only these flags of a group; the others keep their defaults. ``Annotated[PlayingFlags, only("workers")]``."""
    return lambda name: name in names


def click_parameters(owner: object, choice: Choice = bool) -> Iterator[click.Parameter]:
    """The click parameters of a function, or of a dataclass of flags, in the order of the source."""
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


AT_EACH_START = word_list("""
    study resume dry-run yes apply data_noise json
""")  # options that change no study


def typed() -> dict[str, list[str]]:
    """Option → its values of this command, by its line or the environment, without AT_EACH_START; ``""``: the command
    and its arguments."""
    context = click.get_current_context(silent=True)
    if context is None:
        return {}
    given: dict[str, list[str]] = {"": context.command_path.split()[1:]}
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source not in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            continue
        value = context.params.get(name)
        values = [_word(one) for one in (value if isinstance(value, tuple) else (value,)) if one is not None]
        option = (parameter.opts if value is not False else parameter.secondary_opts or parameter.opts)[-1]
        if isinstance(parameter, click.Argument):
            given[""] += values
        elif isinstance(parameter, Rare):
            given.setdefault("--set", []).extend(f"{name}={one}" for one in values if name not in AT_EACH_START)
        elif option == "--set":
            given.setdefault("--set", []).extend(values)
        elif option[2:] not in AT_EACH_START:
            given[option] = [] if isinstance(value, bool) else values
    return {option: values for option, values in given.items() if values or option != "--set"}


def _word(value: object) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value).lower() if value is True else str(value)


@dataclass(frozen=True)
class CommonFlags:
    """The flag of every command, before or after its name."""

    as_json: Annotated[bool, flag("Print data and errors as JSON.", "--json")]
