"""Phases of a charter: each part of a run follows its own, and proposers keep their memory."""

from __future__ import annotations

from meta.mutators.queue_first import queue_first
from programs.edit import without_ideas
from programs.program import Program
from tests.inner_loop.play import FULL, Played, play, program
from trainer.experiment import Trainer

IDEAS = [f"try `lr={lr}`" for lr in (0.1, 0.3, 0.001, 0.003)] + ["add `+bias`"]


def proposers(played: Played) -> list[str]:
    return [row["proposer"] for row in played.experiments[1:]]


def because(played: Played, text: Program) -> list[set[str]]:
    """The fields that each experiment cites."""
    names = {d.directive_id: d.text.partition(":")[0] for d in text.directives}
    return [{names[which] for which in row["directive_ids"]} for row in played.experiments[1:]]


def test_a_phase_ends_with_its_share_of_the_budget_and_the_queue_goes_on(cached: Trainer) -> None:
    text = program(
        "proposers: {local: 1}\nphases: [{until: 0.3, proposers: {queue: 1}}, {until: 0.6}, {proposers: {queue: 1}}]",
        IDEAS,
    )
    played = play(cached, text, 10)
    assert played.result.charged == 10 * FULL
    assert proposers(played) == ["queue"] * 2 + ["local"] * 3 + ["queue"] * 3 + ["random"]
    queued = [row["description"] for row in played.experiments if row["proposer"] == "queue"]
    assert [said.partition(": ")[2] for said in queued] == IDEAS[:5][: len(queued)]
    cited = because(played, text)
    assert cited[2:5] == [{"proposers"}] * 3 and cited[-1] == {"phases"} and cited[0] == {IDEAS[0]}


def test_an_idea_out_of_focus_waits_for_the_phase_of_its_knob(cached: Trainer) -> None:
    text = program(
        "proposers: {queue: 1}\nphases: [{until: 0.5, focus: [model]}, {}]", [IDEAS[0], "add `+bias`", IDEAS[1]]
    )
    played = play(cached, text, 6)
    said = [row["description"].partition(": ")[2] for row in played.experiments if row["proposer"] == "queue"]
    assert said == ["add `+bias`", IDEAS[0], IDEAS[1]]


def test_every_rule_changes_with_the_phase(cached: Trainer) -> None:
    text = program("focus: [optimizer, model]\nphases: [{until: 0.5, wave: 3}, {keep: {rule: margin, margin: 100}}]")
    played = play(cached, text, 13)
    rows = played.experiments[1:]
    first = [row for row in rows if row["number"] < 9]  # the margin's rule trains the baseline twice, at the start
    assert [row["replicate"] for row in rows[:2]] == [1, 2]
    assert [row["parent_number"] for row in first[2:5]] == [0, 0, 0] and played.decided("keep")
    late = [row["decision"] for row in rows if row["number"] >= 9]
    assert set(late) == {"discard"}
    assert all("phases" in cited for cited in because(played, text)[:2])


def test_a_charter_without_phases_draws_as_one_whose_phases_change_nothing(cached: Trainer) -> None:
    field = "proposers: {queue: 1, local: 2, random: 1}\nno_repeat: true"
    plain, phased = (play(cached, program(field + more, IDEAS), 10) for more in ("", "\nphases: [{until: 0.4}, {}]"))
    assert [row["source_id"] for row in plain.experiments] == [row["source_id"] for row in phased.experiments]


def test_programs_with_phases_lose_or_lead_with_their_ideas() -> None:
    phases = "phases: [{until: 0.5, proposers: {queue: 1, tpe: 1}}, {until: 0.7, proposers: {queue: 1}, wave: 2}, {}]"
    text = program(f"proposers: {{queue: 1, local: 1}}\n{phases}", IDEAS)
    bare = without_ideas(text).charter
    assert bare.proposers == {"local": 1.0}
    assert bare.get("phases") == [{"until": 0.5, "proposers": {"tpe": 1.0}}, {"until": 0.7, "wave": 2}, {}]
    led = Program.parse(queue_first(text.text)).charter
    assert led.phases[0].proposers == {"queue": 0.95, "tpe": 0.05} and led.proposers == text.charter.proposers
    assert queue_first(queue_first(text.text)) == queue_first(text.text)
