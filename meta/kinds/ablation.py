"""The kind `ablation`: the effect of each directive of a program, by a two-level factorial design."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from analysis.effects.designs import FactorialDesign
from analysis.ledger.run_state import RunState
from analysis.statistics import t_quantile
from analysis.verdict.power import LEVEL, RunSample, detectable
from analysis.wording import many
from arena.after.ablation import (
    Switches,
    ablate,
    design_of,
    design_of_turns,
    design_seed,
    require_factors,
    switches,
)
from arena.study.settings import StudyConfig
from arena.study.setup import RunCost
from arena.study.study import Study
from arena.work.executor import Progress
from meta.champion import write_page_again
from meta.cli.study_result import ONE_SEED, show_ablation_result
from meta.kinds.contract import StudyKind
from meta.kinds.cost import Cost, Work, study_cost
from meta.kinds.model_costs import with_researcher
from meta.kinds.plans import AblationPlan
from meta.kinds.power import TURN_NOTE, TURN_SCORE, TURN_SD
from meta.kinds.study_tasks import StudyTasks
from programs.directives import Directive
from trainer.task import Task

if TYPE_CHECKING:
    from meta.cli.output import Output
    from meta.ui.live import LiveStudy


class AblationKind(StudyKind[AblationPlan]):
    name = "ablation"
    plan_type = AblationPlan
    goes_into_existing = True

    def cost(self, config: StudyConfig, plan: AblationPlan) -> Cost:
        task = StudyTasks.of(config).training[0]
        a_run = RunCost.of(config, task)
        switched, design = design_for(plan, config, task, lambda _: 0)
        runs = plan.lineages or design.runs
        cost = study_cost(config, [task], [Work.of(a_run, runs, a_run.seconds(runs))], config.verify_seeds)
        if plan.lineages:
            cost = with_researcher(cost, config, task, design.runs).with_details(lineages=runs, turns=design.runs)
        factors = [{"directive_id": d.directive_id, "kind": d.kind, "text": d.text} for d in switched.factors]
        left_out = [{"directive_id": d.directive_id, "text": d.text, "why": why} for d, why in switched.left_out]
        cost = cost.with_details(
            directives=len(design.factors), blocks=design.blocks, runs_per_block=design.order,
            programs=design.programs, factors=factors, left_out=left_out,
        )  # fmt: skip
        return cost.with_facts(power=power_of(design), design=design_line(design, len(left_out), plan.lineages))

    def has_finished(self, study: Study) -> bool:
        program_id = self.read_plan(study.config).program.program_id  # others were added
        match_ids = [event.match_id for event in study.state.ablations.values() if event.program_id == program_id]
        return bool(match_ids) and match_ids[0] in study.state.ended_matches

    def play(self, study: Study, plan: AblationPlan, progress: Progress) -> None:
        _, design = design_for(plan, study.config, study.task, partial(design_seed, study, plan.program))
        ablate(study, plan.program, design, progress, plan.lineages)

    def added_to(self, study: Study) -> AblationPlan | None:
        for event in reversed(study.state.ablations.values()):
            if event.program_id is not None and event.match_id not in study.state.ended_matches:
                program = study.program(event.program_id)
                seconds = RunCost.of(study.config, study.task).seconds(int(str(event.plan["runs"])))
                return AblationPlan(
                    name=program.name, text=program.document, only=[*event.factors], budget=float(seconds)
                )
        return None

    def runs_of(self, study: LiveStudy) -> list[RunState]:
        matches = [match for match in study.matches.values() if match.purpose == "ablation"]
        arms = {arm.arm_id for match in matches if match.match_id not in study.ended_matches for arm in match.arms}
        return [run for run in study.begun if run.started and run.started.arm_id in arms]

    def result(self, out: Output, study: Study, plan: AblationPlan, applies: bool = False) -> Sequence[str]:
        event = study.state.champion
        if event is not None and event.body["program_id"] == plan.program.program_id and write_page_again(study):
            out.note("champion.evidence.md is updated")
        events = [
            ablation for ablation in study.state.ablations.values() if ablation.program_id == plan.program.program_id
        ]
        return show_ablation_result(out, study.folder, str(events[-1].match_id))


def design_for(
    plan: AblationPlan, config: StudyConfig, task: Task, seed: Callable[[Sequence[Directive]], int]
) -> tuple[Switches, FactorialDesign]:
    """What a plan switches, and its design. ``seed``: of the design, by the directives that are switched."""
    switched = switches(plan.program, task, config.researcher, plan.only, is_prose=plan.lineages > 0)
    require_factors(switched.factors, task)
    if plan.lineages:
        return switched, design_of_turns(switched.factors, plan.lineages, plan.blocks, seed(switched.factors))
    return switched, design_of(switched.factors, RunCost.of(config, task), plan.budget, seed(switched.factors))


def design_line(design: FactorialDesign, left_out: int, lineages: int = 0) -> str:
    """The design in a line."""
    switched = many(len(design.factors), "directive")
    blocks, runs = design.blocks, many(design.order, "run")
    if lineages:
        blocks = design.blocks // 2 * len(design.turn_blocks)
        runs = f"{many(len(design.turn_blocks[0]), 'turn')}, in {many(lineages, 'lineage')} of train.py"
    line = f"{switched} on and off in {many(blocks, 'block')} of {runs}"
    return f"{line}; {left_out} left out (--dry-run says why)" if left_out else line


def power_of(design: FactorialDesign) -> str:
    """What the design can show, by t tests as in the table of its effects, in SDs between runs or turns."""
    half, unit = t_quantile(0.975, design.df) * design.se, "turns" if design.of_turns else "runs"
    least = detectable_effect(design)
    parts = [
        f"95% intervals of about ± {half:.2f} SD between {unit}; detects an effect of {least:.2f} SD with 80% power"
    ]
    if design.of_turns:
        corrected = detectable_effect(design, len(design.factors))
        parts[0] += f", of {corrected:.2f} SD after Holm's correction for {many(len(design.factors), 'directive')}"
        parts.append(
            f"an effect of {least:.2f} SD is {least * TURN_SD / TURN_SCORE:.0%} of an average turn ({TURN_NOTE})"
        )
    elif design.blocks < 3:
        parts.append(ONE_SEED)
    if not design.clear:
        parts.append("an odd number of blocks confounds each effect with some two-way interactions")
    return "; ".join(parts)


def detectable_effect(design: FactorialDesign, tests: int = 1) -> float:
    """The smallest effect that a two-sided test at 5% divided by ``tests`` detects with 80% power, in SDs."""
    one_sample = RunSample(design.se * math.sqrt(design.df + 1), design.df + 1)  # of the same SE and df
    return detectable(one_sample, RunSample(0.0, 2), level=LEVEL / tests) or 0.0


make = AblationKind
