"""The command ``metaloop``: a group that imports a command when it is called, and the handler of all errors."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, cast

import click

from meta.cli import errors, guard
from meta.cli.commands import CONTEXT, SuggestingGroup
from meta.cli.options import AS_JSON
from meta.cli.table import VERBS
from programs.common.distribution import version

CLOSING = (
    "A study is a folder with the programs, runs and measurements of one command.",
    "Every option can also be set in the environment: METALOOP_RUN_BUDGET=20m means",
    "--run-budget 20m. Exit codes: 0 done, 1 failed, 2 usage, 3 limit reached,",
    "4 credential missing, 10 and 11 answers of judge, 130 interrupted. After 3 and 130",
    "a study can be resumed.",
)


class LazyGroup(SuggestingGroup):
    """Commands come from the static table; a command's module is imported when the command is called."""

    examples = (
        ("metaloop evolve --quick", "a small evolution, offline, 2 to 3 minutes on 2 cores"),
        ("metaloop improve my/program.md", "start from a program of your own"),
        ("metaloop standings studies/NAME", "the gains of all programs, with confidence intervals"),
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = VERBS.get(cmd_name)
        if entry is None:
            return None
        module, attribute = entry.target.split(":")
        return cast(click.Command, getattr(importlib.import_module(f"meta.cli.{module}"), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(e.name, e.help) for e in VERBS.values() if e.first], col_max=12)
        with formatter.section("More"):
            formatter.write_text(", ".join(e.name for e in VERBS.values() if not e.first))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("\n" + "\n".join(CLOSING) + "\n")
        super().format_epilog(ctx, formatter)


def _version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(f"metaloop {version()}")
        context.exit()


@click.group("metaloop", LazyGroup, params=[AS_JSON], context_settings=CONTEXT, invoke_without_command=True)
@click.option("--debug", is_flag=True, envvar="METALOOP_DEBUG", help="Print the traceback of an error of any command.")
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version,
    help="Print the version, with the commit of a checkout.",
)  # fmt: skip
def root(**_flags: bool) -> None:
    """Improve program.md files: race them under an equal compute budget, estimate
    how much each sentence contributes, and write better ones."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code. Never raises for a user's mistake."""
    args, streams = list(argv), (sys.stdout, sys.stderr)
    try:
        guard.check_current_folder()
        guard.forget_git_surroundings()
        guard.check_packages()
        code: Any = root.main(args=args, prog_name="metaloop", standalone_mode=False, obj=args)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return errors.DRAINED
    except BrokenPipeError:
        return _reader_left()
    except SystemExit:
        if sys.stdout is streams[0]:
            raise
        sys.stdout, sys.stderr = streams  # click met the broken pipe first, wrapped both and calls it a failure
        return _reader_left()
    except Exception as error:  # the boundary of the process
        problem = errors.classify(error)
        if errors.wants("--debug", args):
            traceback.print_exc(file=sys.stderr)
        errors.report(problem, as_json=errors.wants("--json", args))
        return problem.exit_code


def _reader_left() -> int:
    """``metaloop sql … | head``: the reader closed the pipe. This is not a failure, and nothing is printed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
