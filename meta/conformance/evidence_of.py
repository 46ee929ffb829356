"""Evidence with planted effects, as the mutators get it."""

from __future__ import annotations

from analysis.effects.rows import DirectiveCredit, Value
from analysis.report.evidence import EditCredit, Evidence, ProgramScore


def edit(knob: str, value: Value, gain: float, se: float | None = 0.01, runs: int = 8, **more: object) -> EditCredit:
    fields = {
        "credit_id": f"c-{knob}-{value}", "task": "t", "estimate": gain, "se": se, "low": None, "high": None,
        "n": 2 * runs, "q": None, "design": "randomised", "unit": "nats", "knob": knob, "value": value,
        "label": f"+{knob}" if value is True else f"{knob.lower()}={value}", "failures": 0, "runs": runs,
        "device_seconds": 1.0,
    }  # fmt: skip
    return EditCredit(**{**fields, **more})  # type: ignore[arg-type]


def idea(directive_id: str, text: str, kept_gain: float, n: int = 10) -> DirectiveCredit:
    return DirectiveCredit(
        credit_id=f"c-{directive_id}", task="t", estimate=kept_gain, se=None, low=None, high=None, n=n, q=None,
        design="observational", unit="nats", directive_id=directive_id, text=text, heading="Ideas", kind="idea",
        program_ids=(), device_seconds=1.0, failures=0, runs_held=n, runs=n,
    )  # fmt: skip


def evidence(*edits: EditCredit, ideas: tuple[DirectiveCredit, ...] = ()) -> Evidence:
    return Evidence(
        task="t",
        unit="nats",
        edits=edits,
        directives=ideas,
        mutations=(),
        programs=(),
        runs=1,
        experiments=1,
    )


def score(program_id: str, mean: float = 0.1) -> ProgramScore:
    return ProgramScore(
        program_id=program_id,
        name="p",
        task="t",
        mean=mean,
        se=0.01,
        n=4,
        shrunk_mean=mean,
        shrunk_se=0.01,
        low=None,
        high=None,
        claimed=None,
        words=10,
        generation=0,
    )


PLANTED = evidence(
    edit("MOMENTUM", 0.9, 0.20),
    edit("MOMENTUM", 0.95, 0.15),
    edit("MOMENTUM", 0.5, 0.08),
    edit("MOMENTUM", 0.99, -0.3),
    edit("BATCH", 64, 0.12),
    edit("BATCH", 32, 0.10),
    edit("BATCH", 512, -0.2),
    edit("conv", True, 0.30, se=0.02),
    edit("pool", True, -0.05),
    edit("NORM", "batch", 0.16),
    edit("NORM", "layer", 0.05),
    edit("WIDTH", 64, 0.01, se=0.05),
    edit("DEPTH", 4, -0.25),
)
