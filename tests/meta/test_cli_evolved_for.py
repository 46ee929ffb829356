"""For which researcher a champion was evolved: written, shown, remarked on, and rewritten for another one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.study import open_study
from analysis.views.tables import rows, statement
from arena.after.harvest import HARVEST
from arena.study.study import Study
from bench.whole import resized
from inner_loop.behaviour import resolved_ideas
from meta.outcome.agent_text import for_agents, training, with_code_changes
from meta.outcome.rewriting import Findings, findings, rewritten
from programs.evolved_for import EvolvedFor, with_label
from programs.folder import load
from programs.program import Program
from programs.shelf import starter
from tests.analysis import synthetic
from tests.meta.cli_study import cli, config, metaloop
from tests.meta.evolved import evolved
from tests.studies import TINY, drawn_law
from trainer.task import Task
from trainer.user_files import private_folder
from trainer.values.conditional import read

CHAT = EvolvedFor.of("chat", ["gpt-4o-mini"])


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of a simulated task in `s`, its task in `law`, a champion of a chat study in `think.md`."""
    folder = tmp_path_factory.mktemp("evolved")
    drawn_law(folder / "law", 3)
    task = Task.load(folder / "law")
    plan = resized(TINY, harvest_percent=30, final={"champion": 2, "control": 2, "without-ideas": 0, "a/a": 0})
    evolved(folder / "s", task, plan, run_budget=task.run_budget, seed=6)
    (folder / "think.md").write_bytes(with_label(b"Look at the log before you choose.\n", CHAT))
    return folder


def exported(here: Path, *words: str) -> dict[str, Any]:
    whole: dict[str, Any] = metaloop("export", *words, "--json", cwd=here).json
    return whole


def test_the_files_of_a_study_name_the_researcher(here: Path) -> None:
    champion = load(here / "s" / "champion.md")
    assert champion.evolved_for == EvolvedFor("scripted")
    ended = cli("resume", "s", "--json", cwd=here)
    assert ended.json["researcher"] == "scripted"
    assert ended.json["program_id"] == champion.program_id
    assert ", the scripted researcher, " in (here / "s" / "champion.evidence.md").read_text()


def test_a_script_s_champion_is_rewritten_for_readers(here: Path) -> None:
    champion, task = load(here / "s" / "champion.md"), Task.load(here / "law")
    for kind in ("chat", "agent"):
        exported(here, "s", "--for", kind, "-o", f"{kind}.md")
        written = load(here / f"{kind}.md")
        assert "How experiments are conducted" in written.text
        for_it_alone = "those of `train.py` in the task law."  # agents read it without Metaloop
        assert (for_it_alone in written.text, "metaloop:" not in written.text) == (kind == "agent",) * 2
        assert written.evolved_for == EvolvedFor("scripted", (), kind)
        first, *rest = [edit for idea in written.ideas if (edit := read(task.edits, idea.terms, idea.conditions))]
        assert written.ideas[0].text.startswith("After the baseline, begin with all of these") and len(first.knobs) > 3
        assert {one.terms for one in written.ideas[1:]} <= {one.terms for one, _ in resolved_ideas(champion, task)}
        best = task.edits.apply(task.baseline(), first.fixed)
        config = task.edits.config(best)  # each changes the script of the first idea, in a way of its own
        scripts = {task.edits.apply(best, edit).source_id for one in rest if (edit := one.on(config))}
        assert len(scripts | {task.baseline().source_id}) == len(rest) + 1


def test_ideas_that_change_nothing_after_the_first_are_left_out() -> None:
    task = Task.load("strokes")
    text = "Go.\n\n## Ideas\n\n- One: `lr=0.3`.\n- Part: `lr=0.01`.\n- Off: `norm==batch` → `norm=none`.\n"
    text += "- Again: `lr=0.3`.\n- Odd: `muon9`.\n- Both: `lr=0.01` `depth=3`.\n"
    found = Findings(task, task.edits.parse_terms(["lr=0.01", "optimizer=adamw"]), "+0.5")
    program, notes = rewritten(Program.parse(text, "p"), "agent", found)
    assert [idea.text.partition(":")[0] for idea in program.ideas[1:]] == ["One", "Odd", "Both"]
    assert {"`lr=0.01`", "`optimizer=adamw`", "+0.5"} <= set(re.findall(r"`[^`]+`|\+0\.5", program.ideas[0].text))
    assert notes == ["left out, as they change nothing in the script of the first idea, or repeat another: "
                     "lr=0.01, norm=none and lr=0.3"]  # fmt: skip


