"""Sentences of real research programs: what each sets, and what looks alike and must stay prose."""

from __future__ import annotations

from typing import Any

import pytest

from programs.charter import Charter, nested
from programs.charter_read import judge, read_phrases, written
from programs.charter_wordings import no_field, read

PAIRED_1, GROUP_3 = {"keep.rule": "paired", "keep.pairs": 1}, {"plateau.after": 3, "plateau.then": "group"}
SENTENCES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Keep a change only if it improves by at least 0.001.", {"keep.least": 0.001}),
    ("Only keep changes if val_bpb drops by more than 0.002.", {"keep.least": 0.002}),
    ("Discard improvements smaller than 0.0005 bpb.", {"keep.least": 0.0005}),
    ("Gains below 0.001 are noise.", {"keep.least": 0.001}),
    ("An improvement must be at least 1e-3 to be kept.", {"keep.least": 0.001}),
    ("The minimum improvement is 0.01.", {"keep.least": 0.01}),
    ("Keep a change only if it improves by more than the noise.", {"keep.rule": "margin"}),
    ("Improvements within the seed noise do not count.", {"keep.rule": "margin"}),
    (
        "Keep the change only when the loss improves by at least 2 standard deviations.",
        {"keep.rule": "margin", "keep.margin": 2.0},
    ),
    ("If `val_bpb` improved, keep the commit; otherwise revert it.", {"keep.rule": "better"}),
    ("When the metric improves, keep the change, else discard it!", {"keep.rule": "better"}),
    ("Run the best twice before you keep it.", PAIRED_1),
    ("**Run every winner three times before keeping it.**", {"keep.rule": "paired", "keep.pairs": 2}),
    ("Before keeping a change, rerun it with a different seed.", PAIRED_1),
    ("Before you keep an improvement, confirm it on 3 fresh seeds.", {"keep.rule": "paired", "keep.pairs": 3}),
    ("Run each experiment with three seeds and compare the mean.", {"replicates": 3}),
    ("Average every result over 5 random seeds.", {"replicates": 5}),
    ("Run every experiment twice and take the average.", {"replicates": 2}),
    ("After three failures in a row change the category.", GROUP_3),
    ("Three failures in a row: change the category.", GROUP_3),
    ("After three failures in a row: change the category (features, optimizer).", GROUP_3),
    ("Keep a change only if it improves val_rmse by at least .005.", {"keep.least": 0.005}),
    ("Rotate the categories: features, optimizer, model.", {"rotate": True}),
    ("Never try the same thing twice.", {"no_repeat": True}),
    ("After 3 experiments in a row without improvement, switch to a different area.", GROUP_3),
    ("Switch to another category after three failed experiments in a row.", GROUP_3),
    ("If nothing improved in 5 runs, try something radical.", {"plateau.after": 5, "plateau.then": "several"}),
    ("When you are stuck for ten experiments, make a bold change.", {"plateau.after": 10, "plateau.then": "several"}),
    (
        "If nothing was kept in the last 8 experiments, combine several changes at once.",
        {"plateau.after": 8, "plateau.then": "several"},
    ),
    ("Alternate between optimizer and architecture.", {"rotate": True}),
    ("Never try the same group twice in a row.", {"rotate": True}),
    ("Do not change the same component in two consecutive experiments.", {"rotate": True}),
    ("Rotate through the categories of changes from one experiment to the next.", {"rotate": True}),
    ("After three consecutive failures, try a different category.", GROUP_3),
    ("After five failed experiments in a row, go back to an earlier commit.", {"branch.rewind_after": 5}),
    ("Never run the same experiment twice.", {"no_repeat": True}),
    ("Don't repeat experiments that were already run.", {"no_repeat": True}),
    ("Never retry a setting that crashed or ran out of memory.", {"avoid_failures": True}),
    ("Try four ideas at once and keep only the best.", {"wave": 4}),
    ("Reserve the last 20% of the budget to rerun the best candidates with fresh seeds.", {"confirm": 0.2}),
    ("Every added line must earn 0.0001.", {"simplicity": 0.0001}),
    ("Keep the 3 best versions alive and start new experiments from any of them.", {"branch.frontier": 3}),
)
NO_FIELD = (
    ("Each experiment runs for 5 minutes.", "the task sets"),
    ("Kill any run that takes longer than 10 minutes.", "the task sets"),
    ("NEVER STOP: the human may be asleep.", "a run ends"),
    ("Keep a change only if it improves by at least 0.1%.", "units of the metric"),
    ("Ignore improvements under 2%.", "units of the metric"),
    ("Stop after 100 experiments.", "a run ends"),
    ("Run until you are interrupted.", "a run ends"),
    ("Simpler code with the same result is kept.", "simplicity needs a number"),
)
ALIKE = (
    "Keep a change only if it improves by at least 0.001, unless it is simpler.",
    "Do not keep a change only if it improves by at least 0.001.",
    "Keep a change only if it improves the throughput by at least 100 tokens.",
    "Last night the loss improved by at least 0.001.",
    "Improvements below 0.001 bpb are common in this repository.",
    "Run the baseline twice before you start.",
    "Run the tests twice before you commit.",
    "Run each experiment with three learning rates and compare the mean.",
    "The paper averaged every result over 5 random seeds.",
    "After three failures in a row the training script exits.",
    "After 3 failures in a row, write a report.",
    "If nothing improved in 5 runs, check the data loader.",
    "If nothing improved in 5 epochs, lower the learning rate.",
    "Alternate between local and global attention layers.",
    "The model alternates between attention and MLP blocks.",
    "Alternate between exploring and exploiting.",
    "Never use the same seed twice in a row.",
    "Never use the same batch twice in an epoch.",
    "You may repeat experiments that were already run.",
    "Never retry a download that crashed.",
    "Try four heads at once and keep only the best.",
    "Every added line must have a comment.",
    "Keep the 3 best checkpoints on disk.",
    "Warm up for the last 20% of the budget.",
    "If the metric improves, keep going.",
    "After 3 experiments, switch to another area.",  # no word of a plateau
    "After ten runs, try something radical.",
    "After 20 experiments, go back to an earlier commit.",
    "Rotate through the categories.",  # perhaps of the data
    "Rotate the categories: cats, dogs, cars.",
    "Three failures in a row in the log mean that the disk is full.",
    "Alternate between training and evaluation.",
    "After five epochs in a row without improvement, go back to an earlier checkpoint.",
)


