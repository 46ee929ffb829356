"""Turns typed functions into click commands, whose help is in groups and ends with examples."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import click

from meta.cli.options import CommonFlags, Rare, click_parameters, settings_flag, typed_values
from meta.cli.output import Output
from programs.errors import NoSandbox, UsageError
from programs.text import word_list

Example = tuple[str, str]
GROUPS = {  # headings of a long help, with the parameters below them
    "What": word_list("task reserve from_study only"),
    "How much": word_list("run_budget budget quick seeds runs max_usd controls race add"),
    "Who": word_list("researcher model"),
    "Where": word_list("study resume seed workers no_sandbox"),
}
MANY = 10  # grouped options that make a help long


def _output() -> Output:
    """The Output of this command; ``--json`` is also accepted before its name."""
    contexts = [context := click.get_current_context()]
    while context.parent is not None:
        contexts.append(context := context.parent)
    return Output(as_json=any(context.params.get("as_json") for context in contexts))


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


class SuggestingGroup(click.Group):
    """A group that suggests the nearest command for an unknown name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"{ctx.command_path} {near[0]} --help" if near else f"{ctx.command_path} --help"
            hint = next(iter(self.below(ctx, args[0])), hint)
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


def verb(*examples: Example) -> Callable[[Callable[..., int | None]], VerbCommand]:
    """Make a click command from ``function(out, typed parameters) -> exit code or None``."""

    def make(function: Callable[..., int | None]) -> VerbCommand:
        def call(**values: Any) -> int:
            try:
                return function(_output(), **typed_values(function, values)) or 0
            except NoSandbox as problem:
                from trainer.sandbox import FLAG, UNSAFE

                if any(FLAG in one.opts for one in params):
                    problem.hint += f"; {UNSAFE}"
                raise

        title = function.__name__.rstrip("_").replace("_", "-")
        params = [*click_parameters(function), *click_parameters(CommonFlags)]
        if any(isinstance(one, Rare) for one in params) and not any("--set" in one.opts for one in params):
            params.insert(-2, settings_flag(expose_value=False)("settings", tuple[str, ...]))
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
