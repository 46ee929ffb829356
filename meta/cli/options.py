"""Turns typed functions into click commands: their parameters become arguments and flags.

A parameter of the function, or a field of a frozen dataclass that groups several, is annotated with its type and its
click parameter: ``seeds: Annotated[int | None, flag("Runs per program.", "-n", min=1)]``. Help lists them in the order
of the source. With two click parameters the first one that is set counts.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click
from click.core import ParameterSource

from meta.cli.output import Output
from programs.errors import UsageError
from programs.text import word_list

Example = tuple[str, str]
Choice = Callable[[str], bool]  # of the flags of a group, by name; bool: all of them
Maker = Callable[[str, object], click.Parameter]  # from the name and the type of a parameter

LONGEST = 1e9  # seconds
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smhd])")


def parse_duration(text: str) -> float:
    """Seconds of ``20m``, ``5400s``, ``1h30m``, ``8h`` or a bare number. Raises ValueError with the accepted forms."""
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


def duration(seconds: float | None) -> str:
    """Seconds as text: ``0.15s``, ``12.3s``, ``4m10s``, ``2h05m``."""
    if seconds is None or seconds != seconds:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 1 else f"{seconds:.1f}s"
    minutes = round(seconds) // 60
    return f"{minutes}m{round(seconds) % 60:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


Above0 = click.FloatRange(min=0, min_open=True)
SECOND = "_option"  # suffix of a parameter's name for the second way to set it
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
            raise UsageError(f"--set {text}: no such setting", hint=hint)
        if name in own:
            context.meta.setdefault(SETTINGS, {}).setdefault(name, []).append(value)
    return tuple(text for text in given if text.partition("=")[0] not in own)


def _of_models() -> dict[str, str]:
    from meta.cli.staffing import settable

    return {name: str(field.description) for name, field in settable().items()}


def settings_flag() -> Maker:
    """``--set NAME=VALUE``: the settings of models and agents; the command's own go to its `Rare` parameters."""
    return flag(
        "A rarer setting; --set help lists them.",
        "--set",
        metavar="NAME=VALUE",
        callback=_sort_settings,
        is_eager=True,
    )


def argument(**settings: Any) -> Maker:
    return lambda name, _hint: click.Argument([name], **settings)


def only(*names: str) -> Choice:
    """Only these flags of a group; the others keep their defaults. ``Annotated[PlayingFlags, only("workers")]``."""
    return lambda name: name in names


def without(*names: str) -> Choice:
    """All flags of a group but these."""
    return lambda name: name not in names


def click_parameters(owner: object, choice: Choice = bool) -> Iterator[click.Parameter]:
    """The click parameters of a function, or of a dataclass of flags, in the order of the source."""
    for name, kind, more in _values(owner, choice):
        if is_dataclass(kind):
            yield from click_parameters(kind, *more)
        else:
            yield from (make(name + SECOND * number, kind) for number, make in enumerate(more))


def _values(owner: object, choice: Choice) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """(name, type, metadata of its annotation) of each parameter of a function, or field of a dataclass."""
    for name, hint in get_type_hints(owner, include_extras=True).items():
        if name not in ("out", "return") and choice(name):
            yield name, getattr(hint, "__origin__", hint), getattr(hint, "__metadata__", ())


def _typed(owner: object, values: Mapping[str, Any], choice: Choice = bool) -> dict[str, Any]:
    """The values that click has parsed, as the parameters of a function or the fields of a dataclass."""
    return {
        name: kind(**_typed(kind, values, *more))
        if is_dataclass(kind) and isinstance(kind, type)
        else values[name] or values.get(name + SECOND, values[name])
        for name, kind, more in _values(owner, choice)
    }


GROUPS = {  # headings of a long help, with the parameters below them
    "What": word_list("task reserve from_study programs only"),
    "How much": word_list("run_budget budget quick seeds runs max_usd max_tokens controls race add"),
    "Who": word_list("researcher model agent"),
    "Where": word_list("study resume seed workers no_sandbox"),
}
MANY = 10  # grouped options that make a help long

