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
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger import segments
from analysis.tables import show, write

if TYPE_CHECKING:
    import duckdb

LARGE = 32 << 20  # bytes of a ledger below which its lines are read anew: that takes less than a second
MEMORY = 1024  # MiB that DuckDB may hold before it makes use of the disk; more where there are many threads
KEPT = 30 * 86400  # seconds that a copy is kept after its last use, where its ledger has not grown
_CHUNK = 8 << 20


def opened(con: duckdb.DuckDBPyConnection, place: Path) -> bool:
    """Makes the SQL views of the ledger folder ``place`` from its compact copy, which is made where there is none.

    False where the ledger is small or there is no room for a copy: the caller reads the lines. Raises Corrupt as
    `ledger.verify` does.
    """
    import duckdb

    files = segments(place)
    if sum(file.stat().st_size for file in files) < LARGE:
        return False
    home = _home(place)
    if home is None:
        return False
    try:
        _bounded(con, home)
        folder, lock = _found(files, home) or _made(files, home)
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException):
        return False
    weakref.finalize(con, os.close, lock)
    show(con, folder)
    return True


def _home(place: Path) -> Path | None:
    """Where the copies of a ledger lie; None where there can be none, or others may write there."""
    from trainer.data import user_cache

    home = user_cache() / "views" / hashlib.sha256(os.fsencode(place.resolve())).hexdigest()[:16]
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (home.parent, home):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                return None
            folder.chmod(0o700)
    except OSError:
        return None
    return home


def _found(files: Sequence[Path], home: Path) -> tuple[Path, int] | None:
    """The copy of exactly these segments with a lock on it, which keeps others from deleting it."""
    folder = home / key(files)
    try:
        lock = _hold(folder)
    except OSError:
        return None
    os.utime(folder)
    return folder, lock


def _made(files: Sequence[Path], home: Path) -> tuple[Path, int]:
    """Makes the copy in a folder of its own and renames it: of several processes one wins, and all see it whole."""
    import duckdb

    before = _states(files)
    name = key(files)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=home))
    try:
        (temporary / "lock").touch()
        with _held(temporary), duckdb.connect(":memory:") as con:
            _bounded(con, home)
            write(con, files, temporary)
        folder = home / (name if _states(files) == before else f"{name}-{os.getpid()}-{time.time_ns()}")
        with contextlib.suppress(OSError):  # another process was faster, and its copy is the same
            temporary.rename(folder)
        lock = _hold(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _tidy(home, folder)
    return folder, lock


def key(files: Sequence[Path]) -> str:
    """The name of the copy of these segments: of their names and bytes, and of what makes views of them."""
    import duckdb

    digest = hashlib.sha256(f"{duckdb.__version__}\n".encode())
    for path in sorted((Path(__file__).parent / "views").glob("*.sql")):
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
    found = (file.stat() for file in files)
    return [(state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in found]


def _bounded(con: duckdb.DuckDBPyConnection, home: Path) -> None:
    threads = os.cpu_count() or 1
    spill = str(home / "spill").replace("'", "''")
    con.execute(f"SET memory_limit = '{max(MEMORY, 256 * threads)}MiB'; SET temp_directory = '{spill}'")


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


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    lock = _hold(folder)
    try:
        yield
    finally:
        os.close(lock)


def _tidy(home: Path, current: Path) -> None:
    """Deletes earlier copies of this ledger, and of any ledger what was not used for a month; what is in use stays."""
    for folder in home.parent.glob("*/*"):
        with contextlib.suppress(OSError):
            ours = folder.parent == home and folder != current
            if not ours and time.time() - folder.stat().st_mtime < KEPT:
                continue
            lock = _hold(folder, fcntl.LOCK_EX)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