@pytest.mark.parametrize(("sentence", "values"), SENTENCES)
def test_what_a_sentence_sets(sentence: str, values: dict[str, Any]) -> None:
    assert dict(read(sentence)) == values and not no_field(sentence)
    Charter.model_validate(nested(values.items()))


@pytest.mark.parametrize(("sentence", "why"), NO_FIELD)
def test_what_no_field_expresses_is_said(sentence: str, why: str) -> None:
    assert not read(sentence) and why in no_field(sentence)


@pytest.mark.parametrize("sentence", ALIKE)
def test_what_looks_alike_stays_prose(sentence: str) -> None:
    assert not read(sentence) and not no_field(sentence)


def test_a_whole_program() -> None:
    text = (
        "# Night\n\nLook for a better model. After three failures in a row change the category. Each experiment runs\n"
        "for 5 minutes.\n\n- Run the best twice before you keep it.\n- Run the tests twice.\n\n"
        "```\nNever run the same experiment twice.\n```\n<!-- Try four ideas at once and keep the best. -->\n"
    )
    reading = read_phrases(text)
    assert reading.values == GROUP_3 | PAIRED_1 | {"no_repeat": True}
    assert [said.text for said in reading.unexpressed] == ["Each experiment runs for 5 minutes."]
    assert judge(reading, [], []).unexpressed == reading.unexpressed
    assert "plateau: {after: 3, then: group}" in written(text, reading) or "after: 3" in written(text, reading)
    both = text + "\nAfter four failures in a row change the category.\n"
    assert "plateau.after" in read_phrases(both).contradictions
