"""Compact copies of large ledgers: their views as Parquet files, so that lines are parsed once, not at each opening.

A copy is a cache: it may be deleted at any time. It is in the user's own cache folder and never in the folder of a
study, which may be untrusted; a folder that others can write to is not used. Its name contains the SHA-256 of every
segment at the time of the chain check, so it is valid for exactly these bytes: they are hashed at every opening (1 s
for 2 GB), and any changed byte, or an added or missing segment, means reading the lines again. A computed view that
takes long is added to it when it is first computed, under a hash of the code that did.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import analysis
import programs
from analysis.effects.settings import show_settings, write_settings
from analysis.ledger import segments
from analysis.tables import copy, quoted, show, write

if TYPE_CHECKING:
    import duckdb

LARGE = 32 << 20  # bytes; a smaller ledger is parsed at each opening, which takes less than a second
MEMORY = 1024  # MiB that DuckDB may use before it spills to disk; more with many threads
MAX_AGE = 30 * 86400  # seconds after its last use until a copy is deleted
MAX_UNFINISHED_AGE = 86400  # seconds until an unfinished copy counts as abandoned
_CHUNK = 8 << 20


def opened(con: duckdb.DuckDBPyConnection, ledger: Path) -> Path | None:
    """Makes the SQL views of the folder ``ledger`` from its compact copy, which it creates if there is none.

    The copy's folder; None if the ledger is small or there is no room for a copy: the caller reads the lines. Raises
    Corrupt as `ledger.verify` does.
    """
    import duckdb

    files = segments(ledger)
    if sum(file.stat().st_size for file in files) < LARGE:
        return None
    home = _home(ledger)
    if home is None:
        return None
    try:
        before, folder = states(files), home / key(files)
        lock = _shared_lock(folder)
        if lock is None:
            folder, lock = _create(files, before, folder)
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException):
        return None
    weakref.finalize(con, os.close, lock)
    _bounded(con, home / f".spill-{os.getpid()}-{time.monotonic_ns()}")
    show(con, folder)
    show_settings(con, folder)
    return folder


def computed(con: duckdb.DuckDBPyConnection, folder: Path, name: str, make: Callable[[], None]) -> None:
    """The table ``name`` as ``make`` makes it, read from the copy in ``folder`` if the same code has made it before."""
    import duckdb

    digest = hashlib.sha256("\n".join(f"{name} {version(name)}" for name in ("numpy", "scipy")).encode())
    for path in sorted(file for part in (analysis, programs) for file in Path(part.__path__[0]).rglob("*.py")):
        digest.update(path.read_bytes())
    file = folder / f"{name}-{digest.hexdigest()}"
    if (there := file.with_suffix(".parquet")).exists():
        con.execute(f"CREATE TABLE {name} AS FROM '{quoted(there)}'")
        return
    make()
    with contextlib.suppress(OSError, duckdb.IOException):
        spare = file.with_name(f".{name}-{os.getpid()}-{time.monotonic_ns()}")
        copy(con, f"FROM {name}", spare)
        spare.with_suffix(".parquet").replace(there)


def _home(ledger: Path) -> Path | None:
    """The folder for copies of a ledger; None if it cannot be created, or others can write to it."""
    from trainer.user_files import user_cache

    home = user_cache() / "views" / hashlib.sha256(os.fsencode(ledger.resolve())).hexdigest()[:16]
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (home.parent, home):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                return None
            folder.chmod(0o700)
    except OSError:
        return None
    return home


def _shared_lock(folder: Path) -> int | None:
    """A lock on the copy that keeps others from deleting it; None if there is no such copy."""
    try:
        lock = _hold(folder)
        os.utime(folder)
    except OSError:
        return None
    return lock


def _create(files: Sequence[Path], before: Sequence[object], folder: Path) -> tuple[Path, int]:
    """Creates the copy in a temporary folder, then renames it: of several processes one wins, with a whole copy."""
    import duckdb

    temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=folder.parent))
    try:
        (temporary / "lock").touch()
        with duckdb.connect(":memory:") as con:
            _bounded(con, temporary / "spill")
            write(con, files, temporary)
            write_settings(con, temporary)
        if states(files) != before:  # the segments changed, so the name does not match the bytes
            folder = folder.with_name(f"{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
        with contextlib.suppress(OSError):  # another process was faster; its copy is the same
            temporary.rename(folder)
        lock = _hold(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _tidy(folder)
    return folder, lock


def key(files: Sequence[Path]) -> str:
    """The name of the copy: a hash of the segments' names and bytes, DuckDB's version and our SQL."""
    import duckdb

    digest = hashlib.sha256(f"{duckdb.__version__}\n".encode())
    for path in sorted(Path(__file__).parent.glob("[vq]*/*.sql")):
        digest.update(path.read_bytes())
    chunks = [(path, start) for path in files for start in range(0, max(path.stat().st_size, 1), _CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as workers:
        for (path, start), part in zip(chunks, workers.map(_hashed, chunks), strict=True):
            digest.update(b"%d %b\n" % (start, os.fsencode(path.name)) + part)
    return digest.hexdigest()


def _hashed(chunk: tuple[Path, int]) -> bytes:
    path, start = chunk
    with path.open("rb", buffering=0) as file:
        return hashlib.sha256(os.pread(file.fileno(), _CHUNK, start)).digest()


def states(files: Sequence[Path]) -> list[tuple[int, ...]]:
    """The state of each file, to detect writes: a copy must not be stored under the hash of older bytes."""
    stats = (file.stat() for file in files)
    return [(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in stats]


def _bounded(con: duckdb.DuckDBPyConnection, spill: Path) -> None:
    """Makes DuckDB spill to disk beyond MEMORY, into its own folder, because file names in it are always the same."""
    threads = os.cpu_count() or 1
    path = str(spill).replace("'", "''")
    con.execute(f"SET memory_limit = '{max(MEMORY, 256 * threads)}MiB'; SET temp_directory = '{path}'")


def _hold(folder: Path, how: int = fcntl.LOCK_SH) -> int:
    """A lock on a copy as a descriptor; OSError if the copy is gone or locked by another process."""
    lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        (folder / "lock").stat()  # deleted while it was not locked yet
    except OSError:
        os.close(lock)
        raise
    return lock


def _tidy(current: Path) -> None:
    """Deletes earlier copies of this ledger, and copies of any ledger unused for a month, unless they are in use."""
    for folder in current.parent.parent.glob("*/*"):
        with contextlib.suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            if folder.name.startswith("."):  # of a process that was killed
                if age > MAX_UNFINISHED_AGE:
                    shutil.rmtree(folder, ignore_errors=True)
            elif folder != current and (folder.parent == current.parent or age > MAX_AGE):
                lock = _hold(folder, fcntl.LOCK_EX)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