AT_EACH_START = word_list("""
    study resume dry-run yes webhook apply json quiet executor runs_per_device
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
    """The flags of every command, before or after its name."""

    as_json: Annotated[bool, flag("Print data and errors as JSON.", "--json")]
    quiet: Annotated[bool, flag("No remarks on stderr.", "-q")]


def _output() -> Output:
    """The Output of this command; ``--json`` and ``-q`` are also accepted before its name."""
    contexts = [context := click.get_current_context()]
    while context.parent is not None:
        contexts.append(context := context.parent)
    as_json, quiet = (any(context.params.get(name) for context in contexts) for name in ("as_json", "quiet"))
    return Output(as_json=as_json, quiet=quiet)


class VerbCommand(click.Command):
    """A command whose help ends with examples."""

    examples: tuple[Example, ...] = ()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Many options in groups, few in one list."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        rows = [(one, one.get_help_record(ctx)) for one in options]
        groups = {name: [row for one, row in rows if row and one.name in names] for name, names in GROUPS.items()}
        grouped = sum(map(len, groups.values()))
        if grouped < MANY:
            super().format_options(ctx, formatter)
            return
        known = {name for names in GROUPS.values() for name in names}
        rest = [row for one, row in rows if row and one.name not in known]
        for title, lines in (groups | {"Options": rest}).items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if any(isinstance(p, Rare) and p.name == name for p in self.params):
                raise UsageError(f"no option {error.option_name}", hint=f"--set {name}=VALUE") from None
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)


class UnknownVerb(click.UsageError):
    """No such command; the hint names the nearest one."""

    def __init__(self, message: str, hint: str, ctx: click.Context) -> None:
        super().__init__(message, ctx)
        self.hint = hint


SEND = "--webhook URL of evolve, improve, match and ablate sends the result (docs/trackers.md)"
CARD = "metaloop report --card card.svg draws the picture of a verdict"
FLAGS = {"notify": SEND, "webhook": SEND, "card": CARD}  # what is no command, but a flag of some


class SuggestingGroup(click.Group):
    """A group that suggests the nearest command for an unknown name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"{ctx.command_path} {near[0]} --help" if near else f"{ctx.command_path} --help"
            hint = next(iter(self.below(ctx, args[0])), hint)
            hint = FLAGS.get(args[0], hint) if ctx.parent is None else hint
            raise UnknownVerb(f"no such command {args[0]!r}", hint, ctx)
        return super().resolve_command(ctx, args)

    def below(self, ctx: click.Context, name: str) -> list[str]:
        """The subcommands of this name (``check``: ``metaloop task check``), as commands for their help."""
        nouns = [(noun, self.get_command(ctx, noun)) for noun in self.list_commands(ctx)]
        return [
            f"{ctx.command_path} {noun} {name} --help"
            for noun, group in nouns
            if isinstance(group, click.Group) and name in group.list_commands(ctx)
        ]


class NounGroup(SuggestingGroup):
    """The subcommands for one kind of object."""

    examples: tuple[Example, ...] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)


def write_examples(examples: Sequence[Example], formatter: click.HelpFormatter) -> None:
    """The end of every help: two or three command lines, each with its meaning."""
    formatter.write("\nExamples:\n")
    width = max((len(line) for line, _ in examples), default=0)
    for line, meaning in examples:
        together = f"  {line:<{width}}  {meaning}".rstrip()
        formatter.write((together if len(together) <= 80 else f"  {line}\n      {meaning}") + "\n")


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


def verb(*examples: Example, name: str | None = None) -> Callable[[Callable[..., int | None]], VerbCommand]:
    """Make a click command from ``function(out, typed parameters) -> exit code or None``."""

    def make(function: Callable[..., int | None]) -> VerbCommand:
        def call(**values: Any) -> int:
            return function(_output(), **_typed(function, values)) or 0

        title = name or function.__name__.rstrip("_").replace("_", "-")
        params = [*click_parameters(function), *click_parameters(CommonFlags)]
        if any(isinstance(one, Rare) for one in params) and not any("--set" in one.opts for one in params):
            params.insert(-2, settings_flag()("settings", tuple[str, ...]))
            params[-3].expose_value = False
        command = VerbCommand(title, params=params, callback=call, help=function.__doc__, context_settings=CONTEXT)
        command.examples = examples
        return command

    return make


def noun(*examples: Example) -> Callable[[Callable[..., None]], NounGroup]:
    """Make a group with the name and the docstring of ``function``; without a subcommand it calls ``function(out)``, or
    shows its help where the function takes nothing."""

    def make(function: Callable[..., None]) -> NounGroup:
        def call(**_common: bool) -> int:
            context = click.get_current_context()
            if context.invoked_subcommand is None and get_type_hints(function).get("out"):
                function(_output())
            elif context.invoked_subcommand is None:
                click.echo(context.get_help())
            return 0

        group = NounGroup(
            function.__name__,
            params=[*click_parameters(CommonFlags)],
            callback=call,
            help=function.__doc__,
            invoke_without_command=True,
            context_settings=CONTEXT,
        )
        group.examples = examples
        return group

    return make
