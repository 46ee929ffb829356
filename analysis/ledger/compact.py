"""Compact copies of large ledgers: their tables as Parquet files, so that lines are parsed once, not at each opening.

A copy is a cache: it may be deleted at any time. It is in the user's own cache folder and never
in the folder of a study, which may be untrusted; a folder that others can write to is not used. Its name contains the
SHA-256 of every segment at the time of the chain check, so it is valid for exactly these bytes: they are hashed at
every opening (1 s for 2 GB), and any changed byte, or an added or missing segment, means reading the lines again. A
computed view that takes long is added to it when it is first computed, under a hash of the code that did.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import analysis
import inner_loop
import programs
from analysis.effects.settings import TABLES, settings
from analysis.ledger import verify
from analysis.views.tables import RECORDS, SQL_VIEWS, make, parquet, quoted, show, statement

if TYPE_CHECKING:
    import duckdb

LARGE = 32 << 20  # bytes; a smaller ledger is parsed at each opening, which takes less than a second
MEMORY = 1024  # MiB that DuckDB may use before it spills to disk; more with many threads
MAX_AGE = 30 * 86400  # seconds after its last use until a copy is deleted
MAX_OLD_AGE = 3600  # the same of an earlier state of the ledger, which a process may still read
_CHUNK = 8 << 20


def opened(con: duckdb.DuckDBPyConnection, ledger: Path, files: Sequence[Path]) -> Path | None:
    """Makes views of the tables in the compact copy of a ledger, which it creates if there is none.

    The copy; None if the ledger is small or there is no room for a copy: the caller reads the lines. Raises Corrupt as
    `ledger.verify` does.
    """
    import duckdb

    if sum(file.stat().st_size for file in files) < LARGE:
        return None
    home = _home(ledger)
    if home is None:
        return None
    try:
        copy = home / key(files)
        if not copy.is_dir():
            copy = _create(ledger, files, copy)
        os.utime(copy)
    except (OSError, duckdb.Error):
        return None
    _bounded(con, home)
    con.execute("CREATE SCHEMA recorded; CREATE SCHEMA helper")
    for name in (*RECORDS, *SQL_VIEWS, *TABLES):
        if name == "events":
            con.execute(f"CREATE VIEW events AS {statement('events', 'views')}")
        else:
            show(con, name, copy)
    return copy


def computed(con: duckdb.DuckDBPyConnection, copy: Path, held: str, name: str, make: Callable[[], None]) -> None:
    """The table ``name`` as ``make`` makes it, read from beside the copy if the same code has made it before.

    ``held``: TEMP or empty."""
    import duckdb

    digest = hashlib.sha256("\n".join(f"{name} {version(name)}" for name in ("numpy", "scipy")).encode())
    for path in sorted(file for part in (analysis, programs) for file in Path(part.__path__[0]).rglob("*.py")):
        digest.update(path.read_bytes())
    target = copy / f"{name}-{digest.hexdigest()[:32]}.parquet"
    try:
        con.execute(f"CREATE {held} TABLE {name} AS FROM {parquet(target)}")
        return
    except duckdb.IOException:
        make()
    with contextlib.suppress(OSError, duckdb.IOException):
        con.execute(f"COPY {name} TO '{quoted(target)}' (USE_TMP_FILE true)")


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


def _create(ledger: Path, files: Sequence[Path], copy: Path) -> Path:
    """Creates the copy in a temporary folder, then renames it: of several processes one wins, with a whole copy."""
    import duckdb

    before = states(files)
    temporary = Path(tempfile.mkdtemp(prefix=".copy-", dir=copy.parent))
    try:
        with ThreadPoolExecutor(1) as worker, duckdb.connect(":memory:") as con:
            sound = worker.submit(verify, ledger)
            _bounded(con, copy.parent)
            con.execute("SET preserve_insertion_order = false")  # else the text of all events is held
            make(con, files, temporary)
            settings(con)
            for name in TABLES:
                con.execute(f"COPY {name} TO '{quoted(temporary / name)}.parquet'")
            sound.result()
        if states(files) != before:  # the segments changed, so the name does not match the bytes
            copy = copy.with_name(f"{copy.name}-{os.getpid()}-{time.monotonic_ns()}")
        with contextlib.suppress(OSError):  # another process was faster; its copy is the same
            temporary.rename(copy)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _tidy(copy)
    return copy


def key(files: Sequence[Path]) -> str:
    """The name of the copy: a hash of the segments' names and bytes, DuckDB's version and the code of `makers`."""
    import duckdb

    digest = hashlib.sha256(f"{duckdb.__version__}\n".encode())
    for path in makers():
        digest.update(path.read_bytes())
    chunks = [(path, start) for path in files for start in range(0, max(path.stat().st_size, 1), _CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as workers:
        for (path, start), part in zip(chunks, workers.map(_hashed, chunks), strict=True):
            digest.update(b"%d %b\n" % (start, os.fsencode(path.name)) + part)
    return digest.hexdigest()


def makers() -> list[Path]:
    """The files of our code that a copy's tables depend on."""
    package, run_events = Path(__file__).parents[1], Path(inner_loop.__path__[0]) / "events.py"
    code = [
        package / "views" / "tables.py",
        package / "effects" / "settings.py",
        *package.glob("ledger/*events.py"),
        run_events,
    ]
    return sorted([*code, *package.glob("views/*.sql"), *package.glob("queries/*/*.sql")])


def _hashed(chunk: tuple[Path, int]) -> bytes:
    path, start = chunk
    with path.open("rb", buffering=0) as file:
        return hashlib.sha256(os.pread(file.fileno(), _CHUNK, start)).digest()


def states(files: Sequence[Path]) -> tuple[tuple[int, ...], ...]:
    """The state of each file, to detect writes: a copy must not be stored under the hash of older bytes."""
    stats = (file.stat() for file in files)
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in stats)


def _bounded(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Makes DuckDB spill to disk beyond MEMORY, into its own folder, because file names in it are always the same."""
    spill = folder / f".spill-{os.getpid()}-{time.monotonic_ns()}"
    memory = max(MEMORY, 256 * (os.cpu_count() or 1))
    con.execute(f"SET memory_limit = '{memory}MiB'; SET temp_directory = '{quoted(spill)}'")


def _tidy(current: Path) -> None:
    """Deletes copies of any ledger that are unused for long, and earlier or unfinished ones sooner."""
    for folder in current.parent.parent.glob("*/*"):
        with contextlib.suppress(OSError):
            age = time.time() - folder.stat().st_mtime
            is_old = folder.parent == current.parent or folder.name.startswith(".")
            if folder != current and age > (MAX_OLD_AGE if is_old else MAX_AGE):
                shutil.rmtree(folder, ignore_errors=True)
