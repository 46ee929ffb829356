"""Flags that several commands share, each defined once, and the groups they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import click

from meta.cli.options import Above0, Duration, argument, flag, rare, settings_option

StudyFlag = Annotated[
    str | None,
    flag("The study's folder, or its name under studies/  [default: the newest one there].", "-s", metavar="DIR"),
]
NewStudyFlag = Annotated[
    str | None,
    flag("Folder of the new study; -s a creates ./a  [default: studies/TASK-DATE-N].", "-s", "--study", metavar="DIR"),
]
AnyStudy = Annotated[str | None, argument(required=False)]  # its folder, or its name; without it the newest one
Programs = Annotated[tuple[str, ...], argument(metavar="[PROGRAM]...", nargs=-1)]
ContestFolder = Annotated[str, argument(metavar="DIR")]
ProxyFlag = Annotated[
    str | None,
    flag(
        "Address or network of your TLS proxy, if it runs on another machine or outside the container.", metavar="IP,…"
    ),
]
HostFlag = Annotated[str, flag("Address to listen on.", default="127.0.0.1")]
YesFlag = Annotated[bool, flag("Do not ask for confirmation.", "-y")]
BudgetFlag = Annotated[float | None, flag("Device time of the whole command, e.g. 2h.", type=Duration())]
RunBudgetFlag = Annotated[
    float | None, flag("Device time of one run: 20m, 5400s, 8h  [default: the task's].", "-b", type=Duration())
]
HarvestFlag = Annotated[
    int | None,
    rare(
        "Device time of the final search for the best train.py, in percent of the runs' device time; 0: none  "
        "[default: 10; 3 with --quick].",
        min=0,
        max=400,
    ),
]


RaceRuleFlag = Annotated[
    str | None,
    rare("How a race divides its runs among programs; an unknown name prints the list of rules."),
]


@dataclass(frozen=True)
class PlayingFlags:
    """How the runs of a command are executed, and on which devices."""

    seed: Annotated[
        int | None,
        flag(
            "Seed of the study; anyone who knows it can compute the hidden data  [default: a new secret].",
            min=0,
        ),
    ] = None
    workers: Annotated[
        int | None, flag("Worker processes, each with a device of its own  [default: one per core].", "-j", min=1)
    ] = None
    devices_per_run: Annotated[
        int | None, rare("Devices that train the parallel experiments of one run  [default: 1].", min=1, max=64)
    ] = None
    fixed_steps: Annotated[bool, rare("true: limit training by steps, not seconds: results repeat bit by bit.")] = False
    no_sandbox: Annotated[bool, flag("Run code and agents without a sandbox; every result is marked unverified.")] = (
        False
    )


@dataclass(frozen=True)
class StartFlags:
    """What a command does before it starts."""

    dry_run: Annotated[bool, flag("Print the plan and its cost; run nothing.")] = False
    yes: YesFlag = False


@dataclass(frozen=True)
class EndFlags:
    """What happens when a study of a program in a repository has ended."""

    apply: Annotated[
        bool,
        flag(
            "At the end, commit the program and the train.py, each if it is better, to a new branch of the task's "
            "repository."
        ),
    ] = False
    data_noise: Annotated[
        str | None,
        rare(
            "unknown: --apply also commits a train.py of which it is not known whether its gain holds on other data.",
            type=click.Choice(("unknown",)),
        ),
    ] = None

    @property
    def words(self) -> str:
        """The words of a command that asks for the same branch."""
        return " --apply" * self.apply + " --set data_noise=unknown" * (self.data_noise is not None)


SHARES = 50  # the default limit of one run is the whole limit divided by this


@dataclass(frozen=True)
class ModelFlags:
    """The researcher, its models or agent, and their spending limits."""

    researcher: Annotated[
        str | None,
        flag(
            "Who follows the program: scripted (a script), chat (a language model), command:NAME (a coding agent)  "
            "[default: chat with -m, else scripted].",
            "-r",
            metavar="KIND",
        ),
    ] = None
    model: Annotated[
        str | None,
        flag("The language model, by its name in LiteLLM; further names are fallbacks.", "-m", metavar="NAME,…"),
    ] = None
    max_usd: Annotated[float | None, flag("Spending limit in dollars.", type=Above0, metavar="USD")] = None
    more: Annotated[tuple[str, ...], settings_option] = ()
