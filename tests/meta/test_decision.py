"""One decision: whatever a confirmation comes to, every page and command says the same of it."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest

from analysis import decision_text, figures_text
from analysis.decision import BETTER, OPEN, Compared, decision_of
from analysis.found_scripts import FoundScript
from analysis.ledger import Ledger, read
from analysis.origin import Origin
from analysis.own_share import first_program, memory, own_share
from analysis.pace import Pace
from analysis.report import page
from analysis.report.card import CardText, Rival, card, drawn_card, lines_of, named
from analysis.report.card_words import card_headline, short_names, verdict_lines
from analysis.report.card_words import own_share as card_share
from analysis.report.progress import DrawnRun
from analysis.run_state import StudyState
from analysis.script_text import harvested
from analysis.statistics import Mean, Ratio
from analysis.study import open_study, query, read_study
from analysis.trackers import tracked
from analysis.trust import WHY
from analysis.wording import number, plain_text
from arena.settings import StudyConfig
from meta.begin import champion_of, take_up
from meta.champion import BEST, opens_with_best
from meta.cli.longer import ELAPSED, added_something, longer
from meta.cli.output import Output
from meta.cli.program import differences
from meta.cli.standings import present as standings
from meta.cli.study_result import present, with_outcome
from meta.evolve import evolve
from meta.harvest_page import training_cost
from meta.verdict import Champion
from programs.program import Program
from tests.meta.evolved import evolved
from tests.studies import TINY, planted, silent
from trainer.cards import freshness
from trainer.task import Task

PLAN = replace(TINY, generations=0, confirm_runs=6, control_runs=4, run_budget=0.8, start_runs=3)
OWN = "---\nmetaloop:\n  proposers: {local: 1.0}\n---\n# Mine\n\nTake care.\n"
Ended = tuple[Path, Champion]
WRITTEN = ("seq", "prev", "hash", "schema", "at")
# Gains of the confirmation's runs by role.
APART = {"champion": [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], "control": [0.1, 0.12, 0.08, 0.1, 0.11, 0.09],
         "a/a": [0.6, 0.62, 0.58, 0.6]}  # fmt: skip
# The champion beats stock's first arm alone, not both arms; these two differ by chance (p = .02).
POOLED = {"champion": [0.6, 0.9, 0.4, 0.7, 0.8, 0.5], "control": [0.1, 0.5, 0.3, 0.2, 0.45, 0.25],
          "a/a": [0.9, 0.4, 0.7, 0.5]}  # fmt: skip
AHEAD = {"champion": [1.0, 1.1, 0.9, 1.0, 1.05, 0.95], "control": [0.1, 0.3, 0.2, 0.15, 0.25, 0.2],
         "a/a": [0.2, 0.25, 0.15, 0.3]}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a simulated task that has ended, of which the tests change what its confirmation measured."""
    folder = tmp_path_factory.mktemp("decision")
    evolved(folder / "study", planted(folder / "law"), PLAN, seed=3)
    return folder / "study"


def measured(
    study: Path,
    folder: Path,
    gains: Mapping[str, Sequence[float]],
    trust: str = "verified",
    steps: Sequence[int] = (100,),
) -> Path:
    """A copy of the study whose confirmation came to these gains, and that has not been crowned yet. ``steps``: of its
    trainings, in turn."""
    made = cycle(steps)
    shutil.copytree(study, folder, symlinks=True)
    events = list(read(folder / "ledger"))
    shutil.rmtree(folder / "ledger")
    (folder / "ledger").mkdir()
    confirming = [e for e in events if e["kind"] == "match" and e["stream"] == "confirmation"]
    arms = {arm["arm_id"]: arm["role"] for match in confirming for arm in match["arms"]}
    order: dict[str, list[str]] = {}
    with Ledger(folder / "ledger", "main") as ledger:
        for event in events:
            kept = {key: value for key, value in event.items() if key not in WRITTEN}
            if event["kind"] == "verification" and arms.get(event["arm_id"]) in gains:
                runs = order.setdefault(event["arm_id"], [])
                runs += [event["run_id"]] if event["run_id"] not in runs else []
                gain = gains[arms[event["arm_id"]]][runs.index(event["run_id"])]
                kept |= {"gain": gain, "status": "ok", "trust": trust}
            kept |= {"steps": next(made)} if event["kind"] == "experiment" else {}
            if event["kind"] not in ("segment", "closed", "champion"):
                ledger.append(kept, sync=False)
    return folder


