"""Programs that say the same in other words, judged by an embedding model: of a real server, in a real study."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from arena.study import Study
from inner_loop.models.prices import require_embeddings
from inner_loop.models.vectors import packed, unpacked
from inner_loop.run_context import EmbeddingModel
from meta.begin import create
from meta.breed import judge
from meta.cli import mutation
from meta.meaning import Meaning, meaning_of
from meta.mutators.base import ChildProposal
from meta.novelty import Novelty
from programs.errors import NotComparable, UsageError
from programs.program import Program
from tests.llm.kits import environment, staff
from tests.llm.server import Faulty, LlmServer, never
from tests.studies import TINY
from trainer.planted import random_law, simulated_task
from trainer.task import Task

MODEL = "openai/embedder"
FIRST = Program.parse("# A\n\nWork alone.\n\n- Repeat every doubtful result with three fresh seeds.\n", "a")
PARAPHRASE = Program.parse("# A\n\nProceed solo.\n\n- Rerun every unclear outcome with three new seeds.\n", "b")
NEW = Program.parse("# A\n\nWork alone.\n\n- Read the loss curve before choosing the next edit.\n", "c")
MORE = Program.parse(FIRST.text + "- Watch the validation set.\n", "d")
OTHER_WAY = Program.parse(FIRST.text.replace("three", "two"), "e")
NEAR = Program.parse("# A\n\nWork alone.\n\n- Repeat every noisy measurement with three fresh seeds.\n", "f")


@pytest.fixture
def begun(tmp_path: Path, litellm_loaded: None) -> Path:
    simulated_task(random_law(2), tmp_path / "task", experiments=8)
    return created(tmp_path, "study")


def created(folder: Path, name: str) -> Path:
    crew = staff(embeddings=EmbeddingModel(model=MODEL, same_from=0.9), patience=1.0)
    task = Task.load(folder / "task")
    create(folder / name, task=task, plan=TINY, workers=1, seed=3, researcher="chat", model_config=crew)
    return folder / name


@contextmanager
def opened(folder: Path, notes: list[str], fault: Faulty = never) -> Iterator[tuple[Novelty, LlmServer, Meaning]]:
    with pytest.MonkeyPatch.context() as patch, LlmServer(fault=fault) as server, Study.open(folder) as study:
        environment(patch, server.url)
        study.look()
        meaning = meaning_of(study, lambda event: notes.append(str(event.get("text"))))
        assert meaning is not None
        yield Novelty([study.task], "chat", meaning), server, meaning


def refusal(novelty: Novelty, child: Program) -> tuple[str, str]:
    """(why it is refused, the remark on it)."""
    attempt = judge(ChildProposal(child.text, "rewrite", "r", (), (FIRST.program_id,)), child, "child", novelty)
    return attempt.refusal, attempt.proposal.remark


def test_a_paraphrase_is_refused_and_what_is_new_is_not(begun: Path) -> None:
    by_words = Novelty([Task.load("strokes")], "chat")
    by_words.meet(FIRST)
    assert refusal(by_words, PARAPHRASE) == ("", "")  # two words of seven are the same
    with opened(begun, notes := []) as (novelty, server, _):
        assert novelty.meet(FIRST) is None
        why, _ = refusal(novelty, PARAPHRASE)
        assert f"says what {FIRST.program_id} says in other words (similarity 1.000, {MODEL}, the same from 0.9)" in why
        assert [body["input"] for body in server.seen] == [
            [d.text for d in one.directives if d.kind != "order"] for one in (PARAPHRASE, FIRST)
        ]
        assert refusal(novelty, OTHER_WAY) == ("", "") and len(server.seen) == 2  # a number is no wording
        why, remark = refusal(novelty, NEAR)
        assert not why and f"most similar earlier program is {FIRST.program_id}: 0." in remark
        for text, same in (
            ("Train until the loss is flat, then measure the noise.", False),
            ("Train until the error is flat, then assess noise.", True),
            ("Train it, then measure noise.", False),
            ("Measure noise, then train it.", False),
        ):
            assert bool(refusal(novelty, Program.parse(f"# A\n\n- {text}\n", "s"))[0]) == same
        assert refusal(novelty, NEW)[0] == refusal(novelty, MORE)[0] == "" and not notes
    with opened(begun, []) as (novelty, server, meaning):  # the ledger has the vectors
        novelty.meet(FIRST)
        assert "in other words" in refusal(novelty, PARAPHRASE)[0] and not server.seen
    with Study.open(begun) as study:
        calls = [call for call in study.state.calls if call.purpose.startswith("embed ")]
        assert len(calls) >= 3 and all(call.tokens > 0 and call.model == MODEL for call in calls)
        assert meaning._study.config.staff.embeddings == EmbeddingModel(model=MODEL, same_from=0.9)


@pytest.mark.parametrize("fault", ["404", "malformed", "empty", "truncated", "refusal"])
def test_words_decide_where_no_usable_vector_comes_and_that_is_said_once(begun: Path, fault: str) -> None:
    reworded = Program.parse(FIRST.text.replace("Repeat every doubtful result", "Every doubtful result: repeat"), "g")
    with opened(begun, notes := [], lambda number, body: fault) as (novelty, server, meaning):
        novelty.meet(FIRST)
        assert refusal(novelty, PARAPHRASE) == ("", "")
        asked = len(server.seen)
        assert asked and refusal(novelty, reworded)[0].endswith("in other words") and len(server.seen) == asked
        assert len(notes) == 1 and f"words decide whether a child repeats a program, not {MODEL}: " in notes[0]
        meaning.ask_again()
        server.fault = never
        again = Program.parse(PARAPHRASE.text.replace("unclear", "uncertain"), "h")
        assert "in other words" in refusal(novelty, again)[0]


@pytest.mark.parametrize("fault", [None, "404", "401"])
def test_a_replayed_study_judges_alike_without_a_call(
    begun: Path, monkeypatch: pytest.MonkeyPatch, fault: str | None
) -> None:
    judged = []
    for variable, name in (("METALOOP_RECORD", "study"), ("METALOOP_REPLAY", "again")):
        folder = begun if name == "study" else created(begun.parent, name)
        with monkeypatch.context() as patch:
            patch.setenv(variable, str(begun.parent / "tape"))
            with opened(folder, notes := [], lambda number, body: fault) as (novelty, server, _):
                novelty.meet(FIRST)
                judged.append((refusal(novelty, PARAPHRASE), len(notes)))
                assert bool(server.seen) == (variable == "METALOOP_RECORD")
    assert judged[0] == judged[1] and bool(judged[0][0][0]) == (fault is None)


def test_vectors_cost_what_they_cost_and_a_cap_ends_them(
    tmp_path: Path, litellm_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment(monkeypatch, "http://127.0.0.1:1/v1")
    with pytest.raises(UsageError, match="no price is known for openai/embedder"):
        require_embeddings(staff(models=(), embeddings=EmbeddingModel(model=MODEL), max_usd=1.0))
    task = Task.load(simulated_task(random_law(2), tmp_path / "task2", experiments=8))
    crew = staff(embeddings=EmbeddingModel(model=MODEL), max_tokens=30)
    create(tmp_path / "capped", task=task, plan=TINY, workers=1, seed=3, researcher="chat", model_config=crew)
    with opened(tmp_path / "capped", notes := []) as (novelty, server, _):
        novelty.meet(FIRST)
        assert refusal(novelty, PARAPHRASE) == ("", "") and len(notes) == 1 and "--max-tokens 30 is reached" in notes[0]
        assert sum(server.billed) <= 30


def test_a_study_keeps_its_embedding_model(begun: Path) -> None:
    with Study.open(begun) as study:
        mutation.check_embeddings(study, None)
        with pytest.raises(NotComparable, match=f"created with --embeddings {MODEL}=0.9"):
            mutation.check_embeddings(study, EmbeddingModel(model=MODEL))
    crew = staff(embeddings=EmbeddingModel(model=MODEL))
    with pytest.raises(UsageError, match="needs a researcher that reads prose"):
        mutation.refuse_alone(None, crew, "scripted")


@pytest.mark.parametrize("rows", [[], [[1.0, 2.0]], [[0.0, 0.0], [1.0, 0.0]], [[float("nan"), 1.0], [1.0, 1.0]]])
def test_vectors_without_a_direction_are_no_answer(rows: Any) -> None:
    with pytest.raises(ValueError, match=r"shape|direction"):
        packed(rows, 2)
    one, two = unpacked(packed([[3.0, 4.0], [-1.0, 0.001]], 2))
    assert abs(one @ one - 1) < 1e-9 and abs(one @ [0.6, 0.8] - 1) < 1e-4 and abs(two @ [-1, 0] - 1) < 1e-4
