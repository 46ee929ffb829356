"""For which researcher a champion was evolved: written, shown, remarked on, and rewritten for another one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.ledger import Ledger
from analysis.report.program_text import TriedRow
from analysis.study import open_study
from arena.settings import StudyConfig
from inner_loop.behaviour import resolved_ideas
from meta.agent_text import SeedSpread, copied_first, for_agents, spread, stand_alone, training, with_code_changes
from meta.cli.study_result import ready_to_apply
from meta.rewriting import HARMFUL, MeasuredLoss, _loss, measured_harm, rewritten
from meta.window.records import program_page
from programs.charter_prose import with_prose
from programs.evolved_for import EvolvedFor, with_label
from programs.folder import load
from programs.program import Program
from programs.shelf import starter
from tests.analysis import synthetic
from tests.meta.cli_study import cli, config
from tests.meta.evolved import evolved
from tests.studies import TINY
from trainer.task import Task
from trainer.user_files import private_folder
from trainer.values.conditional import read
from trainer.variants import init_simulated

CHAT = EvolvedFor.of("chat", ["gpt-4o-mini"])


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of a simulated task in `s`, its task in `law`, a champion of a chat study in `think.md`."""
    folder = tmp_path_factory.mktemp("evolved")
    init_simulated(folder / "law", 3)
    task = Task.load(folder / "law")
    plan = replace(
        TINY, run_budget=task.run_budget, confirm_runs=2, ablation_runs=0, control_runs=0, harvest_percent=30
    )
    evolved(folder / "s", task, plan, seed=6)
    (folder / "think.md").write_bytes(with_label(b"Look at the log before you choose.\n", CHAT))
    return folder


