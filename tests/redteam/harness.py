"""What an attack is tried on: real tasks in a real sandbox, beside a study that anybody here may read and write.

Only the sandbox keeps a candidate out of that folder: its modes allow everything, and the attacker is told where
everything is (`HOST` in its source). What it is not told is the secret that stands in each canary.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.sandbox.local import LocalLauncher
from trainer.source import Source
from trainer.streams import Stream, Streams
from trainer.task import Task

HERE = Path(__file__).parent
SEED = 1
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/root", "/home", "/")  # where something may have been left behind
SETTINGS = ("kernel/core_pattern", "kernel/hostname", "user/max_user_namespaces", "kernel/randomize_va_space")


class Gain(AssertionError):
    """A cheat has a better score than its honest twin, and the score says `verified`."""


class Harm(AssertionError):
    """Something outside was read, changed, or left behind."""


@dataclass(frozen=True)
class Cheat:
    """Code put into a task's train.py. A name that starts with _ and no other is safe from clashes.

    ``top``: after the imports, in training (``__name__ == "__main__"``) and in each prediction (``"candidate"``).
    ``train``: at the start of main(). ``end``: after all definitions, to replace some. ``whole``: instead of it all.
    """

    top: str = ""
    train: str = ""
    end: str = ""
    whole: str = ""

    def source(self, honest: Source, known: Mapping[str, Any]) -> Source:
        host = f"HOST = __import__('json').loads({json.dumps(json.dumps(known))})\n"
        if self.whole:
            return honest.with_text("train.py", host + self.whole)
        text = honest.text()
        for mark, code in (("import torch\n", host + self.top), ("def main():\n", _indented(self.train))):
            assert text.count(mark) == 1, mark
            text = text.replace(mark, f"{mark}{code}\n")
        main = '\n\nif __name__ == "__main__":\n'
        assert text.count(main) == 1
        return honest.with_text("train.py", text.replace(main, f"\n\n{self.end}\n{main}"))


def _indented(code: str) -> str:
    return "".join(f"    {line}\n" if line.strip() else "\n" for line in code.strip("\n").splitlines())


@dataclass(frozen=True)
class Case:
    """What became of a cheat and of its honest twin, on the search stream (scored) and on confirmation (verified)."""

    task: Task
    source: Source
    scored: Outcome
    verified: Outcome
    twin_scored: Outcome
    twin_verified: Outcome

    @property
    def row(self) -> Outcome:
        """What the ledger is told of the verified measurement."""
        return self.verified

    @property
    def gain(self) -> float:
        """By how much the verified score beats the twin's, in the task's unit; 0 where there is none."""
        return _gain(self.task, self.verified, self.twin_verified)

    @property
    def scored_gain(self) -> float:
        """The same of the score that the search sees, which promises less."""
        return _gain(self.task, self.scored, self.twin_scored)

    def assert_no_gain(self, tolerance: float = 1e-6) -> None:
        """Raise Gain if the verified score is better than the twin's by more than ``tolerance`` (the task's unit)."""
        if self.verified.trust not in ("verified", "scored") or self.gain > tolerance:
            raise Gain(f"{self.gain:+.6f} with trust {self.verified.trust}: {self.verified}")

    def assert_same(self) -> None:
        """The attack changed nothing: both rows are ok, with the twin's numbers, bit for bit."""
        for mine, twin in ((self.scored, self.twin_scored), (self.verified, self.twin_verified)):
            assert (mine.status, mine.metric, mine.trust) == (twin.status, twin.metric, twin.trust), mine

    def assert_rows(self, status: str, reason: str = "") -> None:
        """Both rows say ``status``, with a reason that matches."""
        for outcome in (self.scored, self.verified):
            assert outcome.status == status, outcome
            assert re.search(reason, outcome.reason), outcome.reason
            assert status == "ok" or outcome.metric is None

    @property
    def log(self) -> str:
        return self.scored.log + self.verified.log


def _gain(task: Task, mine: Outcome, twin: Outcome) -> float:
    if mine.status != "ok" or mine.metric is None:
        return 0.0
    assert twin.metric is not None
    return task.sign * (twin.metric - mine.metric)


@dataclass
class Ground:
    """One task, its warm launcher and its data."""

    task: Task
    data: DataStore
    launcher: LocalLauncher
    honest: dict[tuple[str, Stream], Outcome] = field(default_factory=dict)

    def run(
        self, source: Source, stream: Stream, *, seed: int = SEED, fixed_steps: bool = True, **terms: Any
    ) -> Outcome:
        """One real experiment. ``terms`` are fields of the task to be replaced, such as ``memory_mb``."""
        trainer = Trainer(replace(self.task, **terms), self.data, launcher=self.launcher, fixed_steps=fixed_steps)
        return trainer.run(Spec(source, seed, stream))

    def twin(self, source: Source, stream: Stream) -> Outcome:
        """An honest source under fixed steps; trained once, for its score is the same every time."""
        key = source.source_id, stream
        if key not in self.honest:
            self.honest[key] = self.run(source, stream)
            assert self.honest[key].status == "ok", self.honest[key]
        return self.honest[key]


