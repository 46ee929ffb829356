"""best-meta.md and best-meta.evidence.md: the best instruction, and what the instructions led to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meta.champion import write_whole
from meta.mutators.llm import prompts

if TYPE_CHECKING:
    from meta.instructions.claim import InstructionResult
    from meta.instructions.trials import Trial
    from meta.instructions.writer import TriedInstruction
    from programs.program import Program

BEST, EVIDENCE = "best-meta.md", "best-meta.evidence.md"


def leave_files(
    folder: Path, result: InstructionResult, best: Program, tried: Sequence[TriedInstruction], final: Sequence[Trial]
) -> None:
    """Write both; ``final``: the jobs of the test."""
    page = prompts.render(
        "instruction.evidence.md.j2",
        result=result,
        verdict=result.verdict(),
        best=best,
        tried=tried,
        final=final,
        tasks=len({trial.task for one in tried for trial in one.trials}),
    )
    write_whole(folder / BEST, best.raw)
    write_whole(folder / EVIDENCE, page.encode())
