"""contest.toml: the settings of a contest, fixed when it is created."""

from __future__ import annotations

import hashlib
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from programs.common.errors import Corrupt, NotFound
from trainer.user_files import write_private

MARK = "contest.toml"
RULES = "rules.md"
DATABASE = "contest.sqlite"
REPORT = "report.html"  # of the folder, published once it is decided
BOARD_FILE = "board.json"  # of an export
SCHEMA: Literal[5] = 5  # of contest.toml and contest.sqlite
Phase = Literal["upcoming", "open", "closing", "deciding", "decided"]


class ContestConfig(BaseModel):
    """Times are UTC; budgets device-seconds. ``secret_hash``: SHA-256 of the study's secret, public from the opening.

    ``looks``: numbers of confirming runs after which the race of the leaders is looked at, the last one `confirm_runs`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_: Literal[5] = Field(default=SCHEMA, alias="schema")
    contest_id: str
    title: str = Field(min_length=1, max_length=120)
    task: str
    opens: datetime
    closes: datetime
    run_budget: float = Field(gt=0, allow_inf_nan=False)
    screen_budget: float = Field(gt=0, allow_inf_nan=False)
    runs: int = Field(ge=2)
    confirm_runs: int = Field(ge=2)
    looks: list[int] = Field(min_length=1)
    most_leaders: int = Field(ge=1)
    entries_per_person: int = Field(ge=1)
    most_entries: int = Field(ge=1)  # of all people together, void ones excluded
    texts_after_close: bool = False  # until then only their authors and the host read them
    join: Literal["code", "open"] = "code"
    contact: str = Field(default="", max_length=200)  # of the host, public
    secret_hash: str
    rules_hash: str = ""

    def dump(self, folder: Path) -> None:
        """Write contest.toml atomically."""
        import tomli_w

        partial = folder / f"{MARK}.partial"
        write_private(partial, tomli_w.dumps(self.model_dump(by_alias=True)))
        partial.replace(folder / MARK)

    @classmethod
    def read(cls, folder: Path) -> ContestConfig:
        """Raises NotFound without a contest; Corrupt if the file is invalid or the rules do not match their hash."""
        path = folder / MARK
        if not path.is_file():
            hint = "name the folder of a contest, or create one: metaloop contest init DIR"
            raise NotFound(f"{folder} is not a contest: it has no {MARK}", hint=hint)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
            if raw.get("schema") != SCHEMA:
                raise Corrupt(
                    f"{path}: this is a contest of another version of Metaloop (schema {raw.get('schema')}, this one "
                    f"reads {SCHEMA})",
                    hint="host it with the version that created it",
                )
            config = cls.model_validate(raw)
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
    """Whether the folder was written by `metaloop export`: it has the board as a file, and no database."""
    return (folder / BOARD_FILE).is_file() and (folder / MARK).is_file() and not (folder / DATABASE).exists()


def text_hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