class World:
    """A study with canaries, and a ground for each task."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = f"redteam-{secrets.token_hex(6)}"  # the attacker's: in the name of whatever it leaves behind
        self.secret = f"redteam-canary-{secrets.token_hex(12)}"  # ours: the attacker must never see it
        self.streams = Streams.from_seed(20)  # so that what is drawn is the same each time
        self.grounds: dict[str, Ground] = {}
        for name, text in _study(self.secret, self.streams).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def ground(self, name: str) -> Ground:
        if name not in self.grounds:
            task = Task.load(HERE / name)
            ground = Ground(task, DataStore(task, self.streams, self.folder / "data"), LocalLauncher(torch=task.torch))
            for stream in ("search", "confirmation"):
                ground.twin(task.baseline(), stream)
            self.grounds[name] = ground
            self.open()
        return self.grounds[name]

    def open(self) -> None:
        """Everybody may do anything in the study's folder, hidden splits included."""
        for path in (self.folder, *self.folder.rglob("*")):
            path.chmod(0o777)

    def known(self, ground: Ground) -> dict[str, Any]:
        """What the attacker is told of the host: `HOST` in its source."""
        return {
            "token": self.token, "study": str(self.folder), "canary": str(self.folder / "canary"),
            "ledger": str(self.folder / "ledger" / "main-1.jsonl"), "other": str(self.folder / "runs/other/train.py"),
            "hidden": [str(ground.data.split(stream)) for stream in ("search", "confirmation")],
            "worker": os.getpid(), "template": ground.launcher.template_pid, "repo": str(HERE.parents[1]),
        }  # fmt: skip

    def close(self) -> None:
        for ground in self.grounds.values():
            ground.launcher.close()

    # ---- before and after ----

    def state(self) -> dict[str, Any]:
        """What an attack may not change: every file of the study, this process, settings of the machine."""
        files = {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()}
        names = {str(path) for path in self.folder.rglob("*")}
        settings = {name: Path("/proc/sys", name).read_text() for name in SETTINGS if Path("/proc/sys", name).exists()}
        mine = (os.sched_getaffinity(0), os.nice(0), dict(os.environ), os.getcwd(), _umask())
        return {"files": files, "names": names, "settings": settings, "this process": mine}

    def templates(self) -> dict[str, tuple[int | None, int]]:
        return {name: (g.launcher.template_pid, g.launcher.restarts) for name, g in self.grounds.items()}

    def assert_unharmed(self, before: Mapping[str, Any], *outcomes: Outcome) -> None:
        """Raise Harm for a changed or new file, a canary told, a process left, or a template that is another one."""
        after = self.state()
        for what, was in before.items():
            if after[what] != was:
                raise Harm(f"changed: {what}")
        for outcome in outcomes:
            # its texts: times and the metric are the referee's own numbers, in which six digits may stand by chance
            told = {name: value for name, value in outcome.to_json().items() if not isinstance(value, float)}
            self.assert_untold(json.dumps(told, default=str))
            if outcome.status == "fault":
                raise Harm(f"our own machinery failed: {outcome.reason}")
        for place in PLACES:
            if left := [name for name in _listed(place) if self.token in name]:
                raise Harm(f"left behind: {place}/{left[0]}")
        for ground in self.grounds.values():
            pid = ground.launcher.template_pid
            if pid and (left := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
                raise Harm(f"a process is left: {left}")

    def assert_untold(self, text: str) -> None:
        """Raise Harm where the text holds a canary: the secret, the study's, or a hidden row, however it is written."""
        for secret in (self.secret, self.streams.secret.hex()):
            if secret in text or secret.encode().hex() in text:
                raise Harm(f"a canary got out: {text[:400]}")
        if hidden_in(text):
            raise Harm(f"a hidden row got out: {text[:400]}")

    def assert_honest_as_ever(self, ground: Ground) -> None:
        """The next honest experiment has the same score as the first one had, bit for bit."""
        source = ground.task.baseline()
        first, now = ground.twin(source, "search"), ground.run(source, "search")
        if (now.status, now.metric, now.findings) != (first.status, first.metric, first.findings):
            raise Harm(f"the next honest experiment differs: {first} {now}")


def hidden_in(text: str) -> bool:
    """Whether a text tells the recognisable hidden row of a task, as numbers or as hex of its bytes."""
    import numpy as np

    from tests.redteam.letters import data as letters
    from tests.redteam.points import data as points

    numbers = " ".join(re.findall(r"\d+", text))
    row = letters.CANARY[:8]
    raw = [np.array(row, kind).tobytes().hex() for kind in (np.int64, np.int32, np.uint8)]
    raw += [np.float32(value).tobytes().hex() for value in points.CANARY]
    return " ".join(map(str, row)) in numbers or "718281" in text or any(found in text for found in raw)


def _study(secret: str, streams: Streams) -> dict[str, str]:
    """Files of a study that an attacker would like to read or to change."""
    row = {"seq": 0, "kind": "run_ended", "run_id": "r0", "verified_gain": 0.01, "canary": secret}
    return {
        "canary": f"{secret}\n",
        "study.toml": f'secret = "{streams.secret.hex()}"  # {secret}\n',
        "ledger/main-1.jsonl": json.dumps(row) + "\n",
        "runs/other/train.py": f"# the answer of another run: {secret}\nLR = 0.5\n",
        "cache/o00/o000000000000.json": json.dumps({"status": "ok", "metric": 0.1, "log": secret}),
    }


def _listed(place: str) -> list[str]:
    try:
        return os.listdir(place)
    except OSError:
        return []


def _umask() -> int:
    now = os.umask(0o022)
    os.umask(now)
    return now
