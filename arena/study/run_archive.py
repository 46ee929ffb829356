"""The folders of runs that have ended, in one file: ``runs.zip`` in place of a hundred thousand small ones.

A run's folder is its git repository, the diffs and the logs of its experiments; in the archive it is one RUN.zip, whose
many small files are stored, so that they and their names are compressed as a whole. `unpacked` gives the folder back,
wherever it is. An archive may come from someone else: names that lead out of the folder and very large contents are
refused.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from programs.common.errors import Corrupt
from programs.common.files import extract, open_regular, open_zip, read_entry

ARCHIVE, FOLDERS = "runs.zip", "runs"
COMPUTED_AGAIN = ("cache", "data")  # folders of a study
MOST_BYTES, MOST_FILES = 1 << 30, 100_000  # of one run, unpacked


def pack(study: Path, run_ids: Collection[str]) -> int:
    """Move the folders of these runs into the archive; the number of runs. A kill leaves all folders, or none of those
    that are in the archive twice."""
    folders = [path for run_id in sorted(run_ids) if (path := study / FOLDERS / run_id).is_dir()]
    if not folders:
        return 0
    archive, fresh = study / ARCHIVE, study / f"{ARCHIVE}.new"
    fresh.unlink(missing_ok=True)
    packed = {path.name for path in folders}
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
            if archive.is_file():
                with open_regular(archive) as old, open_zip(old) as before:
                    for info in before.infolist():
                        if info.filename.removesuffix(".zip") not in packed:
                            target.writestr(info, read_entry(before, info, MOST_BYTES))
            for folder in folders:
                target.writestr(_named(f"{folder.name}.zip", zipfile.ZIP_DEFLATED), _zipped(folder))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(archive)
    for folder in folders:
        shutil.rmtree(folder)
    return len(folders)


def compact(study: Path) -> None:
    """Make a study that nothing works on small: archive its finished runs, remove what can be computed again."""
    from analysis.study import query

    pack(study, [str(row["run_id"]) for row in query(study, "SELECT run_id FROM runs WHERE state = 'finished'")])
    for name in COMPUTED_AGAIN:
        for path in (study / name).iterdir() if (study / name).is_dir() else ():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _zipped(folder: Path) -> bytes:
    """Its files, without hooks of its repository; links are left out."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as target:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder)
            if path.is_file() and not path.is_symlink() and name.parts[:2] != (".git", "hooks"):
                info = _named(f"{folder.name}/{name.as_posix()}", zipfile.ZIP_STORED)
                info.external_attr = (path.stat().st_mode & 0o777) << 16
                target.writestr(info, path.read_bytes())
    return whole.getvalue()


def _named(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)  # without a time: the same files, the same bytes
    info.compress_type = compression
    return info


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
            is_archived = _unpack(archive, f"{run_id}.zip", Path(temporary))
        except (zipfile.BadZipFile, OSError) as error:
            raise Corrupt(f"{archive}: cannot be read: {error}", hint="restore the file from a copy") from None
        yield Path(temporary) / run_id if is_archived else folder


def _unpack(archive: Path, name: str, target: Path) -> bool:
    """Whether there is a run of this name, whose files are then in ``target``. Raises BadZipFile, OSError, Corrupt."""
    with open_regular(archive) as file, open_zip(file) as packed, tempfile.TemporaryFile() as inner:
        if name not in packed.namelist():
            return False
        extract(packed, packed.getinfo(name), inner, MOST_BYTES)
        with open_zip(inner) as run:
            files = run.infolist()
            if any(info.compress_type != zipfile.ZIP_STORED for info in files):
                raise zipfile.BadZipFile(f"{name} was not made by metaloop")
            if len(files) > MOST_FILES or sum(info.file_size for info in files) > MOST_BYTES:  # they may overlap
                raise zipfile.BadZipFile(f"{name} has more than {MOST_FILES:,} files or {MOST_BYTES >> 20} MB")
            run.extractall(target)  # it leaves no name that leads out of the folder
    return True
