"""DataStore: the training and hidden splits of a task, generated once and shared by all workers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from programs.common.errors import EnvironmentProblem, TaskError
from trainer.rows import RowStore, held_back
from trainer.streams import DATA_BITS, DECIDING, Stream, Streams
from trainer.task import Task
from trainer.user_files import private_folder, user_cache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trainer.rows import Rows

# Seeds are passed through a pipe, because all users of the machine can read a command line.
_MAKE = """
import json, pathlib, sys
sys.path.insert(0, sys.argv[1])
import data
for out, seed in json.load(sys.stdin).items():
    data.make(sys.argv[2], seed, pathlib.Path(out))
"""


def check_cache(task: Task) -> None:
    """Raise EnvironmentProblem, before anything starts, if the training split is missing and cannot be stored."""
    cache = user_cache()
    if not task.has_data or (cache / task.task_id / "train").is_dir():
        return
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        named = "METALOOP_CACHE" if os.environ.get("METALOOP_CACHE") else "the default in HOME"
        raise EnvironmentProblem(
            f"training data cannot be stored in {cache} ({named}): {error.strerror}",
            hint="set a writable folder: METALOOP_CACHE=DIR",
        ) from None


def scored_rows(task: Task, streams: Streams, stream: Stream, rows: int) -> NDArray[np.bool_]:
    """The rows of which the mean is the metric of an experiment on the stream, [rows]: on the streams that decide those
    that are held back, on the others the rest; all of them where none are."""
    mask = held_back(streams, task.task_id, rows, task.held_share)
    return mask if mask.any() and stream in DECIDING else ~mask


class DataStore:
    """Provides folders of data. Hidden splits depend on the study's secret; the training split does not.

    ``confined``: data.py is untrusted and runs in a sandbox. ``label`` names further hidden splits of each stream,
    equally distributed and independent of each other.
    """

    def __init__(self, task: Task, streams: Streams, root: Path, *, confined: bool = False, label: str = "") -> None:
        self.task = task
        self.streams = streams
        self.confined = confined
        self.root = Path(root).resolve()  # the launcher's processes have other working folders
        self.label = (label,) if label else ()
        self.row_store = RowStore(self.root.parent)

    def labelled(self, label: str) -> DataStore:
        """The same store for the splits of a label."""
        if label == "".join(self.label):
            return self
        return DataStore(self.task, self.streams, self.root, confined=self.confined, label=label)

    def split_seed(self, stream: Stream) -> int:
        return self.streams.data_seed(stream, "split", self.task.task_id, *self.label)

    def train(self) -> Path:
        """Folder with the training split, which the task's prepare.py loads."""
        folder = user_cache() / self.task.task_id / "train"
        self._once({folder: self.task.data_seed}, "train")
        return folder

    def split(self, stream: Stream) -> Path:
        """Folder with ``inputs.npy`` and ``targets.npy`` (language models: ``bytes.npy`` too) of a hidden split."""
        folder = self._folder(stream)
        self._once({folder: self.split_seed(stream)}, stream)
        return folder

    def make_all(self, stream: Stream, labels: Iterable[str], processes: int) -> None:
        """Generate the hidden splits of these labels that are missing, in so many processes at once."""
        stores = [self.labelled(label) for label in labels]
        folders = {store._folder(stream): store.split_seed(stream) for store in stores}
        parts = [dict(list(folders.items())[first::processes]) for first in range(min(processes, len(folders)))]
        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(lambda part: self._once(part, stream), parts))

    def searched_rows(self, name: str) -> Rows:
        """Stored values of rows without those that are held back from every search, [rows]. Raises Corrupt if the
        study has lost them."""
        values = self.row_store.get(name)
        searched: Rows = values[scored_rows(self.task, self.streams, "search", len(values))]
        return searched

    def discard(self, stream: Stream) -> None:
        """Delete a hidden split that is not used again; it can be made again."""
        shutil.rmtree(self._folder(stream), ignore_errors=True)

    def _folder(self, stream: Stream) -> Path:
        name = self.streams.seed(stream, "folder", self.task.task_id, *self.label)  # independent of the split's seed
        return self.root / self.task.task_id / f"{stream}-{name:08x}"

    def _once(self, folders: Mapping[Path, int], split: str) -> None:
        """Generate the data of each missing folder from its seed, into a temporary folder that is then renamed, so that
        concurrent processes see only complete splits."""
        missing = {folder: seed for folder, seed in folders.items() if not folder.is_dir()}
        temporary: dict[Path, Path] = {}
        try:
            for folder in missing:
                parent = folder.parent
                parent.mkdir(parents=True, exist_ok=True) if split == "train" else private_folder(parent)
                temporary[folder] = Path(tempfile.mkdtemp(prefix=f".{split}-", dir=parent))
            if missing:
                self._make(split, {temporary[folder]: seed for folder, seed in missing.items()})
            for folder, made_split in temporary.items():
                _open(made_split) if split == "train" else made_split.chmod(0o700)
                try:
                    made_split.rename(folder)
                except OSError:
                    if not folder.is_dir():  # otherwise another process was faster and wrote the same data
                        raise
        except OSError as error:
            folder = next(iter(missing))
            shared = folder.is_relative_to(user_cache())
            cure = "choose another folder: METALOOP_CACHE=DIR" if shared else "make the study's folder writable"
            raise EnvironmentProblem(f"{folder.parent}: {error.strerror}", hint=f"free space, or {cure}") from None
        finally:
            for made_split in temporary.values():
                shutil.rmtree(made_split, ignore_errors=True)

    def _make(self, split: str, seeds: Mapping[Path, int]) -> None:
        """``seeds``: of each folder that data.make fills."""
        last = self._in_sandbox(split, seeds) if self.confined else self._as_user(split, seeds)
        if "[Errno 28]" in last or "MemoryError" in last:
            where = next(iter(seeds)).parent
            raise EnvironmentProblem(f"{where}: {last}", hint="free space or choose another folder")
        if last:
            hint = f"metaloop task check {shlex.quote(str(self.task.folder))} tests it"
            if self.confined:
                hint = "it ran in a sandbox without network, with only the files of the task's folder"
            if re.search(r"(?i)\bseed\b|overflow|out of range|too large", last):
                hint = f"seeds have {DATA_BITS} bits, which numpy.random.default_rng and random.Random accept; {hint}"
            raise TaskError(f"{self.task.folder / 'data.py'}: make({split!r}, …) failed: {last}", hint=hint)

    def _in_sandbox(self, split: str, seeds: Mapping[Path, int]) -> str:
        """The last line of the first error; empty without one."""
        from trainer.sandbox.data_sandbox import make

        return next(filter(None, (make(self.task, split, seed, out) for out, seed in seeds.items())), "")

    def _as_user(self, split: str, seeds: Mapping[Path, int]) -> str:
        """The last line of the error; empty without one."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PYTHONPATH", None)  # the same packages as train.py, and no module of the current folder
        command = [sys.executable, "-s", "-P", "-c", _MAKE, str(self.task.folder), split]
        given = json.dumps({str(out): seed for out, seed in seeds.items()})
        done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
        return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""


def _open(folder: Path) -> None:
    """Make a folder readable for all users: if root starts a worker, its experiments run as an unprivileged user."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
