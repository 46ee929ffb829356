"""The folders of runs that have ended, in one file: ``runs.zip`` in place of a hundred thousand small ones.

A run's folder is its git repository, the diffs and the logs of its experiments. `unpacked` gives it back, wherever it
is. An archive may come from someone else: names that lead out of the folder and very large contents are refused.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from programs.errors import Corrupt

ARCHIVE, FOLDERS = "runs.zip", "runs"
MOST_BYTES = 1 << 30  # of one run, unpacked


def pack(study: Path, run_ids: Collection[str]) -> int:
    """Move the folders of these runs into the archive; the number of runs. A kill leaves all folders, or none of those
    that are in the archive twice."""
    folders = [path for run_id in sorted(run_ids) if (path := study / FOLDERS / run_id).is_dir()]
    if not folders:
        return 0
    archive, fresh = study / ARCHIVE, study / f"{ARCHIVE}.new"
    fresh.unlink(missing_ok=True)
    again = {path.name for path in folders}
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            if archive.is_file():
                with zipfile.ZipFile(archive) as before:
                    for info in before.infolist():
                        if info.filename.partition("/")[0] not in again:
                            target.writestr(info, before.read(info))
            for folder in folders:
                _add(target, folder)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(archive)
    for folder in folders:
        shutil.rmtree(folder)
    return len(folders)


def _add(target: zipfile.ZipFile, folder: Path) -> None:
    """Its files, without git's sample hooks; links are left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and name.parts[:2] != (".git", "hooks"):
            info = zipfile.ZipInfo(f"{folder.name}/{name.as_posix()}")  # without a time: the same files, the same bytes
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, (path.stat().st_mode & 0o777) << 16
            target.writestr(info, path.read_bytes())


@contextmanager
def unpacked(study: Path, run_id: str) -> Iterator[Path]:
    """The folder of a run: its own, or for as long as it is needed a copy from the archive; one that does not exist if
    the run is in neither. Raises Corrupt."""
    folder = study / FOLDERS / run_id
    archive = study / ARCHIVE
    if folder.is_dir() or not archive.is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        try:
            with zipfile.ZipFile(archive) as packed:
                members = [info for info in packed.infolist() if info.filename.startswith(f"{run_id}/")]
                if sum(info.file_size for info in members) > MOST_BYTES:
                    raise Corrupt(f"{archive}: {run_id} is larger than {MOST_BYTES >> 20} MB", hint="restore a copy")
                packed.extractall(temporary, members)  # it leaves no name that leads out of the folder
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
            raise Corrupt(f"{archive}: cannot be read: {error}", hint="restore the file from a copy") from None
        yield Path(temporary) / run_id if members else folder