def test_ideas_that_made_scripts_worse_are_a_list_at_the_end() -> None:
    text = starter("idea-queue").text.partition("## Ideas")[0] + "## Ideas\n\n- Large: `batch=32`.\n- One: `lr=0.3`.\n"
    program = Program.parse(text, "p")
    bad = program.ideas[0]
    row = {"text": bad.text, "loss": 1.0, "low": 0.8, "high": 1.2, "unit": "nats", "tries": 9, "kept": 0}
    found = Findings(Task.load("strokes"), harm={bad.directive_id: row})
    made, _ = rewritten(program, "agent", found)
    assert [idea.terms for idea in made.ideas] == [("lr=0.3",)]
    assert re.search(r"leave these out\n\n- Large: `batch=32`\. .* 1\.00 nats .*; 0 of 9 ", made.text), made.text
    own, _ = rewritten(replace(program, evolved_for=EvolvedFor("agent")), "agent", found)
    assert len(own.ideas) == 2 and "leave these out" not in own.text  # evolved with what it says


def test_settings_of_a_models_champion_hold_against_its_prose(here: Path) -> None:
    text = starter("idea-queue").text.replace("no_repeat", "keep: {rule: margin}\n  no_repeat")
    (here / "chatty.md").write_bytes(with_label(text.encode(), CHAT))
    shown = exported(here, "chatty.md", "--for", "chat")["text"]
    assert shown.index("score is better after one training") < shown.index("these settings hold:")
    assert shown.count('\n- keep.rule: "margin" (') == 1


def test_what_did_harm_and_was_hardly_kept_is_found(tmp_path: Path) -> None:
    """Of 16 tries each, `often` gained .4 in two and lost 3 in the others; `never` lost 3 in all. As many held-out runs
    do not count."""
    program = Program.parse("## Ideas\n\n- Set `often`.\n- Set `never`.\n")
    ids = [idea.directive_id for idea in program.ideas]
    listed = [{"directive_id": d, "heading": "Ideas", "kind": "idea", "text": d, "position": 0} for d in ids]
    private_folder(tmp_path / "ledger")
    with Ledger(tmp_path / "ledger", "arena") as ledger:
        synthetic.program(ledger, program.program_id, directives=listed)
        synthetic.match(ledger, "m", {"a-m": program.program_id})
        synthetic.match(ledger, "held", {"a-held": program.program_id}, purpose="reserve", stream="reserve")
        for run, match in [(run, match) for match in ("m", "held") for run in range(16)]:
            lost = {"often": 0.4 if run < 2 else -3.0, "never": -3.0}
            effects = {(idea, True): size - run / 100 if match == "m" else 1.0 for idea, size in lost.items()}
            world = synthetic.World(effects, {"often": False, "never": False}, noise=0.0)
            synthetic.start(ledger, f"{match}{run}", match, f"a-{match}", program.program_id, run)
            synthetic.search(ledger, world, f"{match}{run}", np.random.default_rng(run), tries=2, seed=run,
                             ideas=list(effects), directives=ids)  # fmt: skip
    config(tmp_path)
    with open_study(tmp_path) as con:
        (row,) = rows(con.execute(statement("writers/harmful_ideas"), {"program": program.program_id}))
        (known,) = con.execute(
            "SELECT -estimate, -high, -low FROM credit WHERE method = 'directive' AND directive_id = $1", ids[1:]
        ).fetchall()
    assert (row["directive_id"], row["tries"], row["kept"]) == (ids[1], 16, 0)
    assert (row["loss"], row["low"], row["high"]) == known and row["low"] > 0