def crowned(folder: Path) -> Champion:
    return evolve(*take_up(folder), silent)


@pytest.fixture(scope="module")
def apart(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Crowned where the two arms of stock differ significantly; tests change copies."""
    folder = measured(study, tmp_path_factory.mktemp("apart") / "study", APART)
    return folder, crowned(folder)


@pytest.fixture(scope="module")
def ahead(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Crowned where the champion holds; tests change copies."""
    folder = measured(study, tmp_path_factory.mktemp("ahead") / "study", AHEAD)
    return folder, crowned(folder)


def copied(ended: Ended, folder: Path) -> Path:
    return Path(shutil.copytree(ended[0], folder / "study", symlinks=True))


def printed(show: Callable[[Output], None], **mode: bool) -> str:
    with redirect_stdout(StringIO()) as stdout:
        show(Output(**(mode or {"person": True})))
    return " ".join(stdout.getvalue().split())


def outputs(folder: Path) -> dict[str, str]:
    """Everything that speaks of the verdict."""
    with open_study(folder) as con:
        html, drawn = page.report(con, str(folder)), ElementTree.fromstring(card(con, str(folder)))
        last = con.execute("SELECT match_id FROM matches WHERE purpose = 'confirmation' ORDER BY started_at DESC")
        match_id = str(last.fetchall()[0][0])
    return {
        "page": (folder / "champion.evidence.md").read_text(), "report": html,
        "card": " ".join(text for text in drawn.itertext() if text.strip()),
        "ledger": str((champion_of(folder) or {})["verdict"]),
        "standings": printed(lambda out: standings(out, folder, [match_id])),
        "ends": printed(lambda out: present(out, folder)),
        "piped": printed(lambda out: present(out, folder), person=False),
        "json": printed(lambda out: present(out, folder), as_json=True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gains", "trust", "state", "headline"),
    [
        (None, "verified", BETTER, "beats stock"),
        (POOLED, "verified", OPEN, "is not shown to beat stock"),
        (AHEAD, "unverified", BETTER, "beats stock"),
    ],
    ids=("APART", "POOLED", "AHEAD"),
)
def test_all_outputs_agree_on_contradictory_data(
    study: Path, apart: Ended, tmp_path: Path, gains: Mapping[str, Sequence[float]] | None, trust: str, state: str,
    headline: str,
) -> None:  # fmt: skip
    folder, champion = apart
    if gains is not None:
        folder = measured(study, tmp_path / "study", gains, trust=trust)
        champion = crowned(folder)
    event = champion_of(folder) or {}
    assert champion.decision == decision_of(event) and champion.decision.state == state
    assert champion.claim.holds == (state == BETTER) == event["holds"]
    matches = query(folder, "SELECT match_id FROM matches WHERE purpose = 'confirmation'")
    assert [row["match_id"] for row in matches] == list(champion.decision.match_ids)
    others = {"is not shown to beat stock", "beats stock"} - {headline}
    texts = outputs(folder)
    for where, text in texts.items():
        assert headline in text, where
        assert not any(other in text for other in others), where
    sent = tracked(folder)
    assert sent.note.startswith(f"Metaloop study {folder.name}. **") and headline in sent.note
    assert (sent.verdict["winner"] == champion.decision.name) == (state == BETTER)
    assert (sent.verdict["difference"], sent.verdict["p"]) == (champion.decision.tested.difference, champion.decision.p)
    assert all(text in sent.note for text in decision_text.notes(champion.decision))
    caveats = {caveat.title for caveat in decision_text.caveats(champion.decision)}
    assert ("Weak trust" in caveats) == (trust == "unverified")
    assert decision_text.AA in caveats
    if trust == "unverified":
        assert all(
            "the code ran without a sandbox" in texts[name] for name in ("page", "ledger", "report", "standings")
        )
    for caveat in decision_text.caveats(champion.decision):
        assert plain_text(f"{caveat.title}. {caveat.text}") in texts["piped"] and caveat.text in sent.note
    for row in query(folder, "SELECT arm_id, gain FROM standings WHERE purpose = 'confirmation'"):
        assert row["arm_id"] in texts["piped"] and str(row["gain"]) in texts["piped"]
    (aa,) = champion.decision.aa
    assert gains is not None or (aa.low or 0.0) > 0  # no verdict depends on it
    assert "95% interval" in decision_text.aa_text(aa)
    assert decision_text.aa_text(aa) in texts["page"] and plain_text(decision_text.aa_text(aa)) in texts["standings"]


def test_the_time_of_a_training_is_stated_and_a_longer_one_named() -> None:
    def cost(now: float, before: float) -> str:
        new = SimpleNamespace(device_seconds_spent=now, status="ok")
        old = SimpleNamespace(device_seconds_spent=before, status="ok")
        harvested, baselines = {("t", "harvest"): {("measure", 0): new}}, {("t", "confirmation", 1): old}
        return training_cost(cast(StudyState, SimpleNamespace(harvested=harvested, baselines=baselines)), "t")

    assert cost(9.0, 10.0) == "Average training: 9 s of device time (untouched train.py: 10 s)."
    assert cost(30.0, 10.0).endswith("Part of the gain may come from longer training.")
    assert cost(0.0, 10.0) == ""  # not recorded


def test_at_a_terminal_the_result_fits_on_a_screen_and_names_the_commands_for_the_rest(
    bred: Ended, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bred[0].parent)
    then = present(Output(person=True), Path(bred[0].name))
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    headline = next(at for at, line in enumerate(lines) if decision_text.headline(bred[1].decision) in line)
    last = len(lines) - 1 - next(at for at, line in enumerate(reversed(lines)) if line.startswith("verdict: "))
    assert last > headline and lines[last].startswith(f"verdict: {lines[headline]}"[:70]) and len(lines) - last <= 4
    assert len(lines) + len(then) + 1 <= 40 and len(lines) - headline < 20
    assert all(len(line) <= 80 or "/" in line for line in lines)
    assert "These rows:" not in shown and "of its budget" not in shown
    assert re.search(r"\nA/A: two arms of stock differ by [+-][\d.]+ nats \(95% interval [^\n]*\)\.\n", shown)
    assert any(f"metaloop report {bred[0].name}" in one for one in then) and any("--all" in one for one in then)


def test_a_longer_study_is_offered_where_evolution_added_nothing_measurable(ahead: Ended, bred: Ended) -> None:
    folder, decision, config = ahead[0], ahead[1].decision, StudyConfig.read(ahead[0] / "study.toml")
    (more,) = [one for one in present(Output(person=True), folder) if "--from" in one]
    assert [more] == longer(folder, config, decision) and not added_something(decision)
    assert f"metaloop evolve --from {folder}" in more and " times the device time, about " in more
    with open_study(folder) as con:
        [(elapsed,)] = con.execute(ELAPSED).fetchall()
        [(runs, whole)] = con.execute(
            "SELECT epoch((SELECT max(ended_at) - min(started_at) FROM runs)), epoch(max(written_at) - min(written_at))"
            " FROM events WHERE kind <> 'closed'"
        ).fetchall()
    assert runs < elapsed <= whole  # with the harvest and the verdict
    large = config.model_copy(update={"plan": {**config.plan, "opening_runs": 400, "confirm_runs": 4000}})
    assert " --budget " in longer(folder, large, decision)[0]
    for other in ({"task": "/nowhere/at/all"}, {"command": "match"}):
        assert longer(folder, config.model_copy(update=other), decision) == []
    alone = replace(decision, tested=replace(decision.tested, low=None, high=None))
    assert ", no interval (" in decision_text.sentence(alone) and "95% interval no" not in decision_text.sentence(alone)
    named = {"champion": "c.md", "evidence": "e.md"}
    assert with_outcome(named, replace(decision, state=BETTER)) == named
    for difference, why in ((0.1, "not shown to be better"), (-0.1, "stock gained more")):
        behind = replace(decision, state=OPEN, tested=replace(decision.tested, difference=difference))
        assert [*with_outcome(named, behind)] == [f"champion ({why})", "evidence"]
    assert added_something(bred[1].decision)
    assert not any("--from" in one for one in present(Output(person=True), bred[0]))


def test_piped_output_has_the_changes_from_the_program_that_the_search_started_from(
    ahead: Ended, tmp_path: Path
) -> None:
    folder, champion = copied(ahead, tmp_path), ahead[1].program
    others = "SELECT program_id, name, text FROM programs WHERE operator = 'starter'"
    origin = next(row for row in query(folder, others) if row["program_id"] != champion.program_id)
    settings = folder / "study.toml"
    settings.write_text(settings.read_text().replace("[plan]\n", f'[plan]\norigin = "{origin["program_id"]}"\n'))
    rows = differences(Program.parse(origin["text"], origin["name"]), champion)
    text = printed(lambda out: present(out, folder), person=False)
    assert rows and "changes from your program" in text
    assert re.search(r"The study took [\d.]+ \S+ .*of wall time and [\d.]+ \S+ .*of device time, with verif", text)
    assert all(str(row["directive_id"]) in text for row in rows)


def improved(folder: Path, text: str) -> tuple[Path, Champion]:
    own, plan = Program.parse(text, "mine"), replace(PLAN, own_arm=1, generations=1, child_runs=2)
    return folder / "s", evolved(folder / "s", planted(folder / "law"), plan, own=[own], seed=2, command="improve")


@pytest.mark.slow
def test_improve_is_tested_against_the_users_own_program(tmp_path: Path) -> None:
    folder, champion = improved(tmp_path, OWN)
    decision = champion.decision
    gains = {
        row["role"]: row["gain"]
        for row in query(folder, "SELECT role, avg(verified_gain) AS gain FROM runs WHERE purpose = 'confirmation' "
                                 "GROUP BY 1")
    }  # fmt: skip
    assert decision.against_own and decision.tested.name == "mine" and decision.beside is not None
    assert decision.tested.difference == pytest.approx(gains["champion"] - gains["own"])
    text = outputs(folder)
    assert all("your program mine" in text[name] for name in text)
    assert "champion minus stock" in text["report"] and "champion minus stock" in text["page"]


@pytest.mark.slow
def test_an_own_program_that_behaves_like_stock_is_compared_with_stock_and_told_so(tmp_path: Path) -> None:
    folder, champion = improved(tmp_path, "# Mine\n\nTake care.\n")
    assert champion.decision.same_as == "stock" and not champion.decision.against_own
    roles = {row["role"] for row in query(folder, "SELECT role FROM runs WHERE purpose = 'confirmation'")}
    assert "own" not in roles and "control" in roles
    told = "Your program mine behaves like stock: this researcher"
    text = outputs(folder)
    assert all(told in text[name] for name in ("page", "report", "standings"))


@pytest.mark.parametrize(
    ("fresh", "cures", "told"),
    [
        ("seeds", ("give --score-command",), "no hidden split"),
        ("nothing", ("put {seed} into the command",), "takes no training seed"),
    ],
)
def test_what_is_not_fresh_is_told_with_its_cure(ahead: Ended, fresh: str, cures: tuple[str, ...], told: str) -> None:
    decision = replace(ahead[1].decision, fresh=fresh, cures=cures)
    [text] = [caveat.text for caveat in decision_text.caveats(decision) if "fresh" in caveat.title]
    assert told in text and cures[0] in text
    assert not any("seeds and data" in text for text in decision_text.notes(decision))
    script = FoundScript("home", "nats", 1.0, 9, 0.5, 0.4, 0.6, 8, "self-reported")
    weak = replace(decision, scripts=(script,), trust="self-reported")
    assert harvested(script, weak).endswith(f"printed these numbers itself), {freshness.CHOSEN[fresh]}.")
    assert decision_text.sentence(weak).startswith("Retrained gain: ")
    fine = replace(script, trust="verified")  # of a task with a hidden split
    assert harvested(fine, ahead[1].decision).endswith("measured on seeds and data that were not used to choose it.")


def test_the_report_of_a_task_without_a_hidden_split_claims_no_unseen_data(
    study: Path, ahead: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its decision has it, although its task now has a split, as where one of several tasks has moved."""
    unseen = re.compile(
        r"no researcher saw|did not see|hidden data|not used to choose it\b(?!, but)|(?i:verified gain)"
    )
    before = outputs(ahead[0])
    assert all(unseen.search(before[name]) for name in ("report", "card"))
    folder = measured(study, tmp_path / "study", AHEAD)
    with monkeypatch.context() as only_now:
        only_now.setattr("trainer.cards.freshness.freshness", lambda _: freshness.SEEDS)
        crowned(folder)
    for trust in ("verified", "scored"):
        monkeypatch.setitem(WHY, trust, "as if the script printed it")
    after = outputs(folder)
    assert "This task has no hidden split" in after["report"]
    said = {name: found.group() for name in ("report", "card") if (found := unseen.search(after[name]))}
    assert not said, said


def test_a_champion_that_gained_less_than_the_users_program_is_not_recommended(ahead: Ended) -> None:
    d = ahead[1].decision
    tested = replace(d.tested, name="mine", difference=-0.14, low=-0.3, high=0.05)
    less = replace(d, state=OPEN, own="mine", same_as="", tested=tested, p=0.95)
    said = f"{d.name} is not shown to beat your program mine"
    assert decision_text.result(less) == f"{said}, which gained more in these runs"
    assert decision_text.line(less).startswith(f"{said}, which gained more in these runs. Difference")
    text = decision_text.caveats(less)[0].text
    assert text.endswith("Your program mine gained more in these runs: keep it.") and "search" not in text
    assert decision_text.result(replace(less, tested=replace(tested, difference=0.1))) == said


def test_other_load_on_the_machine_is_stated_wherever_the_verdict_is(study: Path, ahead: Ended, tmp_path: Path) -> None:
    busy = crowned(measured(study, tmp_path / "busy", AHEAD, steps=(40, 90, 90, 91, 40)))
    pace = busy.decision.pace
    assert pace and (champion_of(tmp_path / "busy") or {})["decision"]["pace"] == vars(pace)
    [caveat] = [one for one in decision_text.caveats(busy.decision) if one.title == decision_text.OTHER_LOAD]
    texts = outputs(tmp_path / "busy")
    assert all(caveat.text in texts[name] for name in ("page", "report", "standings", "ends", "piped"))
    assert texts["report"].count(f"</span> {caveat.title}</h3>") == 1 and caveat.title in texts["card"]
    assert decision_text.OTHER_LOAD not in {one.title for one in decision_text.caveats(ahead[1].decision)}


def test_the_sentence_on_the_origin_stands_directly_after_the_verdict_everywhere(ahead: Ended, tmp_path: Path) -> None:
    """Of a program that evolution left as it was; it is recorded with the decision."""
    folder, champion = ahead
    start = champion.program.name
    said = f"The champion is the shipped program {start}"
    assert decision_text.origin(champion.decision).startswith(said)
    text = outputs(copied(ahead, tmp_path / "study"))
    missing = [name for name in text if said.replace(" ", "") not in "".join(text[name].split())]  # lines wrap
    assert missing in ([], ["card"])
    assert "The champion is the shipped" in text["card"] and champion.verdict.count("volution") == 1
    assert f". {said}" in champion.verdict and champion_of(folder)["decision"]["origin"]["steps"] == 0  # type: ignore[index]


def test_the_verdict_says_in_a_sentence_of_its_own_what_evolution_added(ahead: Ended) -> None:
    d = ahead[1].decision
    origin = Origin("learnt", "shipped", steps=2, changes=("1 idea added",))
    start = Compared("learnt", Mean(0.8, 0.1, 3, 0.6, 1.0), 0.2, 0.1, 0.3, d.tested.ratio)
    first = "Evolution's own share, the champion's gain minus that of the program it started from"
    runs = f"({d.champion.n} and 3 runs)"
    n = replace(d, start=start).digits  # the same for each figure of a decision
    first = f"{first} ({0.8:.{n}f} nats in the same match), is +{0.2:.{n}f} nats"
    clear = f"{first} [{0.1:.{n}f} to {0.3:.{n}f}] {runs}."
    unclear = f"{first} [−{0.1:.{n}f} to {0.3:.{n}f}] {runs}, which is not significant. The interval is not symmetric, "
    headline = f"{d.name} beats stock by {figures_text.difference(d.tested, d.unit, d.digits, signed=False)}"
    assert decision_text.headline(d) == f"{headline}; evolution found nothing better than {d.name}"
    for measured_, said in ((start, clear), (replace(start, low=-0.1), unclear)):
        found = replace(d, origin=origin, start=measured_)
        assert own_share(found).startswith(said), own_share(found)
        most = "; most of the lead comes from the shipped program learnt that it started from"
        added = "" if measured_ is start else most
        assert decision_text.headline(found) == headline + added and added in decision_text.line(found)
        assert card_headline(found) == f"{d.name} beats stock{added}"
        titles = [caveat.title for caveat in decision_text.caveats(found)]
        assert ("Not shown to do better than the first program" in titles) == bool(added)
        assert ("--for agent --program learnt -o" in first_program(found)) == bool(added)
        shown = f"{d.name} is not shown to gain more than the shipped program learnt, from which it was evolved. To"
        assert first_program(found).startswith(shown if added else "") and "gains" not in first_program(found)
        placed = " ".join(caveat.text for caveat in decision_text.caveats(found, "studies/a"))
        assert ("metaloop export studies/a --for" in placed) == bool(added) and "STUDY" not in placed
        assert said.removesuffix(".").replace("−", "-") in decision_text.line(found)
    for learnt, specific in (((), True), (("letters", "tabular"), False)):  # measured on other tasks
        general = replace(found, origin=replace(origin, learnt=learnt), bare=Mean(0.1, 0.1, 4, -0.2, 0.4),
                          bare_ratio=Ratio(0.4, -0.2, 0.95, 4, 4))  # fmt: skip
        [alone] = [one.text for one in decision_text.caveats(general) if "idea list alone" in one.title]
        assert (decision_text.SPECIFIC in alone) == specific
    beside = replace(d, learnt=replace(start, name=""))
    said = (
        f"A program with ideas learnt on other tasks, from which this study did not start, gains {0.8:.{n}f} nats in "
        f"the same match; the champion's gain minus that is +{0.2:.{n}f} nats [{0.1:.{n}f} to {0.3:.{n}f}] {runs}"
    )
    assert said in decision_text.line(beside) and "learnt on other tasks" not in decision_text.line(d)
    weak = replace(start, low=-0.1, gain=Mean(0.26, 0.2, 3, -0.3, 0.8))  # nor shown to beat stock itself
    unknown = replace(d, origin=origin, start=weak)
    assert decision_text.headline(unknown) == headline and first_program(unknown) == ""
    worse = replace(d, origin=origin, start=replace(start, difference=-0.2, low=-0.3, high=-0.1))
    assert decision_text.headline(worse) == f"{headline}; evolution made the shipped program learnt worse"
    for low, high in ((0.00003, 0.00021), (-0.00021, -0.00003)):  # no limit of a clear share is displayed as 0
        near = replace(d, origin=origin, start=replace(start, difference=(low + high) / 2, low=low, high=high))
        texts = (own_share(near), card_share(near), decision_text.over_start(replace(near, state=OPEN)) or "")
        assert all("0.00003" in text for text in texts), texts
    tested = replace(d, tested=replace(d.tested, low=-0.4, high=-0.0004), beside=replace(start, low=0.00003))
    assert tested.digits == 4 and "0.00003" in " ".join(decision_text.notes(tested))
    close = replace(d, champion=Mean(1.0, 0.4, 4, 0.0003, 1.07), tested=replace(d.tested, low=0.1, high=4.0))
    for text in (decision_text.sentence(close), decision_text.line(close)):  # nor is one of a program's own gain
        assert "[0.0003 to 1.0700]" in text and close.digits == 2, text
    less, above = replace(d, bare=Mean(0.1, 0.1, 4, -0.2, 0.4)), replace(d, bare=Mean(0.9, 0.5, 4, -0.2, 2.0))
    assert decision_text._bare_result(less) == "gains less than stock, though not significantly"
    assert decision_text._bare_result(above) == "is not significantly better than stock"
    assert "not known, because that program did not run" in own_share(replace(d, origin=origin))
    for other in (replace(origin, start="stock"), None):  # the test compares the two
        assert own_share(replace(d, origin=other, start=None)) == ""
    assert own_share(replace(d, origin=origin, start=start, state=OPEN)) == ""


def test_a_card_names_the_role_of_the_first_program_and_marks_what_is_cut() -> None:
    row: Any = SimpleNamespace(role="start", display_name="idea-queue-learnt")
    assert named(row) == "idea-queue-learnt (start)"
    assert named(SimpleNamespace(role="start", display_name="WMW" * 60)).endswith("… (start)")  # type: ignore[arg-type]
    assert lines_of(["one two three", "four"], 9, 3) == ["one two", "three", "four"]
    assert lines_of(["one two three four", "five"], 9, 2) == ["one two", "three fo…"]


NAME = "a-program-with-a-very-long-name-" * 4


@pytest.mark.parametrize("unit", ["nats", "times stock's gain in the search"])
@pytest.mark.parametrize("name", ["learnt", NAME, "WMW" * 60])
def test_the_prose_of_a_card_fits_whatever_was_decided(ahead: Ended, apart: Ended, name: str, unit: str) -> None:
    """At most five lines, of whole sentences, with the A/A difference, and at least 150 pixels for the chart."""
    d = ahead[1].decision
    origin = Origin(name, "shipped", steps=2, changes=("1 idea added",))
    start = Compared(name, Mean(0.8, 0.1, 3, 0.6, 1.0), -0.12345, -0.2, 0.3, d.tested.ratio)
    on: Any = {"task": name, "unit": unit, "p_adjusted": None, "holds": False, "variant": True}
    on["claim"] = {"champion": {}, "stock": {}, "difference": 0.22, "low": -0.01, "high": 0.63, "ratio": {}}
    lead = replace(d, name=name, unit=unit, origin=origin, start=start)
    cases = [
        (lead, [on], "Evolution's own share: −0.123 [−0.200 to 0.300], not significant"),
        (replace(lead, start=replace(start, low=-0.3, high=-0.1)), [on], "Evolution's own share: −0.1"),
        (replace(lead, start=None), [on, {**on, "claim": None}], "Evolution's own share is not known"),
        (replace(lead, origin=None), [{**on, "variant": False}] * 3, "better on 0 of 3 held-out tasks. A/A: "),
        (replace(lead, state=OPEN), [{**on, "claim": None}], "Held-out task: behaves like stock. A/A: "),
        (replace(lead, pace=Pace(40, 90, 9)), [on], "The machine had other load."),
        (replace(lead, families=("strokes",), champion=replace(d.champion, n=24)), [on], "24 new tasks"),
        (replace(apart[1].decision, name=name), [], "A/A: "),
    ]
    for decision, held_out, said in cases:
        brief = short_names(decision)
        words = CardText("k", card_headline(brief), verdict_lines(brief, held_out), [])
        runs = [DrawnRun("r", name, "champion", True, name, None, None, ((0, 1.0, "keep", ""), (1, 0.5, "keep", "")))]
        drawn = ElementTree.fromstring(drawn_card(words, [], unit, runs, "nll", "lower"))
        texts = [(t.get("class"), t.text or "", float(t.get("y", 0))) for t in drawn.iter() if t.tag.endswith("text")]
        prose = [text for kind, text, _ in texts if kind == "said"]
        assert 1 < len(prose) <= 5 and said in " ".join(prose), (prose, said)
        assert prose[-1].endswith(".") and not any(line.endswith("…") for line in prose), prose
        assert "A/A" in " ".join(prose)
        assert all(len(line) <= 92 for line in prose)
        (top,) = [y for kind, text, y in texts if text.startswith("Each run's best")]
        assert 538 - (top + 34) >= 150


@pytest.mark.parametrize("words", ["stock", "yours"])
def test_the_curves_of_a_card_show_the_program_that_the_headline_names(words: str) -> None:
    points = ((0, 1.0, "keep", ""), (1, 0.5, "keep", ""))
    known = {"mine": "champion", "first": "program", "stock": "control"}
    runs = [DrawnRun(name, name, role, True, name, None, None, points) for name, role in known.items()]
    rival = Rival("stock" if words == "stock" else "first", words)
    drawn = ElementTree.fromstring(drawn_card(CardText("k", "h", [], []), [], "", runs, "nll", "lower", rival=rival))
    assert [one.get("class") for one in drawn.iter() if one.tag.endswith("path")] == [
        "rest run",
        "theirs run",
        "ours run",
    ]
    texts = {one.text: float(one.get("x", 0)) for one in drawn.iter() if one.tag.endswith("text")}
    assert texts["champion"] < texts[words] < texts["others"] < 1136 - 11 * len("others")


@pytest.fixture(scope="module")
def bred(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A study whose champion was written by evolution, from another program than stock."""
    folder, plan = tmp_path_factory.mktemp("bred"), replace(PLAN, generations=1, confirm_runs=4, ablation_runs=0)
    return folder / "study", evolved(folder / "study", planted(folder / "law"), plan, seed=3)


def test_a_program_that_carries_this_task_s_answer_says_so(bred: Ended) -> None:
    folder, champion = bred
    task = Task.load(folder.parent / "law")
    [best] = query(folder, BEST)
    untouched = task.edits.config(task.baseline())
    terms = " ".join(
        f"`{name}`" if value is True else f"`{name}={value}`"
        for name, value in best["config"].items()
        if value != untouched[name]
    )
    with read_study(folder, views=["credit"]) as con:
        opens = [
            opens_with_best(con, task, Program.parse(f"# P\n\n## Ideas\n\n- Use {first}.\n", "p"))
            for first in (terms, "`ladder1=0.5`", "`momentum`")
        ]
    assert opens == [True, False, False]
    bare = replace(champion.decision.champion, mean=0.3, low=0.2, high=0.4)
    told = memory(replace(champion.decision, carries=True, bare=bare))
    gained = number(champion.decision.champion.mean, champion.decision.digits)
    assert told.startswith(
        "The champion's first idea is this study's best script. Without its ideas, the champion gains "
    )
    assert told.endswith(f"0.300 nats in the same match, with them {gained}.") and "this study's best" not in memory(
        champion.decision
    )


@pytest.mark.slow
def test_the_confirmation_compares_a_champion_with_the_program_it_started_from(
    study: Path, bred: Ended, tmp_path: Path
) -> None:
    folder, champion = bred
    runs = "SELECT name, count(*) AS n FROM runs WHERE role = 'start' GROUP BY name"
    assert query(folder, runs) == [{"name": "idea-queue", "n": 3}] and query(study, runs) == []  # one was unchanged
    start, d = champion.decision.start, champion.decision
    assert start is not None and start.name == "idea-queue" and start.gain.n == 3
    assert (
        start.difference == pytest.approx((d.champion.mean or 0) - (start.gain.mean or 0)) and d.tested.name == "stock"
    )
    counted = "4 runs of the champion and 3 of idea-queue"
    for (low, difference, high), result in (
        ((0.6, 0.75, 0.9), "shows that these changes help ({counted}, difference +0.750 nats [0.600 to "),
        ((-0.2, 0.05, 0.3), "does not show that these changes help ({counted}, difference +0.05"),
        ((-1.2, -1.0, -0.8), "shows that these changes hurt ({counted}, difference −1.0"),
    ):
        found_ = replace(d, state=OPEN, start=replace(start, low=low, difference=difference, high=high))
        text = decision_text.origin(found_)
        assert "The champion was evolved from the shipped program idea-queue: " in text
        assert f". The confirmation {result.format(counted=counted)}" in text
    texts = outputs(copied(bred, tmp_path / "study"))
    said = (own_share(d) or decision_text.over_start(d) or "").replace(" ", "").replace("−", "-").removesuffix(".")
    plain = {
        name: "".join(html.unescape(text).split()).replace("−", "-") for name, text in texts.items() if name != "card"
    }
    assert said and [name for name in plain if said not in plain[name]] == []


def test_a_ratio_to_a_gain_near_0_is_not_stated(ahead: Ended) -> None:
    """It is stated if the lower end of the divisor's interval is at least half of its mean."""
    ratio = Ratio(11.02, 7.32, 0.95, 4, 4)
    near, clear = Mean(0.068, 0.015, 4, 0.022, 0.115), Mean(0.272, 0.04, 14, 0.179, 0.366)
    assert figures_text.times(near, ratio) == "" and "11.02 times" in figures_text.times(clear, ratio)
    assert figures_text.times(clear, replace(ratio, lower=None)) == ""
    d = ahead[1].decision
    for limits, stated in (
        (-0.01, False),
        (0.01, True),
    ):  # of the difference; the one-sided bound of the ratio excludes 1
        assert bool(figures_text.times_of(Compared("stock", clear, 0.2, limits, 0.6, ratio))) == stated
    small = replace(d, tested=replace(d.tested, gain=near, ratio=ratio))
    assert "times" not in decision_text.line(small).split(". The")[0] and "times" not in decision_text.shown(small)
    assert f"beats stock by {small.tested.difference:.2f}" in decision_text.line(small)
    assert re.fullmatch(r"beats stock by \S+ \S+ \[\S+ to \S+\]", decision_text.shown(small))
    assert "That is" not in "".join(decision_text.notes(small))
