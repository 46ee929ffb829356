"""Two real Ray nodes on this machine: matches on them, and one of them killed."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger import check, segments
from analysis.study import query
from arena.arms import Entry
from arena.audit.verify_study import final_source
from arena.standalone import play_entries
from arena.study.stop import Drained
from arena.study.study import Study
from arena.work.choice import VARIABLE
from bench.cluster import TWICE, kill_node, play, standings, two_nodes
from programs.common.errors import EnvironmentProblem
from tests.inner_loop.play import BLOBS
from tests.meta.cli_study import metaloop
from tests.studies import make_study, program, silent

pytest.importorskip("ray", reason="Ray is not installed: pip install 'metaloop-research[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(580)]
ENTRIES = [Entry(program("stock")), Entry(program("other", "  no_repeat: false\n"))]
RUNS = 3
Standings = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Standings:
    """The same match by worker processes."""
    os.environ[VARIABLE] = "local"
    study = make_study(tmp_path_factory.mktemp("undisturbed") / "s", workers=2)
    play_entries(study, ENTRIES, RUNS, silent)
    return standings(study.folder)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    with two_nodes() as found:
        yield found


@pytest.fixture
def cluster(nodes: Any) -> Any:
    os.environ[VARIABLE] = "ray"
    return nodes


def of_each(folder: Path) -> dict[str, int]:
    """How often what must be written once was written: events by kind, and different ones of them."""
    sql = """SELECT count(*) FILTER (kind = 'run_ended') AS ended,
        count(DISTINCT record->>'run_id') FILTER (kind = 'run_ended') AS runs,
        count(*) FILTER (kind = 'verification') AS verified FROM events"""
    return query(folder, sql)[0] | query(folder, TWICE)[0]


def test_a_node_killed_in_mid_match_and_a_new_one_change_nothing(
    tmp_path: Path, cluster: Any, undisturbed: Standings
) -> None:
    study = make_study(tmp_path / "s", workers=2)
    seen: list[str] = []

    def swap_once(event: Mapping[str, Any]) -> None:
        if event["kind"] == "experiment":
            seen.append(event["run_id"])
            # in the middle of the match, when both nodes have a run in hand and one of it ended last
            if len(seen) == 12:
                assert kill_node(cluster.second) >= 3
                cluster.add_node(num_cpus=1)

    played = play(study, ENTRIES, RUNS, swap_once)
    assert len([note for note in played.notes if "died" in note or "is gone" in note]) == 1, played.notes
    dead, (cluster.second,) = cluster.second, [each for each in cluster.worker_nodes if each is not cluster.second]
    cluster.remove_node(dead, allow_graceful=False)
    assert standings(study.folder) == undisturbed
    assert of_each(study.folder) == {"ended": 6, "runs": 6, "verified": 12, "twice": 0}
    assert check(study.folder / "ledger") == []
    assert [path.stem for path in segments(study.folder / "ledger")] == ["cluster-1", "end-1", "main-1"]
    again = Study.open(study.folder)
    for row in query(study.folder, "SELECT run_id, final_source_id FROM runs"):
        final = final_source(again, row["run_id"], row["final_source_id"])  # its folder came back
        assert final.source_id == row["final_source_id"]
    other = make_study(tmp_path / "other", workers=2)
    other.config = other.config.model_copy(update={"hardware_class": "cpu:of another kind/1 thread"})
    other.config.dump(other.folder / "study.toml")
    with pytest.raises(
        EnvironmentProblem, match=r"no usable node in the Ray cluster: node .* is not used: its hardware class is"
    ):
        play_entries(Study.open(other.folder), ENTRIES, 1, silent)


def test_ctrl_c_drains_and_another_executor_goes_on(
    tmp_path: Path, cluster: Any, undisturbed: Standings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arena.cluster.executor.SWEEP_SECONDS", 0.0)  # no node answers in time
    study = make_study(tmp_path / "s", workers=2)
    told: list[Mapping[str, Any]] = []

    def stop_early(event: Mapping[str, Any]) -> None:
        told.append(event)
        if event["kind"] == "experiment" and event["number"] == 2 and not (study.folder / "stop").exists():
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Drained):
        play_entries(study, ENTRIES, RUNS, stop_early)
    first, *left = [event["text"] for event in told if event["kind"] == "note"]
    assert first.startswith("stopping") and len(left) == 2
    assert all("did not answer: delete" in text and "the study's secret" in text for text in left)
    whole = sum(run["experiments"] for run in undisturbed[0])
    assert 3 <= query(study.folder, "SELECT count(*) AS n FROM experiments")[0]["n"] < whole
    os.environ[VARIABLE] = "local"
    play_entries(Study.open(study.folder), ENTRIES, RUNS, silent)
    assert standings(study.folder) == undisturbed and of_each(study.folder)["twice"] == 0


def test_a_night_of_two_devices_ends_as_if_its_node_had_not_died(tmp_path: Path, cluster: Any) -> None:
    words = ["improve", "stock", "-t", str(BLOBS), "--budget", "2s", "--seed", "2", "-y"]
    words += ["--set", "fixed_steps=true", "--set", "devices_per_run=2"]
    os.environ[VARIABLE] = "local"
    metaloop(*words, "-s", tmp_path / "here")
    os.environ[VARIABLE] = "ray"
    pair = [cluster.add_node(num_cpus=2) for _ in range(2)]  # the others have one CPU each

    def run_folders() -> set[Path]:
        return set(Path(tempfile.gettempdir()).glob(f"metaloop-{os.getuid()}-*/worker-*/runs/r*"))

    def kill_at_work() -> None:
        while not (fresh := run_folders() - before):
            time.sleep(0.05)
        killed.extend(kill_node(node) for node in pair if node.node_id[:12] in str(fresh))

    before = run_folders()
    killed: list[int] = []
    killer = threading.Thread(target=kill_at_work)
    killer.start()
    ended = metaloop(*words, "-s", tmp_path / "there")
    killer.join()
    assert len(killed) == 1 and "begins again on another worker" in ended.stderr
    assert standings(tmp_path / "there") == standings(tmp_path / "here")
    main, again = (query(tmp_path / name, "SELECT source_id, gain, low FROM harvest") for name in ("here", "there"))
    assert main == again and query(tmp_path / "there", TWICE)[0]["twice"] == 0