def exported(here: Path, *words: str) -> dict[str, Any]:
    done = cli("export", *words, "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    whole: dict[str, Any] = json.loads(done.stdout)
    return whole


def test_the_files_of_a_study_name_the_researcher(here: Path) -> None:
    champion = load(here / "s" / "champion.md")
    assert champion.evolved_for == EvolvedFor("scripted")
    ended = cli("evolve", "--resume", "s", "--json", cwd=here)
    assert json.loads(ended.stdout)["researcher"] == "scripted"
    assert json.loads(ended.stdout)["program_id"] == champion.program_id
    assert ", the scripted researcher, " in (here / "s" / "champion.evidence.md").read_text()
    assert cli("report", "s", cwd=here).returncode == 0
    assert "<dt>researcher</dt><dd><code>scripted</code></dd>" in (here / "s" / "report.html").read_text()


def test_a_script_s_champion_is_rewritten_for_readers(here: Path) -> None:
    champion, task = load(here / "s" / "champion.md"), Task.load(here / "law")
    for kind in ("chat", "agent"):
        made = exported(here, "s", "--for", kind, "-o", f"{kind}.md")
        written = load(here / f"{kind}.md")
        assert made["sentences"] and "How experiments are conducted" in written.text
        for_it_alone = "those of `train.py` in the task law. The metric is"  # agents read it without Metaloop
        assert (for_it_alone in written.text, "metaloop:" not in written.text) == (kind == "agent",) * 2
        assert written.evolved_for == EvolvedFor("scripted", (), kind)
        tried = [(idea, read(task.edits, idea.terms, idea.conditions)) for idea in written.ideas]
        first, *rest = [(idea, edit) for idea, edit in tried if edit]
        assert (
            first[0].text.startswith("After the baseline, begin with all of these at once") and len(first[1].knobs) > 3
        )
        assert {idea.terms for idea, _ in rest} <= {idea.terms for idea, _ in resolved_ideas(champion, task)}
        config = task.edits.config(task.edits.apply(task.baseline(), first[1].fixed))
        edits = [edit.on(config) for _, edit in rest]  # each changes the script of the first idea, in a way of its own
        scripts = [task.edits.apply(task.edits.apply(task.baseline(), first[1].fixed), edit) for edit in edits if edit]
        assert len({script.source_id for script in scripts} | {task.baseline().source_id}) == len(rest) + 1
        assert "% of cases" not in written.text and "less often" not in written.text
        assert "as one change of the untouched script; this is the best script that the study found" in first[0].text
        assert first[0].text.endswith("Make each later change to the best script so far.")
        assert not any("untouched script" in idea.text for idea, _ in rest)


def test_an_idea_that_would_undo_the_first_one_comes_behind_those_that_do_not() -> None:
    task = Task.load("strokes")
    text = (
        "Go.\n\n## Ideas\n\n- All: `@learning_rate=0.1` `batch=32`.\n- One: `lr=0.3`.\n- Same: `lr=0.01` `depth=3`.\n"
    )
    begin = "Begin with `lr=0.01` `optimizer=adamw`."
    made = rewritten(Program.parse(text, "p"), "agent", task, begin).program
    assert [idea.text.partition(":")[0] for idea in made.ideas[1:]] == ["One", "Same", "All"]
    assert [idea.text.endswith("This replaces the first idea's lr.") for idea in made.ideas] == [False] * 3 + [True]
    part = "- Part: `lr=0.01` `optimizer=adamw`.\n- Off: `norm==batch` → `norm=none`.\n"
    part += "- Again: `lr=0.3`.\n- Odd: `muon9`.\n"
    harm = {"Part: `lr=0.01` `optimizer=adamw`.": MeasuredLoss("In the study it made scripts worse, by 1.")}
    done = rewritten(Program.parse(text + part, "p"), "agent", task, begin, harm)
    assert [idea.text.partition(":")[0] for idea in done.program.ideas[1:]] == ["One", "Same", "Odd", "All"]
    assert done.program.ideas[0].text == begin  # the part was tried on other scripts than this bundle without it
    assert HARMFUL not in done.program.text and "norm=none if norm==batch" in done.notes[0]


def test_files_stay_where_the_idea_that_names_them_is_left_out() -> None:
    task = Task.load("strokes")
    text = "Go.\n\n## Ideas\n\n- One: `lr=0.3`.\n- Part: `lr=0.01` (see [notes](notes.md)).\n"
    whole = Program.parse(text, "p", others={"notes.md": "Slowly.\n"})
    made = rewritten(whole, "agent", task, "Begin with `lr=0.01` `optimizer=adamw`.").program
    assert "Part" not in made.text and made.is_set and [name for name, _ in made.files[1:]] == ["notes.md"]


def test_a_harmful_idea_is_neither_untested_nor_in_the_order_of_work() -> None:
    text = starter("idea-queue").text.partition("## Ideas")[0]
    text += "## Ideas\n\n- Untested neighbour: `batch=32`.\n- One: `lr=0.3`.\n"
    harm = {"Untested neighbour: `batch=32`.": MeasuredLoss("In the study it made scripts worse, by 1.")}
    varies = {"Untested neighbour: `batch=32`.": MeasuredLoss("Worse on average.", leave_out=False)}
    later = rewritten(Program.parse(text, "p"), "agent", Task.load("strokes"), harm=varies).program
    assert [idea.terms for idea in later.ideas] == [("lr=0.3",), ("batch=32",)] and HARMFUL not in later.text
    for again in (Program.parse(text, "p"), Program.parse(text, "p", others={"a.md": "x"})):
        made = rewritten(again, "agent", Task.load("strokes"), harm=harm).program
        assert f"{HARMFUL}\n\n- `batch=32`. In the study it made scripts worse" in made.text, made.text
        assert 'in its order (not those under "Measured as harmful here"), one in each' in made.text


def test_the_settings_of_a_model_s_champion_replace_what_contradicts_them(here: Path) -> None:
    text = with_label(
        starter("idea-queue").text.replace("no_repeat", "keep: {rule: margin}\n  no_repeat").encode(), CHAT
    )
    (here / "chatty.md").write_bytes(text)
    for kind in ("chat", "agent"):
        shown = exported(here, "chatty.md", "--for", kind)["text"]
        assert "score is better after one training" not in shown
        assert shown.count("by more than one standard deviation of the baseline's metric") == 1


def test_ideas_that_made_scripts_worse_say_so(here: Path) -> None:
    champion = load(here / "s" / "champion.md")
    first, *others = champion.ideas
    made = rewritten(champion, "chat", harm={first.text: MeasuredLoss("It made scripts worse.")}).program
    assert made.ideas[-1].text.startswith(f"{first.text} It made scripts worse.")
    assert [idea.text.count("worse") for idea in made.ideas] == [0] * len(others) + [1]
    assert f"\n\n### {HARMFUL}\n\n- {first.text}" in made.text
    made = rewritten(champion, "chat", harm={first.text: MeasuredLoss("Its effect varies.", leave_out=False)}).program
    assert made.ideas[-1].text.startswith(f"{first.text} Its effect varies.") and HARMFUL not in made.text
    sql = """SELECT directive_id FROM credit WHERE method = 'directive' AND high < 0 AND q < 0.05
        AND directive_id IN (SELECT directive_id FROM directives WHERE kind = 'idea' AND program_id = $1)"""
    with open_study(here / "s") as con:
        bad = {one for (one,) in con.execute(sql, [champion.program_id]).fetchall()}
    exported(here, "s", "--for", "chat", "-o", "warned.md")
    lines = load(here / "warned.md").text.splitlines()
    for idea in champion.ideas:
        for line in (line for line in lines if line.startswith(f"- {idea.text}")):  # none if the first idea has it
            worse = "In the study it made scripts worse, by 0." in line
            assert worse == (idea.directive_id in bad)


def harm_of(folder: Path, runs: int, effect: Callable[[str, int], float], noise: float) -> dict[str, MeasuredLoss]:
    """Of the ideas `often` and `never`, which each run tries once; as many held-out runs do not count."""
    program = Program.parse("## Ideas\n\n- Set `often`.\n- Set `never`.\n")
    ids = [idea.directive_id for idea in program.ideas]
    listed = [
        {"directive_id": d, "heading": "Ideas", "kind": "idea", "text": d, "position": i} for i, d in enumerate(ids)
    ]
    private_folder(folder / "ledger")
    with Ledger(folder / "ledger", "arena") as ledger:
        synthetic.program(ledger, program.program_id, directives=listed)
        synthetic.match(ledger, "m", {"a-m": program.program_id})
        synthetic.match(ledger, "held", {"a-held": program.program_id}, purpose="reserve", stream="reserve")
        for run, match in [(run, match) for match in ("m", "held") for run in range(runs)]:
            effects = {(idea, True): effect(idea, run) if match == "m" else 1.0 for idea in ("often", "never")}
            world = synthetic.World(effects, {"often": False, "never": False}, noise=noise)
            synthetic.start(ledger, f"{match}{run}", match, f"a-{match}", program.program_id, run)
            synthetic.search(ledger, world, f"{match}{run}", np.random.default_rng(run), tries=2, seed=run,
                             ideas=list(effects), directives=ids)  # fmt: skip
    config(folder)
    return measured_harm(folder, program)


def test_an_idea_that_runs_kept_again_and_again_is_not_left_out(tmp_path: Path) -> None:
    """Of 16 tries each, `often` gained .4 in two and lost 3 in the others; `never` lost 3 in all."""
    found = harm_of(tmp_path, 16, lambda idea, run: (0.4 if idea == "often" and run < 2 else -3.0) - run / 100, 0.0)
    often, never = found["Set `often`."], found["Set `never`."]
    assert never.leave_out and never.said.endswith("on average (0 of 16 experiments kept).")
    assert not often.leave_out and often.said.endswith(
        "Its effect depends on the script: 2 of 16 experiments with it were kept, more than noise explains (about 0)."
    )


def test_an_idea_that_only_noise_makes_runs_keep_is_left_out(tmp_path: Path) -> None:
    """It loses .03 everywhere, of scores with noise of .05: about a third of its tries look like gains."""
    for one in harm_of(tmp_path, 150, lambda idea, run: -0.03, 0.05).values():
        kept = re.search(r"\((\d+) of 150 experiments kept; noise explains as many\)", one.said)
        assert one.leave_out and kept and 30 < int(kept[1]) < 60 and "help" not in one.said, one.said
    unknown = TriedRow("d", "idea", "", "c", "", "", -0.1, -0.2, -0.05, 20, 0.01, "nats", False, tries=20, kept=7)
    assert _loss(unknown).endswith("(7 of 20 experiments kept).")
    fewer = _loss(replace(unknown, n=12))
    assert fewer.endswith("over 12 experiments of the search (7 of 20 experiments in search and confirmation kept).")
    assert not unknown.varies and unknown.by_noise == 10  # of one run, whose noise nobody measured
    known = replace(unknown, estimate=-0.3, noise=0.02, trained=16)
    kept = [replace(known, tries=15, kept=kept) for kept in (1, 2)]
    assert [row.varies for row in kept] == [False, True]  # one may be one odd training


def test_any_program_of_a_study_is_written(here: Path) -> None:
    with open_study(here / "s", views=()) as con:
        names = [name for (name,) in con.execute("SELECT DISTINCT name FROM programs ORDER BY 1").fetchall()]
    for name in names[:2]:
        assert exported(here, "s", "--for", "prose", "--program", name)["text"]
    for words, why in ((["--program", names[0]], "needs --for"), (["--for", "prose", "--program", "none"], "none")):
        refused = cli("export", "s", *words, cwd=here)
        assert refused.returncode and why in refused.stderr


def test_a_program_of_a_study_is_shown_and_compared_by_the_id_that_lineage_prints(here: Path) -> None:
    with open_study(here / "s", views=()) as con:
        (one, text), (other, _) = con.execute("SELECT program_id, text FROM programs ORDER BY 1 LIMIT 2").fetchall()
    assert program_page(here / "s", one[:7])["program"]["program_id"] == one
    assert text in cli("show", one[:7], "--text", "-s", "s", cwd=here).stdout
    assert cli("program", "diff", one[:7], other[:7], "-s", "s", cwd=here).returncode == 0
    unknown = cli("program", "diff", "p0000", "stock", "-s", "s", cwd=here)
    assert unknown.returncode and "no program starts with 'p0000'" in unknown.stderr


def test_conditions_and_relative_values_become_words(here: Path) -> None:
    ideas = "- Slow: `@optimizer==sgd` `lr<0.03` → `lr=*10` `depth=up`.\n- `conv==off` `@dropout=0?`.\n- Use `muon`.\n"
    (here / "when.md").write_text(f"Go.\n\n## Ideas\n\n{ideas}")
    shown = exported(here, "when.md", "--for", "agent")["text"].splitlines()
    assert shown[4].endswith(
        "if the optimizer is sgd and lr is below 0.03, multiply lr by 10 and raise depth to its next value."
    )
    assert shown[5].endswith("if conv is off, set the dropout to 0, where the script has it.")
    assert shown[6:] == ["- Use `muon`."]


def test_a_program_of_a_model_is_rewritten_only_if_a_script_can_do_something(here: Path) -> None:
    refused = cli("export", "think.md", "--for", "scripted", cwd=here)
    assert refused.returncode == 2 and "no idea that a script can carry out" in refused.stderr
    (here / "list.md").write_bytes(with_label(b"Think.\n\n## Ideas\n\n- Ask.\n- Faster: `ladder2=50`.\n", CHAT))
    exported(here, "list.md", "--for", "scripted", "-o", "listed.md")
    listed = load(here / "listed.md")
    assert "queue" in listed.charter.proposers and listed.evolved_for == EvolvedFor("chat", CHAT.models, "scripted")
    assert "not been measured" in cli("match", "listed.md", "-t", "law", "--dry-run", cwd=here).stderr


def test_another_researcher_is_remarked_on_once(here: Path) -> None:
    other = cli("match", "s/champion.md", "-t", "law", "-m", "gpt-4o-mini", "--dry-run", cwd=here)
    assert other.returncode == 0 and other.stderr.count("was evolved for the scripted researcher") == 1
    assert "evolved for" not in cli("match", "s/champion.md", "-t", "law", "--dry-run", cwd=here).stderr
    known = cli("evolve", "-t", "law", "--from", "s", "-m", "gpt-4o-mini", "--dry-run", cwd=here)
    assert "--from s: its gains were measured with the scripted researcher, not with chat" in known.stderr


def test_a_match_that_can_only_repeat_stock_is_refused(here: Path) -> None:
    refused = cli("match", "think.md", "-t", "law", "--dry-run", cwd=here)
    assert refused.returncode == 2 and "exactly like stock" in refused.stderr and "-m MODEL" in refused.stderr
    improved = cli("improve", "think.md", "-t", "law", "--dry-run", cwd=here)
    assert improved.returncode == 0 and "--for scripted" in improved.stderr


def test_ideas_by_role_get_the_tasks_own_names() -> None:
    text = "- Raise it: `@learning_rate<0.1` → `@learning_rate=*3` `@unknown=2`.\n"
    strokes = Task.load("strokes")
    assert for_agents(text, strokes) == "- Raise it: `lr<0.1` → `lr=*3` `@unknown=2`.\n"
    text = "- `optimizer==adam` → `@optimizer=momentum?` `@context_length=4?` `lr=0.03?` `width=1?` `centre?`, `lr=*3`."
    wanted = "- `optimizer==adamw` → `optimizer=nesterov` `lr=0.03` `centre`, `lr=*3`."
    assert for_agents(text, strokes) == wanted
    assert for_agents("- `@optimizer=lion?` `@learning_rate=0.1?`.", strokes) == "- ."


def test_changes_of_the_code_are_shown_to_agents() -> None:
    task = Task.load("strokes")
    assert with_code_changes("- `lr=0.1`.\n", task) == "- `lr=0.1`.\n"
    shown = with_code_changes("- Try `centre`.\n", task)
    assert "`centre`: grey values" in shown and "`average`" not in shown
    assert "-return images.float() / 255\n+return (images.float() - 49) / 57\n" in shown
    for block in re.findall(r"```diff\n(.*?)```", with_code_changes("`average` `conv` `dedupe` `centre`", task), re.S):
        removed, added = ({line[1:] for line in block.splitlines() if line[0] == sign} for sign in "-+")
        assert added and not removed & added, block


def test_an_agent_gets_the_margin_as_a_number_and_the_command_that_copies_the_task() -> None:
    margin = "---\nmetaloop:\n  keep: {rule: margin, margin: 0.5}\n---\n# Mine\nGo.\n\n## Ideas\n\n- One: `lr=0.3`.\n"
    one = margin.replace("margin: 0.5", "margin: 1.0").replace("# Mine\n", "")
    for text, said in ((margin, "0.01 nats, 0.5 standard deviations (0.02 nats) of"), (one, "0.02 nats, 1 standard")):
        made = rewritten(Program.parse(text, "p"), "agent", Task.load("strokes"), spread=SeedSpread(0.02)).program
        assert f"is {said}" in made.text.replace("one standard", "1 standard"), made.text
        assert "`metaloop task init strokes --like strokes` writes its folder" in made.text
        assert "standard deviation of about 0.02 nats between training seeds." in made.text
        assert "`python train.py` in its folder trains once; the study gave each training 0.08 s of CPU" in made.text
        assert made.text.startswith("# Mine\n\nThe settings" if text == margin else "The settings")
        assert made.text.count("standard deviations") == (text == margin) and "metaloop:" not in made.text
    assert "---" not in rewritten(Program.parse(margin, "p"), "agent").program.text  # of a file: no task is known
    bare = stand_alone(
        "---\nfoo: 1\n---", Task.load("strokes"), SeedSpread(0.02)
    )  # another tool's front matter, and nothing else
    assert bare.startswith("---\nfoo: 1\n---\n\nThe settings"), bare


def test_a_champion_that_was_evolved_for_an_agent_has_a_note_of_all_that_changes() -> None:
    text = "---\nmetaloop:\n  keep: {rule: margin, margin: 0.5}\n---\n# Mine\nGo.\n"
    champion = replace(Program.parse(text, "p"), evolved_for=EvolvedFor("agent"))
    task, prose = Task.load("strokes"), champion.with_text(with_prose(text))
    wave = champion.with_text(text.replace("keep: {rule: margin, margin: 0.5}", "wave: 2"))
    sentences = "its settings are written as sentences"
    left_out = "what only Metaloop reads (settings, marks) is left out"
    margins, about = "margins are in the metric's unit", "a paragraph about the task is added"
    for program, of, sd, changes in (
        (champion, task, 0.02, (sentences, left_out, margins, about)),
        (champion, task, None, (sentences, left_out, about)),
        (champion, None, None, (sentences, left_out)),
        (wave, task, 0.02, (sentences, left_out, about)),
        (prose, task, 0.02, (left_out, margins, about)),
        (prose, None, None, (left_out,)),
        (champion.with_text("# Mine\nGo.\n"), None, None, ("nothing is rewritten",)),
    ):
        (note,) = rewritten(
            replace(program, evolved_for=champion.evolved_for), "agent", of, spread=sd and SeedSpread(sd)
        ).notes
        assert note.partition(": ")[2] == "; ".join(changes)
    chat = rewritten(replace(champion, evolved_for=CHAT), "chat", task)
    assert chat.notes[0].endswith("its settings are written as sentences") and "metaloop:" in chat.program.text


def test_the_spread_between_training_seeds_is_that_on_the_same_data(here: Path, tmp_path: Path) -> None:
    """Of three seeds on each of two sets of data; the second is .5 harder, and one seed was measured twice."""
    with Ledger(tmp_path / "ledger", "main") as ledger:
        for stream, level in (("selection", 2.0), ("confirmation", 2.5)):
            for match, seed in (("m1", 0), ("m1", 1), ("m1", 2), ("m2", 2)):
                metric = level + 0.01 * seed
                event = {"match_id": match, "task": "law", "stream": stream, "seed": seed, "metric": metric}
                ledger.append({"kind": "baseline", "status": "ok", "source_id": "s0", **event}, sync=False)
    config(tmp_path)
    found = spread(tmp_path, Task.load(here / "law"))
    assert found is not None and abs(found.sd - 0.01) < 1e-9 and found.measured == "6 trainings of the study"
    carded = spread(tmp_path, Task.load("strokes"))
    assert carded and carded.measured == "by the task's card, which `metaloop task show strokes` prints"
    assert training(Task.load(here / "law")) == ""


def test_a_built_in_task_is_copied_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert copied_first("strokes") == ["metaloop task init strokes --like strokes"] and copied_first("/a/law") == []
    config(tmp_path)
    (tmp_path / "champion.md").touch()
    (tmp_path / "start.md").touch()
    study = StudyConfig.read(tmp_path / "study.toml")
    export = "metaloop export s --for agent -o strokes/champion-prose"
    copy, first, agent = ready_to_apply(study, tmp_path, "s")
    assert (copy, first) == (*copied_first("strokes"), f"{export}.md") and "Read champion-prose.md and" in agent
    (tmp_path / "strokes").mkdir()
    assert copied_first("strokes") == []
    for name in ("champion-prose.md", "champion-prose-2.md"):  # of earlier exports, which none overwrites
        (tmp_path / "strokes" / name).touch()
    later, agent = ready_to_apply(study, tmp_path, "s")
    assert later == f"{export}-3.md" and "Read champion-prose-3.md and" in agent
    # a narrow terminal has the comment above its command: it may not refer to the line before
    assert agent.endswith("  # this agent, or any other, follows it")
