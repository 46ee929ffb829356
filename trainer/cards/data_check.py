"""The clause `data` of a task's check: its generator, and the hidden splits that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from programs.common.errors import MetaloopError
from trainer.cards.check_record import CheckFinding
from trainer.data import DataStore
from trainer.streams import STREAMS, Stream, Streams
from trainer.task import Task

SPLITLESS = {"printed", "simulated"}  # kinds of scorer without hidden rows
_SHARED = 0.01  # share of a hidden split's rows that may be training rows, by chance or as duplicates
_LOOKED_FOR = 200  # rows of a split
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
        repeated = DataStore(task, Streams.from_seed(1), folder / "again").split("search")
    except MetaloopError as error:
        yield _error(error.message, error.hint)
        return
    if _contents(repeated) != _contents(paths["search"]):
        yield _error("the same seed gave different bytes", "use one random generator with that seed")
    if len({_contents(path)[0] for path in paths.values()}) < len(paths):
        yield _error("two streams have the same hidden split", "use the seed argument of make()")
    for finding in _fit(task, paths["search"]):
        yield finding
        if finding.level == "error":
            return
    yield _shared(store.train(), paths)


def _shared(train: Path, paths: Mapping[Stream, Path]) -> CheckFinding:
    """How many rows of each hidden split are in the training data, or in the split that the search uses."""
    message = "deterministic, with a different split for each stream"
    for name, other in (("the training data", train), ("the search's split", paths["search"])):
        found = {stream: _equal_rows(path, other) for stream, path in paths.items() if path != other}
        shares = {stream: shared for stream, shared in found.items() if shared is not None}
        for stream, (share, by_chance) in shares.items():
            if share > _SHARED + by_chance:
                said = f"{share:.1%} of the hidden rows ({stream}) are rows of {name}"
                return _error(said, "draw each split from rows of its own")
        alike = f"at most {max(shares.values())[0]:.1%} of its rows are in" if shares else "not compared with"
        message += f"; {alike} {name}"
    return CheckFinding("ok", "data", message)


def _equal_rows(hidden: Path, other: Path) -> tuple[float, float] | None:
    """(the share of hidden rows that another folder has; that of equal rows by chance, from the repeats that it has
    itself); None if it has none of such a shape. In one long text, `_LOOKED_FOR` rows are looked for."""
    import numpy as np

    inputs = np.load(hidden / "inputs.npy", mmap_mode="r")
    for path in sorted(other.glob("*.npy")):
        array = np.load(path, mmap_mode="r")
        if array.shape[1:] == inputs.shape[1:] and array.ndim > 1:
            known = {row.tobytes() for row in array.astype(inputs.dtype)}
            repeats = 1 - len(known) / len(array)  # each pair of equal rows is one
            return sum(row.tobytes() in known for row in inputs) / len(inputs), 2 * repeats
        if array.ndim == 1 and inputs.ndim == 2 and path.name not in ("targets.npy", "bytes.npy"):
            text, rows = array.tobytes(), inputs[:_LOOKED_FOR].astype(array.dtype)
            return sum(row.tobytes() in text for row in rows) / len(rows), 0.0
    return None


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
