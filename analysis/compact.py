"""Compact copies of large ledgers: their views as Parquet files, so that lines are parsed once, not at each opening.

A copy is a cache: it may be deleted at any time. It lies in the user's own cache folder and is never read from the
folder of a study, which may come from a stranger; a folder that others may write to is not used. Its name holds the
SHA-256 of every segment as it was when the chain was checked, so it speaks for exactly these bytes: they are hashed at
every opening (1 s for 2 GB), and any other byte in a segment, or a segment more or less, means reading the lines again.
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger import segments
from analysis.settings import show_settings, write_settings
from analysis.tables import show, write

if TYPE_CHECKING:
    import duckdb

LARGE = 32 << 20  # bytes of a ledger below which its lines are read anew: that takes less than a second
MEMORY = 1024  # MiB that DuckDB may hold before it makes use of the disk; more where there are many threads
KEPT = 30 * 86400  # seconds that a copy is kept after its last use, where its ledger has not grown
LEFT = 86400  # seconds after which an unfinished copy is nobody's
_CHUNK = 8 << 20


def opened(con: duckdb.DuckDBPyConnection, ledger: Path) -> bool:
    """Makes the SQL views of the ledger folder ``place`` from its compact copy, which is made where there is none.

    False where the ledger is small or there is no room for a copy: the caller reads the lines. Raises Corrupt as
    `ledger.verify` does.
    """
    import duckdb

    files = segments(ledger)
    if sum(file.stat().st_size for file in files) < LARGE:
        return False
    home = _home(ledger)
    if home is None:
        return False
    try:
        states, folder = _states(files), home / key(files)
        lock = _found(folder)
        if lock is None:
            folder, lock = _made(files, states, folder)
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException):
        return False
    weakref.finalize(con, os.close, lock)
    _bounded(con, home / f".spill-{os.getpid()}-{time.monotonic_ns()}")
    show(con, folder)
    show_settings(con, folder)
    return True


def _home(ledger: Path) -> Path | None:
    """Where the copies of a ledger lie; None where there can be none, or others may write there."""
    from trainer.places import user_cache

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


def _found(folder: Path) -> int | None:
    """A lock on the copy that keeps others from deleting it; None where there is no such copy."""
    try:
        lock = _hold(folder)
        os.utime(folder)
    except OSError:
        return None
    return lock


def _made(files: Sequence[Path], states: Sequence[object], folder: Path) -> tuple[Path, int]:
    """Makes the copy in a folder of its own and renames it: of several processes one wins, and all see it whole."""
    import duckdb

    temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=folder.parent))
    try:
        (temporary / "lock").touch()
        with duckdb.connect(":memory:") as con:
            _bounded(con, temporary / "spill")
            write(con, files, temporary)
            write_settings(con, temporary)
        if _states(files) != states:  # it speaks for other bytes than its name
            folder = folder.with_name(f"{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
        with contextlib.suppress(OSError):  # another process was faster, and its copy is the same
            temporary.rename(folder)
        lock = _hold(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _tidy(folder)
    return folder, lock


def key(files: Sequence[Path]) -> str:
    """The name of the copy of these segments: of their names and bytes, and of what makes views of them."""
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


def _states(files: Sequence[Path]) -> list[tuple[int, ...]]:
    """What shows that a file was written to: a copy is not kept under a name that its segments had a moment before."""
    stats = (file.stat() for file in files)
    return [(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in stats]


def _bounded(con: duckdb.DuckDBPyConnection, spill: Path) -> None:
    """Has DuckDB use the disk beyond MEMORY; the folder is its own, for the names in it are the same everywhere."""
    threads = os.cpu_count() or 1
    path = str(spill).replace("'", "''")
    con.execute(f"SET memory_limit = '{max(MEMORY, 256 * threads)}MiB'; SET temp_directory = '{path}'")


def _hold(folder: Path, how: int = fcntl.LOCK_SH) -> int:
    """A lock on a copy as a descriptor; OSError where it is gone, or somebody has it."""
    lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        (folder / "lock").stat()  # deleted while it was not locked yet
    except OSError:
        os.close(lock)
        raise
    return lock


def _tidy(current: Path) -> None:
    """Deletes earlier copies of this ledger, and of any ledger what was not used for a month; what is in use stays."""
    for folder in current.parent.parent.glob("*/*"):
        with contextlib.suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            if folder.name.startswith("."):  # of a process that was killed
                if age > LEFT:
                    shutil.rmtree(folder, ignore_errors=True)
            elif folder != current and (folder.parent == current.parent or age > KEPT):
                lock = _hold(folder, fcntl.LOCK_EX)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
