"""Flags that several verbs share, one definition each, and the groups in which they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import click

from meta.cli.options import Above0, Duration, argument, flag, without


def _choose_executor(_context: click.Context, _parameter: click.Parameter, kind: str | None) -> str | None:
    """Told to the executors by the environment, as it belongs to a command and not to its study."""
    from arena.choice import choose

    choose(kind)
    return kind


def _share_devices(_context: click.Context, _parameter: click.Parameter, runs: int | None) -> int | None:
    """Like the executor, told by the environment: no result depends on it."""
    from arena.lease import share

    share(runs)
    return runs


STUDY_HELP = "The study's folder, or its name under studies/."
StudyFlag = Annotated[str | None, flag(STUDY_HELP, "-s", "--study", metavar="DIR")]
AnyStudy = Annotated[str | None, argument(required=False), flag(STUDY_HELP, "-s", "--study", metavar="DIR")]
Programs = Annotated[tuple[str, ...], argument(metavar="[PROGRAM]...", nargs=-1)]
ProgramOrNone = Annotated[str | None, argument(metavar="[PROGRAM]", required=False)]
ContestFolder = Annotated[str, argument(metavar="DIR")]
YesFlag = Annotated[bool, flag("Ask nothing.", "-y")]
BudgetFlag = Annotated[float | None, flag("Device time of the whole command: 2h.", type=Duration())]
RunBudgetFlag = Annotated[
    float | None, flag("Device time of one run: 20m, 5400s, 8h  [default: the task's].", "-b", type=Duration())
]


RaceRuleFlag = Annotated[
    str | None, flag("How a race gives out its runs: allocation, halving, top-two, or a plug-in.", metavar="NAME")
]


@dataclass(frozen=True)
class StudyFlags:
    """Which study a command starts or goes on with, on which task."""

    study: StudyFlag = None
    resume: Annotated[str | None, flag("Go on with this study, as it was begun.", metavar="DIR")] = None
    task: Annotated[str | None, flag("The task  [default: strokes].", "-t", metavar="NAME|DIR")] = None
    run_budget: RunBudgetFlag = None


@dataclass(frozen=True)
class PlayingFlags:
    """Of a command that plays matches: how, and on what."""

    seed: Annotated[
        int | None,
        flag("Seed of the study: guessable, so not where anybody may cheat. Without it, a fresh secret.", min=0),
    ] = None
    workers: Annotated[int | None, flag("Worker processes  [default: the cores].", "-j", min=1)] = None
    devices_per_run: Annotated[
        int | None, flag("Devices that share the waves of one run  [default: 1].", min=1, max=64)
    ] = None
    fixed_steps: Annotated[bool, flag("Steps in place of seconds: bit-reproducible.")] = False
    executor: Annotated[
        str | None,
        flag(
            "Where jobs run: local (this machine), ray (a cluster), or a plug-in's executor  [default: local].",
            metavar="NAME",
            callback=_choose_executor,
        ),
    ] = None
    runs_per_device: Annotated[
        int | None,
        flag(
            "Runs that share each of the -j devices, one training there at a time: others think meanwhile  "
            "[default: 1].",
            min=1,
            max=8,
            callback=_share_devices,
        ),
    ] = None
    unsafe_no_sandbox: Annotated[bool, flag("No sandbox: every row says unverified.")] = False


@dataclass(frozen=True)
class StartFlags:
    """What comes before the start."""

    dry_run: Annotated[bool, flag("Print the plan, and stop.")] = False
    yes: YesFlag = False


SHARES = 50  # runs that a cap is for, where nobody says what one of them may take


@dataclass(frozen=True)
class ModelFlags:
    """Who researches: the researcher, its models, their caps, how they are called, and recordings of that."""

    researcher: Annotated[
        str | None, flag("Who follows the program: scripted, chat, command:NAME (an agent).", "-r", metavar="KIND")
    ] = None
    model: Annotated[
        str | None, flag("LiteLLM models; the next ones stand in for the first.", "-m", metavar="NAME,…")
    ] = None
    max_usd: Annotated[float | None, flag("Most dollars of the study.", type=Above0, metavar="USD")] = None
    max_tokens: Annotated[int | None, flag("Most tokens of the study, in and out.", min=1)] = None
    run_usd: Annotated[
        float | None, flag(f"Most dollars of one run  [default: --max-usd / {SHARES}].", type=Above0, metavar="USD")
    ] = None
    run_tokens: Annotated[int | None, flag(f"Most tokens of one run  [default: --max-tokens / {SHARES}].", min=1)] = (
        None
    )
    price: Annotated[
        tuple[str, ...], flag("Dollars per million tokens of a model without a price.", metavar="NAME=IN/OUT[/CACHED]")
    ] = ()
    reply_tokens: Annotated[int | None, flag("Longest reply of a model  [default: 8192].", min=1)] = None
    call_timeout: Annotated[
        float | None, flag("Longest time of one attempt of a call  [default: 5m].", type=Duration())
    ] = None
    patience: Annotated[float | None, flag("How long a call waits for any model  [default: 15m].", type=Duration())] = (
        None
    )
    calls_at_once: Annotated[int | None, flag("Calls of one provider at a time  [default: 8].", min=1)] = None
    record: Annotated[str | None, flag("Write each exchange with a model there.", metavar="DIR")] = None
    replay: Annotated[str | None, flag("Answer from a recording: no network, no key.", metavar="DIR")] = None


StudyModelFlags = Annotated[ModelFlags, without("run_usd", "run_tokens")]
