"""Which ideas of entries count as the same, and how many each entry shares, changes and adds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from arena.contest import accounts
from arena.contest.descent import Descents, lineage
from arena.contest.entries import accept
from arena.contest.tables import Descent
from programs.program import Program
from tests.arena.contest.hosting import founded


def test_an_idea_is_the_same_in_other_words_and_another_order(tmp_path: Path) -> None:
    contest = founded(tmp_path).contest
    both, only = (
        ("`LADDER1=0.1` `LADDER2=20`.", "Both at once: `LADDER2=20`, then `LADDER1=0.1`."),
        "Only `LADDER2={}`.",
    )
    texts = (*both, only.format(20), only.format(10), only.format(5))
    programs = {}
    study: Any = SimpleNamespace(state=SimpleNamespace(entries={}), program=programs.__getitem__)
    for text in texts:  # a restart after each entry changes nothing
        who, _ = accounts.join(contest.database, contest.config, f"Ada {'abcde'[len(programs)]}", "")
        document = f"---\nmetaloop:\n  wave: {1 + len(programs) // 2}\n---\n# x\n\n## Ideas\n\n- {text}\n"
        parent = "5" if text.endswith("=5`.") else ""  # the third text
        entry = accept(contest, who, document.encode(), None, parent).entry
        programs[entry.program_id] = Program.parse(document)
        study.state.entries[entry.entry_id] = entry
        Descents(contest, study).follow()
    with contest.database.read() as connection:
        hows = [[idea["how"] for idea in one.ideas] for one in connection.query(Descent).order_by(Descent.number)]
    assert [each[-1:] for each in hows] == [["new"], ["taken"], ["new"], ["new"], ["changed"]]
    made = lineage(contest, [])
    shared = made["ideas"]
    assert [one["new"] + one["taken"] + one["changed"] for one in made["nodes"]] == [1] * len(texts)  # no setting
    assert not [idea for idea in shared if idea["text"].startswith("wave")]  # a setting is no idea
    assert [(idea["was"], idea["changers"]) for idea in shared if "LADDER2=10" in idea["text"]] == [(None, [])]
    assert (len(shared[0]["takers"]), shared[0]["held"]) == (1, 2)
