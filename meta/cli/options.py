"""Flags that are the same everywhere, the duration parser, and the decorators that make a verb."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from meta.cli.output import Output

F = TypeVar("F", bound=Callable[..., Any])
Example = tuple[str, str]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smhd])")


def parse_duration(text: str) -> float:
    """Seconds of ``20m``, ``5400s``, ``1h30m``, ``8h`` or a bare number; ValueError says how to write it."""
    plain = text.strip().lower().replace(" ", "")
    try:
        seconds = float(plain)
    except ValueError:
        parts = _PART.findall(plain)
        if not parts or "".join(n + u for n, u in parts) != plain:
            raise ValueError(f"{text!r} is not a duration: write 90, 90s, 20m, 1h30m or 8h") from None
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds < 1e9:
        raise ValueError(f"{text!r} is not a usable duration: it must be above 0")
    return seconds


def duration(seconds: float | None) -> str:
    """Seconds for a person: ``0.15s``, ``12.3s``, ``4m10s``, ``2h05m``."""
    if seconds is None or seconds != seconds:
        return "-"
    if seconds < 60:
        return f"{seconds:.2f}s" if seconds < 1 else f"{seconds:.1f}s"
    minutes = round(seconds) // 60
    return f"{minutes}m{round(seconds) % 60:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


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


def flag(*names: str, **settings: Any) -> Callable[[F], F]:
    """``click.option`` that is also read from METALOOP_NAME, by its long name."""
    long = next(n for n in names if n.startswith("--")).split("/")[0]
    if isinstance(settings.get("type"), click.IntRange):
        settings.setdefault("metavar", "N")
    settings.setdefault("envvar", "METALOOP_" + long[2:].upper().replace("-", "_"))
    return click.option(*names, **settings)


COMMON: tuple[Callable[[Any], Any], ...] = (
    flag("--json", "as_json", is_flag=True, help="Data as JSON; errors as a JSON object."),
    flag("-q", "--quiet", is_flag=True, help="No remarks on stderr."),
    flag("--debug", is_flag=True, help="Traceback of an error."),
)


def with_flags(function: F, flags: Sequence[Callable[[Any], Any]]) -> F:
    """Put ``flags`` on ``function``; they appear in help in the order given."""
    for add in reversed(flags):
        function = add(function)
    return function


def _output(params: dict[str, Any]) -> Output:
    """The Output of this command; ``--json`` and ``-q`` may also stand before the verb."""
    context: click.Context | None = click.get_current_context()
    as_json, quiet = params.pop("as_json", False), params.pop("quiet", False)
    params.pop("debug", None)
    while context is not None:
        as_json = as_json or bool(context.params.get("as_json"))
        quiet = quiet or bool(context.params.get("quiet"))
        context = context.parent
    return Output(as_json=as_json, quiet=quiet)


class Verb(click.Command):
    """A command whose help ends with examples to copy."""

    examples: tuple[Example, ...] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)


class UnknownVerb(click.UsageError):
    """No such verb; carries the nearest one as a hint."""

    def __init__(self, message: str, hint: str, ctx: click.Context) -> None:
        super().__init__(message, ctx)
        self.hint = hint


def resolve_or_suggest(group: click.Group, ctx: click.Context, args: list[str]) -> None:
    """Raise UnknownVerb with the nearest name unless ``args[0]`` is a command of the group (or an option)."""
    if not args or args[0].startswith("-") or args[0] in group.list_commands(ctx):
        return
    near = difflib.get_close_matches(args[0], group.list_commands(ctx), n=1)
    hint = f"{ctx.command_path} {near[0]} --help" if near else f"{ctx.command_path} --help"
    raise UnknownVerb(f"no such command {args[0]!r}", hint, ctx)


class Noun(click.Group):
    """A group of verbs about one kind of thing; bare, it lists."""

    examples: tuple[Example, ...] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        resolve_or_suggest(self, ctx, args)
        return super().resolve_command(ctx, args)


def write_examples(examples: Sequence[Example], formatter: click.HelpFormatter) -> None:
    """The last part of every help: two or three command lines, each with what it does."""
    formatter.write("\nExamples:\n")
    width = max((len(line) for line, _ in examples), default=0)
    for line, meaning in examples:
        together = f"  {line:<{width}}  {meaning}".rstrip()
        formatter.write((together if len(together) <= 80 else f"  {line}\n      {meaning}") + "\n")


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


def verb(
    *examples: Example, flags: Sequence[Callable[[Any], Any]] = (), name: str | None = None
) -> Callable[[Callable[..., int | None]], Verb]:
    """Make a click command of ``function(out, **parameters) -> exit code or None``."""

    def make(function: Callable[..., int | None]) -> Verb:
        @functools.wraps(function)
        def call(**params: Any) -> int:
            if "study_option" in params:
                option = params.pop("study_option")
                params["study"] = params.get("study") or option
            return function(_output(params), **params) or 0

        wrapped = with_flags(call, [*flags, *COMMON])
        title = name or function.__name__.rstrip("_").replace("_", "-")
        command = click.command(title, cls=Verb, context_settings=CONTEXT)(wrapped)
        command.examples = examples
        return command

    return make


def noun(*examples: Example) -> Callable[[Callable[..., int | None]], Noun]:
    """Make a group of ``function(out)``, which lists when no verb follows."""

    def make(function: Callable[..., int | None]) -> Noun:
        @functools.wraps(function)
        def call(**params: Any) -> int:
            if click.get_current_context().invoked_subcommand is not None:
                return 0
            return function(_output(params)) or 0

        wrapped = with_flags(call, COMMON)
        group = click.group(cls=Noun, invoke_without_command=True, context_settings=CONTEXT)(wrapped)
        group.examples = examples
        return group

    return make


def _choose_executor(_context: click.Context, _parameter: click.Parameter, kind: str | None) -> None:
    """Told to the executors by the environment, as it belongs to a command and not to its study."""
    from arena.choice import choose

    choose(kind)


def _share_devices(_context: click.Context, _parameter: click.Parameter, runs: int | None) -> None:
    """Like the executor, told by the environment: no result depends on it."""
    from arena.lease import share

    share(runs)


# -- flags that several verbs share, one definition each ---------------------------------------------------------

study_argument = click.argument("study", required=False)
study_flag = flag(
    "-s", "--study", "study_option", metavar="DIR", help="The study's folder, or its name under studies/."
)
task_flag = flag("-t", "--task", metavar="NAME|DIR", help="The task  [default: strokes].")
tasks_flag = flag(
    "-t", "--task", metavar="TASK,…", help="The task, or several that every program is run on  [default: strokes]."
)
seed_flag = flag(
    "--seed", type=click.IntRange(min=0),
    help="Seed of the study: guessable, so not where anybody may cheat. Without it, a fresh secret.",
)  # fmt: skip
workers_flag = flag("-j", "--workers", type=click.IntRange(min=1), help="Worker processes  [default: the cores].")
devices_flag = flag(
    "--devices-per-run", type=click.IntRange(1, 64), help="Devices that share the waves of one run  [default: 1]."
)
fixed_steps_flag = flag("--fixed-steps", is_flag=True, help="Steps in place of seconds: bit-reproducible.")
unsafe_flag = flag("--unsafe-no-sandbox", is_flag=True, help="No sandbox: every row says unverified.")
executor_flag = flag(
    "--executor", type=click.Choice(["local", "ray"]), expose_value=False, callback=_choose_executor,
    help="Where jobs run: this machine, or a Ray cluster  [default: local].",
)  # fmt: skip
share_flag = flag(
    "--runs-per-device", type=click.IntRange(1, 8), expose_value=False, callback=_share_devices,
    help="Runs that share each of the -j devices, one training there at a time: others think meanwhile  [default: 1].",
)  # fmt: skip
dry_run_flag = flag("--dry-run", is_flag=True, help="Print the plan, and stop.")
yes_flag = flag("-y", "--yes", is_flag=True, help="Ask nothing.")
resume_flag = flag("--resume", metavar="DIR", help="Go on with this study, as it was begun.")
run_budget_flag = flag(
    "-b",
    "--run-budget",
    type=Duration(),
    help="Device time of one run: 20m, 5400s, 8h  [default: the task's].",
)
budget_flag = flag("--budget", type=Duration(), help="Device time of the whole command: 2h.")
researcher_flag = flag(
    "-r", "--researcher", metavar="KIND", help="Who follows the program: scripted, chat, command:NAME (an agent)."
)
model_flag = flag("-m", "--model", metavar="NAME,…", help="LiteLLM models; the next ones stand in for the first.")
max_usd_flag = flag(
    "--max-usd", type=click.FloatRange(min=0, min_open=True), metavar="USD", help="Most dollars of the study."
)
max_tokens_flag = flag("--max-tokens", type=click.IntRange(min=1), help="Most tokens of the study, in and out.")
price_flag = flag(
    "--price", metavar="NAME=IN/OUT[/CACHED]", multiple=True,
    help="Dollars per million tokens of a model without a price.",
)  # fmt: skip
reply_tokens_flag = flag(
    "--reply-tokens", type=click.IntRange(min=1), help="Longest reply of a model  [default: 8192]."
)
call_timeout_flag = flag(
    "--call-timeout", type=Duration(), help="Longest time of one attempt of a call  [default: 5m]."
)
patience_flag = flag("--patience", type=Duration(), help="How long a call waits for any model  [default: 15m].")
calls_at_once_flag = flag(
    "--calls-at-once", type=click.IntRange(min=1), help="Calls of one provider at a time  [default: 8]."
)
record_flag = flag("--record", metavar="DIR", help="Write each exchange with a model there.")
replay_flag = flag("--replay", metavar="DIR", help="Answer from a recording: no network, no key.")
PLAYING_FLAGS = (  # of a command that plays matches: how, and on what
    seed_flag, workers_flag, devices_flag, fixed_steps_flag, executor_flag, share_flag, unsafe_flag,
)  # fmt: skip
STAFF_FLAGS = (
    researcher_flag, model_flag, max_usd_flag, max_tokens_flag, price_flag, reply_tokens_flag, call_timeout_flag,
    patience_flag, calls_at_once_flag, record_flag, replay_flag,
)  # fmt: skip