def test_program_of_a_model_is_rewritten_only_where_scripts_can(here: Path) -> None:
    refused = metaloop("export", "think.md", "--for", "scripted", cwd=here, code=2)
    assert "no idea that a script can carry out" in refused.stderr
    (here / "list.md").write_bytes(with_label(b"Think.\n\n## Ideas\n\n- Ask.\n- Faster: `ladder2=50`.\n", CHAT))
    exported(here, "list.md", "--for", "scripted", "-o", "listed.md")
    listed = load(here / "listed.md")
    assert "queue" in listed.charter.proposers and listed.evolved_for == EvolvedFor("chat", CHAT.models, "scripted")
    assert "not been measured" in cli("match", "listed.md", "-t", "law", "--dry-run", cwd=here).stderr


def test_another_researcher_is_remarked_on_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for a plan alone")
    other = metaloop("match", "s/champion.md", "-t", "law", "-m", "gpt-4o-mini", "--dry-run", cwd=here)
    assert other.stderr.count("was evolved for the scripted researcher") == 1
    assert "evolved for" not in cli("match", "s/champion.md", "-t", "law", "--dry-run", cwd=here).stderr
    known = cli("evolve", "-t", "law", "--from", "s", "-m", "gpt-4o-mini", "--dry-run", cwd=here)
    assert "--from s: its gains were measured with the scripted researcher, not with chat" in known.stderr


def test_a_match_that_can_only_repeat_stock_is_refused(here: Path) -> None:
    refused = metaloop("match", "think.md", "-t", "law", "--dry-run", cwd=here, code=2)
    assert "exactly like stock" in refused.stderr and "-m MODEL" in refused.stderr
    assert "--for scripted" in metaloop("improve", "think.md", "-t", "law", "--dry-run", cwd=here).stderr


def test_ideas_by_role_get_the_tasks_own_names() -> None:
    text = "- Raise it: `@learning_rate<0.1` → `@learning_rate=*3` `@unknown=2`.\n"
    strokes = Task.load("strokes")
    assert for_agents(text, strokes) == "- Raise it: `lr<0.1` → `lr=*3` `@unknown=2`.\n"
    text = "- `optimizer==adam` → `@optimizer=momentum?` `@context_length=4?` `lr=0.03?` `width=1?` `centre?`, `lr=*3`."
    wanted = "- `optimizer==adamw` → `optimizer=nesterov` `lr=0.03` `centre`, `lr=*3`."
    assert for_agents(text, strokes) == wanted


def test_changes_of_the_code_are_shown_to_agents() -> None:
    task = Task.load("strokes")
    assert with_code_changes("- `lr=0.1`.\n", task) == "- `lr=0.1`.\n"
    shown = with_code_changes("- Try `centre`.\n", task)
    assert "`centre`: grey values" in shown and "`average`" not in shown
    assert "-return images.float() / 255\n+return (images.float() - 49) / 57\n" in shown


def test_an_agent_gets_what_it_cannot_look_up() -> None:
    text = "---\nmetaloop:\n  keep: {rule: margin, margin: 0.5}\n---\n# Mine\nGo.\n\n## Ideas\n\n- One: `lr=0.3`.\n"
    strokes = Task.load("strokes")
    made, _ = rewritten(Program.parse(text, "p"), "agent", Findings(strokes, sd=0.02))
    assert made.text.startswith("# Mine\n") and "metaloop:" not in made.text
    for fact in ("`metaloop task init strokes --like strokes`", "about 0.02 nats", "0.08 s of CPU"):
        assert fact in made.text, fact
    bare, _ = rewritten(Program.parse(text, "p"), "agent")  # of a file: no task is known
    assert "---" not in bare.text and "## The task" not in bare.text


def test_a_study_gives_its_best_script_and_the_noise_of_its_task(here: Path) -> None:
    study = Study.open(here / "s")
    study.look()
    found = findings(study, load(here / "s" / "champion.md"))
    harvest = study.state.harvests[study.task.name, HARVEST]
    assert study.task.edits.apply(study.task.baseline(), found.best).source_id == harvest.source_id
    assert found.sd and training(study.task) == "" and f"{harvest.gain:+.2f}" in found.gain
