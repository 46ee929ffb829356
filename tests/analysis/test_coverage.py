"""Lists learnt over many tasks: what is chosen, in which order, and with which conditions."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.knowledge.choose import Candidate, RoleCondition, TaskValues, choose, task_values
from analysis.knowledge.store import Effect
from trainer.edits import Value


def effect(
    task: str, context: Mapping[str, Value], edit: Mapping[str, Value], gain: float | None, level: float = 0.0
) -> Effect:
    return Effect("sweep", "test", "family", task, task, "nll", "cpu", context, edit, "ok", gain, None, level, 4)


Effects = dict[str, dict[Value, float]]


def values(task: str, start: Mapping[str, Value], worth: Effects, family: str = "family") -> TaskValues:
    return TaskValues(
        family, task, start, {(role,): {(v,): w for v, w in known.items()} for role, known in worth.items()}
    )


def test_effects_of_several_scripts_are_one_model() -> None:
    start = {"width": 16, "dropout": 0.2}
    known = [
        effect("a", start, {}, 0.0),
        effect("a", start, {"width": 64}, 0.5),
        effect("a", start, {"dropout": 0.0}, 0.3),
        effect("a", {"width": 64, "dropout": 0.2}, {"dropout": 0.0}, 0.3, level=0.5),
        effect("a", start, {"width": 4}, None),
    ]
    (task,) = task_values(known)
    assert task.start == start
    wider, both = task.gain(start, {"width": 64}), task.gain(start, {"width": 64, "dropout": 0.0})
    assert wider is not None and both is not None and 0.3 < wider < both < 0.9
    worse = task.gain(start, {"width": 4})
    assert worse is not None and worse < -0.2  # a failure counts as a loss
    between = task.gain(start, {"width": 32})
    assert between is not None and abs(between - wider / 2) < 0.05  # half way, over the logarithm
    assert task.gain(start, {"width": 128}) is None and task.gain(start, {"depth": 2}) is None


def test_a_rate_belongs_to_its_optimizer() -> None:
    start: dict[str, Value] = {"optimizer": "sgd", "learning_rate": 0.1}
    known = [effect("a", start, {}, 0.0)]
    known += [effect("a", start, {"learning_rate": rate}, gain) for rate, gain in ((0.01, -0.3), (1.0, 0.2))]
    known += [
        effect("a", start, {"optimizer": "adam", "learning_rate": rate}, gain)
        for rate, gain in ((0.01, 1.0), (0.1, -0.4), (1.0, -0.5))
    ]
    (task,) = task_values(known)
    good, bad = task.gain(start, {"optimizer": "adam", "learning_rate": 0.01}), task.gain(start, {"optimizer": "adam"})
    assert good is not None and bad is not None and good > 0.5 and bad < 0
    first = choose([task], bundle=False)[0]
    assert first.candidate.edit == {"optimizer": "adam", "learning_rate": 0.01}


def test_an_idea_is_chosen_for_what_it_adds_to_those_before() -> None:
    """Two widths have the highest mean gain; the second adds nothing, so the smaller gain of the depth comes second."""
    worth: Effects = {"width": {16: 0.0, 64: 0.6, 128: 0.6}, "depth": {1: 0.0, 2: 0.2}}
    tasks = [values(f"t{n}", {"width": 16, "depth": 1}, worth) for n in range(4)]
    chosen = choose(tasks, bundle=False, conditions=False)
    assert [list(idea.candidate.edit) for idea in chosen] == [["width"], ["depth"]]
    assert chosen[0].helped == chosen[0].tried == 4 and abs(chosen[0].gain - 0.6) < 1e-9


def test_condition_saves_experiments_where_an_idea_would_lose() -> None:
    low: Effects = {"width": {16: 0.0, 64: 0.6, 256: -0.4}}
    high: Effects = {"width": {16: -0.5, 64: -0.2, 256: 0.0}}
    tasks = [values(f"low{n}", {"width": 16}, low) for n in range(3)]
    tasks += [values(f"high{n}", {"width": 256}, high) for n in range(3)]
    first = choose(tasks, bundle=False)[0]
    assert dict(first.candidate.edit) == {"width": 64} and first.candidate.conditions == (
        RoleCondition("width", "<", 64),
    )
    assert (first.helped, first.tried) == (3, 3)
    flat = choose(tasks, bundle=False, conditions=False)[0]
    assert not flat.candidate.conditions and (flat.helped, flat.tried) == (3, 6)


def test_bundle_holds_what_helps_without_what_the_task_lacks() -> None:
    sure: dict[Value, float] = {1: 0.0, 2: 0.3}
    start = {"depth": 1, "width": 1, "heads": 1}
    tasks = [
        values(f"t{n}", start, {"depth": sure, "width": {1: 0.0, 2: doubtful}, "heads": sure})
        for n, doubtful in enumerate((0.4, -0.3, 0.3, -0.3))
    ]
    tasks.append(values("other", {"depth": 1}, {"depth": sure}, family="other"))
    bundle = choose(tasks)[0].candidate
    assert bundle.optional and set(bundle.edit) == {"depth", "heads"}
    asked = bundle.on(tasks[-1], tasks[-1].start)
    assert asked is not None and dict(asked[0]) == {"depth": 2}


def test_families_count_alike() -> None:
    many: Effects = {"width": {1: 0.0, 2: 0.3}, "depth": {1: 0.0, 2: 0.0}}
    few: Effects = {"width": {1: 0.0, 2: 0.0}, "depth": {1: 0.0, 2: 0.4}}
    tasks = [values(f"m{n}", {"width": 1, "depth": 1}, many, "many") for n in range(9)]
    tasks.append(values("f", {"width": 1, "depth": 1}, few, "few"))
    assert dict(choose(tasks, bundle=False, conditions=False)[0].candidate.edit) == {"depth": 2}


def test_a_candidate_asks_for_nothing_where_nothing_would_change() -> None:
    task = values("t", {"width": 2}, {"width": {1: 0.0, 2: 0.5}})
    assert Candidate({"width": 2}).on(task, task.start) is None
    assert Candidate({"depth": 2}).on(task, task.start) is None
    assert Candidate({"width": 1}, (RoleCondition("width", ">", 2),)).on(task, task.start) is None


def test_a_task_on_which_an_idea_loses_stays_as_it_was() -> None:
    gaining = values("a", {"width": 16}, {"width": {8: -0.5, 16: 0.0, 64: 0.6}})
    losing = values("b", {"width": 16}, {"width": {8: 0.2, 16: 0.0, 64: -0.4}})
    first, second = choose([gaining, losing], bundle=False, conditions=False)
    assert (first.candidate.edit, first.helped) == ({"width": 64}, 1)
    assert (second.candidate.edit, second.helped) == ({"width": 8}, 1)
    assert abs(second.gain - (0.2 - 1.1) / 2) < 1e-9  # from 16 on one task, from 64 on the other


def test_scripts_that_lost_a_setting_are_left_out() -> None:
    start: Mapping[str, Value] = {"width": 16, "shift": -2.0}
    known = [
        effect("a", {"width": 64, "shift": -2.0}, {"shift": -1.0}, 0.1, level=0.5),
        effect("a", start, {}, 0.0),
        effect("a", start, {"width": 64}, 0.5),
        effect("a", {"width": 64}, {"width": 16}, -5.0, level=0.5),  # an agent deleted the other constant
    ]
    (task,) = task_values(known)
    assert task.start == start
    wider, between = task.gain(start, {"width": 64}), task.gain(start, {"shift": -1.5})
    assert wider is not None and wider > 0.2 and between is not None


def test_role_with_thousands_values_tries_those_most_tasks_know() -> None:
    """Their pairs would be ten million ideas."""
    worth: Effects = {"activation": {f"made-up-{n}": 0.001 for n in range(3000)} | {"gelu": 0.5}}
    tasks = [
        values("a", {"activation": "relu"}, worth),
        values("b", {"activation": "relu"}, {"activation": {"gelu": 0.5}}),
    ]
    assert choose(tasks)[0].candidate.edit == {"activation": "gelu"}
