"""What a proposer sees: the knobs in focus, and which edits may be tried."""

from __future__ import annotations

from inner_loop.behaviour import in_focus
from inner_loop.bench import Bench
from inner_loop.contracts import Situation
from inner_loop.events import Experiment
from inner_loop.moves import after, changed, others
from programs.charter import Charter
from trainer.edits import Edit, EditSpace, Value

#: Failures of the candidate itself; `invalid`: the metric is not a number, usually because training diverged.
FAILED = ("crash", "timeout", "oom", "invalid")
Config = tuple[tuple[str, Value], ...]


class Surroundings:
    """Tracks what one run has tried, what failed and what does not apply; builds situations from it."""

    def __init__(self, charter: Charter, space: EditSpace) -> None:
        self._charter = charter
        self._own = {knob.name for knob in space.knobs}  # without patches of programs that take turns with this one
        self._seen = 0
        self._tried: set[Config] = set()
        self._sources: set[str] = set()
        self._banned: set[frozenset[tuple[str, Value]]] = set()
        self._inapplicable: set[tuple[str, str]] = set()

    def situation(self, bench: Bench, parent: Experiment) -> Situation:
        """The situation of a parent now."""
        self._update(bench)
        here = after(parent.config, Edit())
        focused = tuple(knob for knob in in_focus(bench.task.edits, self._charter.focus) if knob.name in self._own)
        knobs = tuple(knob for knob in focused if others(knob, parent.config))

        def was_tried(edit: Edit) -> bool:
            return after(parent.config, edit) in self._tried

        def allowed(edit: Edit) -> bool:
            if after(parent.config, edit) == here or (parent.source.source_id, edit.key()) in self._inapplicable:
                return False
            if self._charter.no_repeat and was_tried(edit):
                return False
            touched = frozenset(changed(edit))
            return not any(failed <= touched for failed in self._banned)  # all changes of a failed edit

        return Situation(bench.task.edits, knobs, parent, bench.history, bench.task.sign, allowed, was_tried)

    def plan(self, parent: Experiment, edit: Edit) -> None:
        """Note an edit that will be tried, so that a wave does not contain it twice under no-repeat."""
        self._tried.add(after(parent.config, edit))

    def does_not_apply(self, parent: Experiment, edit: Edit) -> None:
        """Note an edit that cannot be applied to a parent, or whose source must not be repeated."""
        self._inapplicable.add((parent.source.source_id, edit.key()))

    def repeats(self, source_id: str) -> bool:
        """Whether no-repeat forbids a source, however it is reached."""
        return self._charter.no_repeat and source_id in self._sources

    def _update(self, bench: Bench) -> None:
        for record in bench.history[self._seen :]:
            self._tried.add(after(record.config, Edit()))
            self._sources.add(record.source_id)
            if self._charter.avoid_failures and record.status in FAILED and record.edit:
                self._banned.add(frozenset(changed(record.edit)))
        self._seen = len(bench.history)
