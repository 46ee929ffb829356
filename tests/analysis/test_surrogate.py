"""The surrogate ranks unseen programs where there is something to know, and claims nothing where there is not."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.surrogate import ProgramGain, features, fit, rank_correlation, skill
from meta.gate import Gate, Gates
from programs.program import Program
from programs.shelf import starter


def population(rng: np.random.Generator, size: int, worth: float) -> list[ProgramGain]:
    """Programs whose gain follows from screening and from how early one idea stands, as far as ``worth`` goes."""
    known = []
    for number in range(size):
        screened, place = bool(rng.random() < 0.5), int(rng.integers(0, 4))
        ideas = [f"- Set `filler{k}={number % 3}`." for k in range(4)]
        ideas.insert(place, "- Set `good=1`.")
        front = "  screen: {fraction: 0.25, promote: 0.16}\n  wave: 6\n" if screened else ""
        head = f"---\nmetaloop:\n  proposers: {{queue: 1.0}}\n{front}---\n# P{number}\n\n## Ideas\n\n"
        gain = worth * (0.5 * screened + 0.6 / (1 + place)) + 0.1 * float(rng.standard_normal())
        program = Program.parse(head + "\n".join(ideas) + "\n", f"p{number}")
        known.append(ProgramGain(program, gain, 0.05, f"r{number % 6}"))
    return known


@pytest.mark.slow
def test_it_ranks_programs_it_has_not_seen() -> None:
    known = population(np.random.default_rng(1), 30, 1.0)
    told, held = skill("t", known)
    assert told.beats_chance and told.correlation is not None and told.correlation > 0.7
    assert (told.held_out, told.parts, len(held)) == ("lineages", 6, 30)
    assert skill("t", known) == (told, held)
    fresh = population(np.random.default_rng(2), 20, 1.0)
    predict = fit(known)
    found = rank_correlation([predict(k.program) for k in fresh], [k.gain for k in fresh])
    assert found is not None and found > 0.6


@pytest.mark.slow
def test_noise_is_rarely_taken_for_skill() -> None:
    claims = [skill("t", population(np.random.default_rng(seed), 18, 0.0))[0].beats_chance for seed in range(4)]
    assert sum(claims) <= 1


def test_too_few_or_too_equal_programs_tell_nothing() -> None:
    few, held = skill("t", population(np.random.default_rng(1), 6, 1.0))
    assert few.correlation is None and not few.beats_chance and not held
    same = [ProgramGain(starter("stock"), 1.0, 0.1, "r")] * 12
    assert not skill("t", same)[0].beats_chance


def test_inputs_are_charter_ideas_and_sentences() -> None:
    found = features(starter("idea-queue"))
    assert found["proposer queue"] == pytest.approx(0.9) and found["idea momentum=0.9"] == 1.0
    assert any(name.startswith("says ") for name in found) and found["no repeat"] == 1.0


def test_the_gate_turns_away_what_is_foretold_to_be_poor_but_not_for_ever() -> None:
    gates = Gates([Gate(lambda program: float(program.words), 40.0)], most=1)
    short, long = Program.parse("# A\n\nShort.\n"), starter("stock")
    assert gates(long) == "" and "below 40" in gates(short) and gates(short) == ""


def test_what_may_be_good_on_one_of_several_tasks_is_run() -> None:
    short, long = Program.parse("# A\n\nShort.\n"), starter("stock")
    wordy, terse = Gate(lambda program: float(program.words), 40.0), Gate(lambda program: -float(program.words), -40.0)
    assert wordy(short) and terse(long)
    both = Gates([wordy, terse], most=9)
    assert both(short) == both(long) == "" and both.refused == 0
    assert "below 40" in Gates([wordy, wordy], most=9)(short)
