"""The clause `data` of a task's check: its generator, and the hidden splits that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from programs.errors import MetaloopError
from trainer.cards.check_record import CheckFinding
from trainer.data import DataStore
from trainer.streams import STREAMS, Streams
from trainer.task import Task

SPLITLESS = {"printed", "simulated"}  # kinds of scorer without hidden rows
_CHAINED = 0.5  # share of rows that start with the last target of the previous row; by chance it is far lower


def _error(message: str, hint: str = "") -> CheckFinding:
    return CheckFinding("error", "data", message, hint)


def findings(task: Task, store: DataStore, folder: Path) -> Iterator[CheckFinding]:
    """The generator is deterministic, depends on the seed, and its hidden splits fit the scorer."""
    if task.scoring["kind"] in SPLITLESS:
        return
    try:
        store.train()
        paths = {stream: store.split(stream) for stream in STREAMS}
        again = DataStore(task, Streams.from_seed(1), folder / "again").split("search")
    except MetaloopError as error:
        yield _error(error.message, error.hint)
        return
    if _contents(again) != _contents(paths["search"]):
        yield _error("the same seed gave different bytes", "use one random generator with that seed")
    if len({_contents(path)[0] for path in paths.values()}) < len(paths):
        yield _error("two streams have the same hidden split", "use the seed argument of make()")
    for finding in _fit(task, paths["search"]):
        yield finding
        if finding.level == "error":
            return
    yield CheckFinding("ok", "data", "deterministic, with a different split for each stream")


def _fit(task: Task, split: Path) -> Iterator[CheckFinding]:
    import numpy as np

    missing = [name for name in ("inputs.npy", "targets.npy") if not (split / name).is_file()]
    language = task.scoring["kind"] == "language_model"
    if language and not (split / "bytes.npy").is_file():
        missing.append("bytes.npy")
    if missing:
        yield _error(f"the hidden split has no {', '.join(missing)}", "make() must write them")
        return
    inputs, targets = (np.load(split / name, mmap_mode="r") for name in ("inputs.npy", "targets.npy"))
    wanted = inputs.shape if language else inputs.shape[:1]
    if targets.shape != wanted:
        yield _error(f"targets have shape {targets.shape}, expected {wanted}")
    elif task.scoring["kind"] == "regression":
        if not (np.isfinite(targets).all() and targets.std() > 0):
            yield _error("targets must be finite and not all equal", "they are numbers, one a row")
    elif targets.max() >= task.scoring["classes"] or (targets.min() < 0 and not language):
        message = f"targets range from {targets.min()} to {targets.max()}"
        yield _error(message, "they must be below [score] classes and not negative")
    elif language and len(inputs) > 1 and (inputs[1:, 0] == targets[:-1, -1]).mean() > _CHAINED:
        message = "rows start with the last target of the previous row and so reveal it"
        yield _error(message, "start each row with an uninformative symbol, such as a line feed")


def blind_guess(task: Task, store: DataStore) -> float | None:
    """The score of always predicting the share of each class, or the mean; None for other kinds of scorer."""
    import numpy as np

    if task.scoring["kind"] == "regression":
        return 1.0  # the metric is in standard deviations of the targets
    if task.scoring["kind"] != "classification":
        return None
    shares = np.bincount(np.load(store.split("search") / "targets.npy").ravel().astype(np.int64))
    shares = shares[shares > 0] / shares.sum()
    return float(-(shares * np.log(shares)).sum())


def _contents(folder: Path) -> tuple[bytes, ...]:
    """Bytes of the inputs first, then of all files by name."""
    files = sorted(folder.iterdir(), key=lambda path: (path.name != "inputs.npy", path.name))
    return tuple(path.read_bytes() for path in files)
