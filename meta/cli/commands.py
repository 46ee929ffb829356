"""Turns typed functions into click commands, whose help is in groups and ends with examples."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_type_hints

import click

from meta.cli.options import AS_JSON, Setting, click_parameters, settings_option, typed_values
from meta.cli.output import Output
from programs.common.errors import NoSandbox, UsageError
from programs.common.text import word_list

Example = tuple[str, str]
GROUPS = {  # headings of a long help, with the parameters below them
    "What": word_list("task reserve from_study only"),
    "How much": word_list("run_budget budget quick seeds runs max_usd controls race add"),
    "Who": word_list("researcher model"),
    "Where": word_list("study seed workers no_sandbox"),
}
MANY = 10  # grouped options that make a help long


def _output() -> Output:
    """The Output of this command; ``--json`` is also accepted before its name."""
    contexts = [context := click.get_current_context()]
    while context.parent is not None:
        contexts.append(context := context.parent)
    return Output(as_json=any(context.params.get("as_json") for context in contexts))


class CommandWithExamples(click.Command):
    """A command or group whose help ends with examples."""

    examples: Sequence[Example] = ()

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Two or three command lines, each with its meaning."""
        formatter.write("\nExamples:\n")
        width = max((len(line) for line, _ in self.examples), default=0)
        for line, meaning in self.examples:
            together = f"  {line:<{width}}  {meaning}".rstrip()
            formatter.write((together if len(together) <= 80 else f"  {line}\n      {meaning}") + "\n")


class VerbCommand(CommandWithExamples):
    """A command with a table of rare settings."""

    settings: Mapping[str, Setting] = MappingProxyType({})

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Many options in groups, few in one list."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        rows = {option.name: option.get_help_record(ctx) for option in options}
        groups = {
            title: [row for name in rows if name in names and (row := rows[name])] for title, names in GROUPS.items()
        }
        if sum(map(len, groups.values())) < MANY:
            super().format_options(ctx, formatter)
            return
        known = {name for names in GROUPS.values() for name in names}
        groups["Options"] = [row for name, row in rows.items() if row and name not in known]
        for title, lines in groups.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            if name in self.settings:
                raise UsageError(f"no option {error.option_name}", hint=f"--set {name}=VALUE") from None
            raise


class SuggestingGroup(CommandWithExamples, click.Group):
    """A group that suggests the nearest command for an unknown name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            raise UsageError(f"no such command {args[0]!r}", hint=" ".join([ctx.command_path, *near, "--help"]))
        return super().resolve_command(ctx, args)


CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 80}


def verb(*examples: Example) -> Callable[[Callable[..., int | None]], VerbCommand]:
    """Make a click command from ``function(out, typed parameters) -> exit code or None``."""

    def make(function: Callable[..., int | None]) -> VerbCommand:
        def call(**values: Any) -> int:
            try:
                return function(_output(), **typed_values(function, values)) or 0
            except NoSandbox as problem:
                from trainer.sandbox import FLAG, UNSAFE  # not before guard.check_packages

                if FLAG in options:
                    problem.hint += f"; {UNSAFE}"
                raise

        rows = [*click_parameters(function)]
        settings = {str(row.name): row for row in rows if isinstance(row, Setting)}
        params = [row for row in rows if not isinstance(row, Setting)]
        options = {option for parameter in params for option in parameter.opts}
        if settings and "--set" not in options:
            params.append(settings_option("settings", str, takes_models=False))
        params.append(AS_JSON)
        title = function.__name__.rstrip("_").replace("_", "-")
        command = VerbCommand(title, params=params, callback=call, help=function.__doc__, context_settings=CONTEXT)
        command.examples, command.settings = examples, settings
        return command

    return make


def noun(*examples: Example) -> Callable[[Callable[..., None]], SuggestingGroup]:
    """Make a group with the name and the docstring of ``function``; without a subcommand it calls ``function(out)``, or
    shows its help where the function takes nothing."""

    def make(function: Callable[..., None]) -> SuggestingGroup:
        def call(**_common: bool) -> int:
            context = click.get_current_context()
            if context.invoked_subcommand is None and get_type_hints(function).get("out"):
                function(_output())
            elif context.invoked_subcommand is None:
                click.echo(context.get_help())
            return 0

        group = SuggestingGroup(
            function.__name__,
            params=[AS_JSON],
            callback=call,
            help=function.__doc__,
            invoke_without_command=True,
            context_settings=CONTEXT,
        )
        group.examples = examples
        return group

    return make
