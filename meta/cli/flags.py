"""Flags that several verbs share, one definition each, and the groups in which they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import click

from meta.cli.options import Duration, argument, flag


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
TaskFlag = Annotated[str | None, flag("The task  [default: strokes].", "-t", "--task", metavar="NAME|DIR")]
ContestFolder = Annotated[str, argument(metavar="DIR")]
SeedFlag = Annotated[
    int | None,
    flag(
        "Seed of the study: guessable, so not where anybody may cheat. Without it, a fresh secret.",
        "--seed",
        min=0,
    ),
]
WorkersFlag = Annotated[int | None, flag("Worker processes  [default: the cores].", "-j", "--workers", min=1)]
DevicesFlag = Annotated[
    int | None,
    flag("Devices that share the waves of one run  [default: 1].", "--devices-per-run", min=1, max=64),
]
FixedStepsFlag = Annotated[bool, flag("Steps in place of seconds: bit-reproducible.", "--fixed-steps")]
UnsafeFlag = Annotated[bool, flag("No sandbox: every row says unverified.", "--unsafe-no-sandbox")]
ExecutorFlag = Annotated[
    str | None,
    flag(
        "Where jobs run: this machine, or a Ray cluster  [default: local].",
        "--executor",
        type=click.Choice(["local", "ray"]),
        callback=_choose_executor,
    ),
]
ShareFlag = Annotated[
    int | None,
    flag(
        "Runs that share each of the -j devices, one training there at a time: others think meanwhile  [default: 1].",
        "--runs-per-device",
        min=1,
        max=8,
        callback=_share_devices,
    ),
]
DryRunFlag = Annotated[bool, flag("Print the plan, and stop.", "--dry-run")]
YesFlag = Annotated[bool, flag("Ask nothing.", "-y", "--yes")]
RunBudgetFlag = Annotated[
    float | None,
    flag("Device time of one run: 20m, 5400s, 8h  [default: the task's].", "-b", "--run-budget", type=Duration()),
]
BudgetFlag = Annotated[float | None, flag("Device time of the whole command: 2h.", "--budget", type=Duration())]
ResearcherFlag = Annotated[
    str | None,
    flag("Who follows the program: scripted, chat, command:NAME (an agent).", "-r", "--researcher", metavar="KIND"),
]
ModelNames = Annotated[
    str | None, flag("LiteLLM models; the next ones stand in for the first.", "-m", "--model", metavar="NAME,…")
]
MaxUsdFlag = Annotated[
    float | None,
    flag("Most dollars of the study.", "--max-usd", type=click.FloatRange(min=0, min_open=True), metavar="USD"),
]
MaxTokensFlag = Annotated[int | None, flag("Most tokens of the study, in and out.", "--max-tokens", min=1)]
PriceFlag = Annotated[
    tuple[str, ...],
    flag("Dollars per million tokens of a model without a price.", "--price", metavar="NAME=IN/OUT[/CACHED]"),
]


@dataclass(frozen=True)
class StudyFlags:
    """Which study a command starts or goes on with."""

    study: StudyFlag
    resume: Annotated[str | None, flag("Go on with this study, as it was begun.", metavar="DIR")]


@dataclass(frozen=True)
class PlayingFlags:
    """Of a command that plays matches: how, and on what."""

    seed: SeedFlag
    workers: WorkersFlag
    devices_per_run: DevicesFlag
    fixed_steps: FixedStepsFlag
    executor: ExecutorFlag
    runs_per_device: ShareFlag
    unsafe_no_sandbox: UnsafeFlag


@dataclass(frozen=True)
class StartFlags:
    """What is asked before the start."""

    dry_run: DryRunFlag
    yes: YesFlag


@dataclass(frozen=True)
class CallFlags:
    """How a model is called."""

    reply_tokens: Annotated[int | None, flag("Longest reply of a model  [default: 8192].", min=1)] = None
    call_timeout: Annotated[
        float | None, flag("Longest time of one attempt of a call  [default: 5m].", type=Duration())
    ] = None
    patience: Annotated[float | None, flag("How long a call waits for any model  [default: 15m].", type=Duration())] = (
        None
    )
    calls_at_once: Annotated[int | None, flag("Calls of one provider at a time  [default: 8].", min=1)] = None


@dataclass(frozen=True)
class TapeFlags:
    """Exchanges with models, recorded or answered from a recording."""

    record: Annotated[str | None, flag("Write each exchange with a model there.", metavar="DIR")] = None
    replay: Annotated[str | None, flag("Answer from a recording: no network, no key.", metavar="DIR")] = None


@dataclass(frozen=True)
class ModelFlags:
    """Who researches: the researcher, its models, their caps. What a command does not offer is left out."""

    researcher: ResearcherFlag = None
    model: ModelNames = None
    max_usd: MaxUsdFlag = None
    max_tokens: MaxTokensFlag = None
    price: PriceFlag = ()
    calls: CallFlags = CallFlags()
    tapes: TapeFlags = TapeFlags()
