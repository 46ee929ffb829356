"""What the children of an instruction for writers gain over their parents: one row for each instruction, over its
children. A child is one difference, as in `analysis.effects.mutation`; instructions were chosen by earlier gains."""

from __future__ import annotations

import json
from collections import defaultdict

from analysis.effects.experiments import MethodInput
from analysis.effects.mutation import mutation_credits
from analysis.effects.rows import CreditEstimate
from analysis.statistics import mean_interval, t_test
from programs.ids import content_id
from programs.program import Program

METHOD = "instruction"
WROTE = "SELECT child_id, meta_program_id FROM mutations WHERE accepted AND meta_program_id IS NOT NULL"
NAMED = "SELECT record -> '$.config.meta_programs' FROM events WHERE kind = 'study' LIMIT 1"


def make(known: MethodInput) -> list[CreditEstimate]:
    scope = known.scope
    wrote = dict(scope.con.execute(WROTE).fetchall())
    if not wrote:
        return []
    listed = [text for (text,) in scope.con.execute(NAMED).fetchall() if text]
    own = [pair for text in listed for pair in json.loads(text)]
    names = {Program.parse(text, name).program_id: name for name, text in own}
    children = defaultdict(list)
    for row in mutation_credits(scope):
        if row.child_id in wrote:
            children[wrote[row.child_id]].append(row)
    rows = []
    for program_id, each in children.items():
        mean = mean_interval([row.estimate for row in each])
        rows.append(CreditEstimate(
            credit_id=content_id("c", METHOD, scope.task, program_id), task=scope.task, estimate=mean.mean or 0.0,
            se=mean.se, low=mean.low, high=mean.high, n=mean.n, q=None, p=t_test(mean.mean or 0.0, mean.se, mean.n - 1),
            df=mean.n - 1, design="observational", unit=scope.unit, method=METHOD,
            label=names.get(program_id, f"written: {program_id}"), program_id=program_id,
        ))  # fmt: skip
    return sorted(rows, key=lambda row: (-row.estimate, row.program_id or ""))
