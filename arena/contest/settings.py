"""contest.toml: the settings of a contest, fixed when it is created."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from programs.errors import Corrupt, NotFound

MARK = "contest.toml"
RULES = "rules.md"
DATABASE = "contest.sqlite"
BOARD_FILE = "board.json"  # of an export
Phase = Literal["upcoming", "open", "closing", "deciding", "decided"]


class ContestConfig(BaseModel):
    """Times are UTC; budgets device-seconds. ``secret_hash``: SHA-256 of the study's secret, public from the opening.

    ``runs`` and ``confirm_runs`` are per task; ``further``: names of the tasks after the first. ``looks``: numbers of
    confirming runs after which the race of the leaders is looked at, the last one `confirm_runs`; empty in a contest of
    an earlier version, where all leaders have `confirm_runs`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: int = Field(default=1, alias="schema")
    contest_id: str
    title: str = Field(min_length=1, max_length=120)
    task: str
    further: list[str] = Field(default_factory=list)
    opens: datetime
    closes: datetime
    run_budget: float = Field(gt=0, allow_inf_nan=False)
    screen_budget: float = Field(gt=0, allow_inf_nan=False)
    runs: int = Field(ge=2)
    confirm_runs: int = Field(ge=2)
    looks: list[int] = Field(default_factory=list)
    most_leaders: int = Field(default=8, ge=1)
    entries_per_person: int = Field(ge=1)
    sealed: bool = False
    join: Literal["code", "open"] = "code"
    contact: str = Field(default="", max_length=200)  # of the host, public
    secret_hash: str
    rules_hash: str = ""
    hidden: int = 0  # number of tasks that only the host knows before the decision
    hidden_hash: str = ""

    @property
    def wanted(self) -> int:
        """Runs of an entry on all tasks together, without screening."""
        return self.runs * (1 + len(self.further))

    @property
    def hidden_runs(self) -> int:
        return hidden_runs(self.runs, self.confirm_runs)

    def dump(self, folder: Path) -> None:
        """Write contest.toml atomically."""
        import tomli_w

        partial = folder / f"{MARK}.partial"
        partial.write_text(tomli_w.dumps(self.model_dump(by_alias=True)), encoding="utf-8")
        partial.replace(folder / MARK)

    @classmethod
    def read(cls, folder: Path) -> ContestConfig:
        """Raises NotFound without a contest; Corrupt if the file is invalid or the rules do not match their hash."""
        path = folder / MARK
        if not path.is_file():
            hint = "name the folder of a contest, or create one: metaloop contest init DIR"
            raise NotFound(f"{folder} is not a contest: it has no {MARK}", hint=hint)
        try:
            config = cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValidationError) as error:
            what = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
            where = ".".join(map(str, what["loc"]))
            raise Corrupt(f"{path}: {where} {what['msg']}", hint="restore it from a copy") from None
        rules = folder / RULES
        if not rules.is_file() or text_hash(rules.read_bytes()) != config.rules_hash:
            hint = "rules must not be edited: restore the file from a copy"
            raise Corrupt(f"{rules}: the text does not match the hash in {MARK}", hint=hint)
        return config

    def phase(self, now: datetime, close_asked: bool, deciding: bool, decided: bool) -> Phase:
        """The phase of the contest. Entries are accepted only in `open`."""
        if decided:
            return "decided"
        if deciding:
            return "deciding"
        if close_asked or now >= self.closes:
            return "closing"
        return "open" if now >= self.opens else "upcoming"


def is_export(folder: Path) -> bool:
    """Whether the folder was written by `contest export`: it has the board as a file, and no database."""
    return (folder / BOARD_FILE).is_file() and (folder / MARK).is_file() and not (folder / DATABASE).exists()


def hidden_runs(runs: int, confirm_runs: int) -> int:
    """Runs of each leader on a hidden task; they decide nothing."""
    return min(confirm_runs, 3 * runs)


def hidden_hash(secret: bytes, names: Sequence[str]) -> str:
    """The commitment to the hidden tasks; the secret is hashed first, so that the names cannot be guessed."""
    return hashlib.sha256(b"\n".join([secret.hex().encode(), *(name.encode() for name in names)])).hexdigest()


def text_hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def utc_now() -> datetime:
    return datetime.now(UTC)


def shown(moment: datetime | None) -> str:
    """A time for people: to the second, with the suffix UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
