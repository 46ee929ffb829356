"""The outer sandbox: what a warm template sees.

It contains the interpreter, its packages, the system's libraries and one training split, all read-only, and nothing
else of the host: no network, no home, no environment. The root folder for experiments is prepared in it under
`trainer.inside.namespaces.INNER`, with copies of what they may import (`trainer.inside.shown_files`) and the split;
metaloop itself, with the generators of hidden data, is left out or masked.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
import sys
import sysconfig
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

from programs.common.distribution import DISTRIBUTION
from trainer.inside.namespaces import DATA, INNER
from trainer.sandbox.view import OURS, View

INSIDE = Path(__file__).resolve().parent.parent / "inside"
HOME = "/metaloop/home"  # the template's own modules, in the outer sandbox only
TEMPORARY = "/metaloop/tmp"  # the template's temporary folder
_SYSTEM = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/etc/ld.so.cache")
_NEEDED = ("numpy", "torch")
_FOR_GPUS = ("cuda", "nvidia", "triton")  # packages of gigabytes, which experiments of a template do not use
_MOST_FILES = 64  # of a training split; each is a mount in every experiment
START = "import sys, json; settings = json.loads(sys.argv[2]); sys.path[:0] = [settings['home'], *settings['path']]; "
START += "from trainer.inside import template; template.main(int(sys.argv[1]), settings)"


def packages() -> list[str]:
    """The folders of sys.path that contain packages: site-packages, dist-packages and similar ones."""
    named = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    folders = [path for path in sys.path if path in named or Path(path).name in ("site-packages", "dist-packages")]
    return list(dict.fromkeys(path for path in folders if Path(path).is_dir()))


def interpreter() -> str:
    """The base interpreter of a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def bound() -> list[str]:
    """The host's paths that an experiment may read: libraries, standard library and packages."""
    libraries = [os.path.join(sys.base_prefix, name) for name in ("lib", "lib64")]
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    wanted = [*_SYSTEM, *libraries, *standard, *packages()]
    if "LD_LIBRARY_PATH" in os.environ:
        wanted += [path for path in os.environ["LD_LIBRARY_PATH"].split(":") if path.startswith("/")]
    chosen: list[str] = []
    for path in dict.fromkeys(os.path.normpath(path) for path in wanted if os.path.exists(path)):
        within = any(path.startswith(f"{folder}/") for folder in chosen if not os.path.islink(folder))
        if not within and path != "/":
            chosen.append(path)
    return chosen


def shown(torch: bool, imports: Sequence[str] = ()) -> list[str]:
    """What experiments see copies of: the standard library, numpy, torch and ``imports`` (names of modules), with the
    packages that these require."""
    names = ["numpy", *(["torch"] if torch else [])]
    if others := [name for name in imports if name not in (*names, *sys.stdlib_module_names)]:
        owners = packages_distributions()
        names += [owner for name in others for owner in owners.get(name, [name])]
    paths: dict[str, list[str]] = {}
    while names:
        name = names.pop()
        if name not in (*paths, *OURS, DISTRIBUTION):
            paths[name], required = _installed(name)
            names += required
    standard = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return list(dict.fromkeys([*standard, *itertools.chain(*paths.values())]))


@cache
def _installed(name: str) -> tuple[list[str], list[str]]:
    """The folders and files of a distribution, and the distributions that it requires, without its extras. Of one that
    has no list of files, or was put there by hand, the folders and files of its name."""
    paths = [os.path.join(folder, part) for folder in packages() for part in (name, f"{name}.py", f"{name}.libs")]
    required: list[str] = []
    with suppress(PackageNotFoundError):
        installed = distribution(name)
        needed = [
            need for need in installed.requires or () if "extra ==" not in need and not need.startswith(_FOR_GPUS)
        ]
        required = [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needed]
        parts = {file.parts[0] for file in installed.files or ()} - {"..", "__pycache__"}
        listed = [str(installed.locate_file(part)) for part in sorted(parts) if not part.endswith(".dist-info")]
        paths = listed or paths
    return [path for path in paths if os.path.exists(path)], required


def unreadable() -> str:
    """A path that the template needs but other users may not read, e.g. after an installation under umask 077, or "".

    Only bound folders and the paths in them are checked; folders above them do not matter in the sandbox.
    """
    needed = [interpreter(), os.__file__]
    needed += [spec.origin for name in _NEEDED if (spec := find_spec(name)) and spec.origin]
    within = [*bound(), interpreter()]
    for file in needed:
        for path in (file, *map(str, Path(file).parents)):
            inside = any(path == folder or path.startswith(f"{folder}/") for folder in within)
            wanted = stat.S_IROTH | (stat.S_IXOTH if os.path.isdir(path) else 0)
            if inside and os.stat(path).st_mode & wanted != wanted:
                return path
    return ""


def view(data: Path | None) -> View:
    """What the template may see. ``data``: the training split of experiments."""
    paths = {f"{HOME}/trainer/inside": INSIDE, interpreter(): Path(interpreter())}
    return View(
        user="sandbox",
        system=bound(),
        hidden=[Path(folder, name) for folder in packages() for name in OURS],  # with the generators of hidden data
        memory={TEMPORARY: 1},
        bound=paths | _data(data),
        experiments=True,
    )


def _data(data: Path | None) -> dict[str, Path]:
    """The files of the split, each by itself, so that names are looked up in memory; of a split of many, its folder."""
    if data is None:
        return {}
    files = sorted(path for path in data.rglob("*") if path.is_file())
    if len(files) > _MOST_FILES:
        return {INNER + DATA: data}
    return {f"{INNER}{DATA}/{path.relative_to(data)}": path for path in files}


def command(descriptor: int, settings: str) -> list[str]:
    """The command in the sandbox: the base interpreter without site, so that no .pth file is executed."""
    return [interpreter(), "-s", "-S", "-P", "-c", START, str(descriptor), settings]
