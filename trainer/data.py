"""DataStore: the training and hidden splits of a task, generated once and shared by all workers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from programs.errors import EnvironmentProblem, TaskError
from trainer.rows import RowStore
from trainer.streams import DATA_BITS, Stream, Streams
from trainer.task import Task
from trainer.user_files import private_folder, user_cache

# The seed is passed through a pipe, because all users of the machine can read a command line.
_MAKE = "import sys; sys.path.insert(0, sys.argv[1]); import pathlib, data; "
_MAKE += "data.make(sys.argv[2], int(sys.stdin.read()), pathlib.Path(sys.argv[3]))"


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

    @property
    def rows(self) -> RowStore:
        """The values of rows of the study, in a folder beside that of its data."""
        return RowStore(self.root.parent / "rows")

    def labelled(self, label: str) -> DataStore:
        """The same store for the splits of a label."""
        if label == "".join(self.label):
            return self
        return DataStore(self.task, self.streams, self.root, confined=self.confined, label=label)

    def split_seed(self, stream: Stream) -> int:
        return self.streams.data_seed(stream, "split", self.task.task_id, *self.label)

    def train(self) -> Path:
        """Folder with the training split, which the task's prepare.py loads."""
        return self._once(user_cache() / self.task.task_id / "train", "train", self.task.data_seed)

    def split(self, stream: Stream) -> Path:
        """Folder with ``inputs.npy`` and ``targets.npy`` (language models: ``bytes.npy`` too) of a hidden split."""
        return self._once(self._folder(stream), stream, self.split_seed(stream))

    def discard(self, stream: Stream) -> None:
        """Delete a hidden split that is not used again; it can be made again."""
        shutil.rmtree(self._folder(stream), ignore_errors=True)

    def _folder(self, stream: Stream) -> Path:
        name = self.streams.seed(stream, "folder", self.task.task_id, *self.label)  # independent of the split's seed
        return self.root / self.task.task_id / f"{stream}-{name:08x}"

    def _once(self, folder: Path, split: str, seed: int) -> Path:
        """Generate into a temporary folder and rename it, so that concurrent processes see only complete splits."""
        if folder.is_dir():
            return folder
        try:
            folder.parent.mkdir(parents=True, exist_ok=True) if split == "train" else private_folder(folder.parent)
            temporary = Path(tempfile.mkdtemp(prefix=f".{split}-", dir=folder.parent))
        except OSError as error:
            shared = folder.is_relative_to(user_cache())
            cure = "choose another folder: METALOOP_CACHE=DIR" if shared else "make the study's folder writable"
            raise EnvironmentProblem(f"{folder.parent}: {error.strerror}", hint=f"free space, or {cure}") from None
        try:
            self._make(split, seed, temporary)
            _open(temporary) if split == "train" else temporary.chmod(0o700)
            try:
                temporary.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster and wrote the same data
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return folder

    def _make(self, split: str, seed: int, out: Path) -> None:
        last = self._in_sandbox(split, seed, out) if self.confined else self._as_user(split, seed, out)
        if "[Errno 28]" in last or "MemoryError" in last:
            raise EnvironmentProblem(f"{out.parent}: {last}", hint="free space or choose another folder")
        if last:
            hint = f"metaloop task check {shlex.quote(str(self.task.folder))} tests it"
            if self.confined:
                hint = "it ran in a sandbox without network, with only the files of the task's folder"
            if re.search(r"(?i)\bseed\b|overflow|out of range|too large", last):
                hint = f"seeds have {DATA_BITS} bits, which numpy.random.default_rng and random.Random accept; {hint}"
            raise TaskError(f"{self.task.folder / 'data.py'}: make({split!r}, …) failed: {last}", hint=hint)

    def _in_sandbox(self, split: str, seed: int, out: Path) -> str:
        from trainer.sandbox.data_sandbox import make

        return make(self.task, split, seed, out)

    def _as_user(self, split: str, seed: int, out: Path) -> str:
        """The last line of the error; empty without one."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        environment.pop("PYTHONPATH", None)  # the same packages as train.py, and no module of the current folder
        command = [sys.executable, "-s", "-P", "-c", _MAKE, str(self.task.folder), split, str(out)]
        done = subprocess.run(command, input=str(seed), capture_output=True, text=True, env=environment, check=False)
        return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""


def _open(folder: Path) -> None:
    """Make a folder readable for all users: if root starts a worker, its experiments run as an unprivileged user."""
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
