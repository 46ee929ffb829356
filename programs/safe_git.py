"""git that executes nothing of a repository that may come from someone else.

A repository's configuration and hooks can name programs. So git never runs in the repository of another: it runs in a
new one of ours that links to the other's objects and references (`BorrowedRepository`), without the user's
configuration, without network, and with limits on time, memory and output.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import stat
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from programs.errors import Corrupt
from programs.files import TooMuch, entries, irregular, is_regular, read_regular, write_whole

SECONDS = 600.0
MOST_OUTPUT = 64 << 20
MOST_SETTINGS = 1 << 20  # bytes of a repository's config, HEAD and the like
MOST_FOLDERS = 32  # whose objects a repository uses
ENVIRONMENT = {
    "GIT_DIR": "/dev/null",  # unless a command names one: no repository above the current folder
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_ALLOC_LIMIT": "512m",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
}
NO_VARIABLES: Mapping[str, str] = {}
_CONFIG = """[core]
\trepositoryformatversion = 1
\tbare = true
\tbigFileThreshold = 400k
\tattributesFile = /dev/null
\thooksPath = /dev/null
\tmultiPackIndex = false
[extensions]
\tobjectFormat = {}
"""
_NO_PROGRAMS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "log.showSignature=false")
_READ_BY_GIT = re.compile("pack|[0-9a-f]{2}")  # folders of objects
_HEAD = re.compile(r"ref: refs/\S+|[0-9a-f]{40,64}")


def run(
    words: Sequence[str], data: bytes = b"", most: int | None = None, environment: Mapping[str, str] = NO_VARIABLES
) -> subprocess.CompletedProcess[bytes]:
    """A git command that reads ``data``; it is ended after SECONDS, or when it prints more than ``most`` bytes (else
    MOST_OUTPUT), of which the result then has one more. With an empty GIT_CONFIG_GLOBAL it has the user's settings."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env = {**own, **ENVIRONMENT, **environment}
    if not env["GIT_CONFIG_GLOBAL"]:
        del env["GIT_CONFIG_GLOBAL"]
    most = most or MOST_OUTPUT
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(data)
        stdin.seek(0)
        with subprocess.Popen(
            ["git", *_NO_PROGRAMS, *words],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=env,
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                out = process.stdout.read(most + 1)
                if len(out) > most:
                    process.kill()
                code = process.wait()
            finally:
                timer.cancel()
        stderr.seek(0)
        return subprocess.CompletedProcess(list(words), code, out, stderr.read(1 << 16))


def repository_above(folder: Path) -> Path | None:
    """The repository that a folder lies in: its work tree, or the folder of a bare one."""
    for parent in (folder, *folder.parents):
        if (parent / ".git").exists() or ((parent / "HEAD").is_file() and (parent / "objects").is_dir()):
            return parent
    return None


class GitFolder:
    """A bare repository of ours, in which git runs. ``name``: what messages call it."""

    hint = "restore it from a copy"

    def __init__(self, folder: Path, name: Path | None = None) -> None:
        self.folder = folder
        self._name = name or folder

    def create(self, head: str = "ref: refs/heads/main", object_format: str = "sha1") -> None:
        """Write the files that make it a repository; objects and branches that it has stay."""
        for name in ("objects/info", "objects/pack", "refs/heads"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "HEAD").write_text(head.strip() + "\n")
        (self.folder / "config").write_text(_CONFIG.format(object_format))

    def attempt(
        self, *words: str, data: bytes = b"", most: int | None = None, environment: Mapping[str, str] = NO_VARIABLES
    ) -> subprocess.CompletedProcess[bytes]:
        """A git command, which may fail."""
        return run(["--git-dir", str(self.folder), *words], data, most, environment)

    def git(self, *words: str, data: bytes = b"", environment: Mapping[str, str] = NO_VARIABLES) -> str:
        """What a git command prints. Raises Corrupt with git's last line."""
        done = self.attempt(*words, data=data, environment=environment)
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            raise Corrupt(f"{self._name}: git {words[0]}: {last}", hint=self.hint)
        try:
            return done.stdout.decode()
        except UnicodeDecodeError:
            raise Corrupt(f"{self._name}: git {words[0]}: not UTF-8", hint=self.hint) from None

    def resolve(self, name: str) -> str:
        """The hash of a revision or of a file in one, as ``HEAD:train.py``; empty if there is none."""
        return self.attempt("rev-parse", "--verify", "--quiet", name).stdout.decode(errors="replace").strip()

    def file(self, commit: str, path: str, most: int | None = None) -> bytes | None:
        """The content of a file of a commit; None if it has none, or one of more than ``most`` bytes.

        Raises Corrupt if the repository lacks it.
        """
        blob = self.resolve(f"{commit}:{path}")
        done = self.attempt("cat-file", "blob", blob, most=most)
        if blob and done.returncode > 0:
            message = f"{self._name}: {path} of commit {commit[:10]} is missing, or no file"
            raise Corrupt(message, hint=f"git show {commit[:10]}:{path}")
        return done.stdout if done.returncode == 0 else None

    def write_tree(self, files: Mapping[str, bytes], base: str = "") -> str:
        """The hash of a new tree with these files beside those of the tree or commit ``base``. Raises Corrupt."""
        with tempfile.TemporaryDirectory(prefix="index-", dir=self.folder) as folder:
            index = {"GIT_INDEX_FILE": f"{folder}/index", "GIT_LITERAL_PATHSPECS": "1"}
            rows = ""
            if base:
                self.git("read-tree", base, environment=index)
                rows = self.git("ls-files", "-z", "--stage", "--", *files, environment=index)
            executable = {row.partition("\t")[2] for row in rows.split("\0") if row.startswith("100755")}
            added = "".join(
                f"{'100755' if path in executable else '100644'} "
                f"{self.git('hash-object', '-w', '--stdin', data=content).strip()}\t{path}\0"
                for path, content in sorted(files.items())
            )
            self.git("update-index", "-z", "--add", "--index-info", data=added.encode(), environment=index)
            return self.git("write-tree", "--missing-ok", environment=index).strip()

    def write_commit(self, tree: str, parents: Sequence[str], message: str, environment: Mapping[str, str]) -> str:
        """The hash of a new commit, which no branch names. ``environment``: author and committer, as git names them."""
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *words, data=message.encode(), environment=environment).strip()


class BorrowedRepository(GitFolder):
    """A repository that is not ours, read and given branches without obeying or executing anything of it.

    git runs in a new folder with our settings that links to the other's objects and references, as git-new-workdir
    does. Everything that git reads is checked first: regular files and folders only, in the repository itself.
    """

    hint = "git fsck checks it, git gc packs it"

    @classmethod
    @contextmanager
    def open(cls, folder: Path, follow: bool = False) -> Iterator[Self]:
        """Borrow the repository in ``folder``: a work tree, a git folder or a bare repository.

        ``follow``, for repositories of the user's: objects and the like may also lie elsewhere, where the repository's
        alternates, links or `.git` file lead; of a stranger's, they could lead to another repository of the machine.
        Raises Corrupt, with one line.
        """
        with tempfile.TemporaryDirectory(prefix="metaloop-objects-") as ours:
            yield cls(Path(ours), folder, follow)

    def __init__(self, ours: Path, folder: Path, follow: bool) -> None:
        super().__init__(ours, folder)
        self._follow = follow
        try:
            self._git_folder, self._common = self._located(folder)
            head = read_regular(self._git_folder / "HEAD", MOST_SETTINGS).decode()
            self._objects = self._folders_of_objects()
            object_format = self.setting("extensions.objectFormat") or "sha1"
            if not _HEAD.fullmatch(head.strip()) or object_format not in ("sha1", "sha256"):
                raise ValueError("its HEAD or the format of its objects is unknown")
            references = [self._plain(self._common / name) for name in ("refs", "packed-refs")]
            if self.setting("extensions.refStorage") not in ("", "files"):
                raise ValueError("its branches are not stored as files (git refs migrate --ref-format=files)")
        except (OSError, ValueError, TooMuch) as error:
            reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            raise Corrupt(f"{folder} is not a readable repository: {reason}", hint=self.hint) from None
        self.create(head, object_format)
        (ours / "refs" / "heads").rmdir()
        (ours / "refs").rmdir()
        for path in references:
            (ours / path.name).symlink_to(path)
        self._link_objects()
        self.head = self.resolve("HEAD^{commit}")

    def _located(self, folder: Path) -> tuple[Path, Path]:
        """(the git folder of a work tree, the one that all work trees of the repository share)."""
        inner = folder / ".git"
        is_file = is_regular(inner)
        if is_file:
            named = os.fsdecode(read_regular(inner, MOST_SETTINGS)).partition("gitdir: ")[2].rstrip("\n")
            git_folder = _real(folder / named)
        else:
            git_folder = _real(inner if inner.exists() else folder)
        common = git_folder
        if (git_folder / "commondir").exists():
            common = _real(git_folder / _line(git_folder / "commondir"))
            if git_folder.parent != common / "worktrees":
                raise ValueError(f"{git_folder}/commondir names a repository that has no such work tree")
        if not self._follow and not common.is_relative_to(_real(folder)):
            self._common = common
            if common != git_folder:
                named = _line(git_folder / "gitdir")
            else:
                named = f"{self.setting('core.worktree') or '.'}/.git"  # of a submodule
            if not is_file or _real(git_folder / named) != _real(inner):
                raise ValueError(f"its objects lie in {common}, which does not name this folder")
        return git_folder, common

    def setting(self, key: str) -> str:
        """A value of the repository's own settings, without what they include; empty if there is none."""
        path = self._common / "config"
        data = read_regular(path, MOST_SETTINGS) if os.path.lexists(path) else b""
        return run(["config", "--file", "-", "--no-includes", key], data).stdout.decode(errors="replace").strip()

    def _plain(self, path: Path) -> Path:
        """Where a file or folder of the repository really lies. Raises OSError, TooMuch or Corrupt if it is missing, or
        anything in it is no regular file."""
        real = _real(path)
        if not self._follow and not real.is_relative_to(self._common):
            raise ValueError(f"{path.relative_to(self._common)} leads to {real}, and other folders are not read")
        if real.exists():
            for name, status in [(str(real), real.lstat()), *entries(real)]:
                if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
                    raise irregular(Path(name))
        return real

    def _folders_of_objects(self) -> list[Path]:
        """Its own folder of objects, and those that its alternates name."""
        folders = [self._plain(self._common / "objects")]
        if not folders[0].is_dir():
            raise ValueError("it has no objects")
        for folder in folders:
            alternates = folder / "info" / "alternates"
            lines = read_regular(alternates, MOST_SETTINGS).splitlines() if alternates.exists() else []
            for line in filter(None, lines):
                other = _real(folder / os.fsdecode(line))
                if not self._follow and not other.is_relative_to(self._common):
                    raise ValueError(f"objects/info/alternates names {other}, and other folders are not read")
                if not line.startswith(b"#") and other.is_dir() and other not in folders:
                    folders.append(self._plain(other))
            if len(folders) > MOST_FOLDERS:
                raise ValueError(f"it uses objects of more than {MOST_FOLDERS} folders")
        return folders

    def _link_objects(self) -> None:
        """Link to the folders of objects, one by one: not to those with alternates of their own and with caches."""
        places = [self.folder / "borrowed" / str(number) for number in range(len(self._objects))]
        for place, objects in zip(places, self._objects, strict=True):
            place.mkdir(parents=True)
            for path in objects.iterdir():
                if _READ_BY_GIT.fullmatch(path.name):
                    (place / path.name).symlink_to(path)
        (self.folder / "objects" / "info" / "alternates").write_text("".join(f"{place}\n" for place in places))

    def add_branch(self, name: str, commit: str) -> None:
        """Give the repository the objects that were written here, and a new branch. Raises Corrupt or OSError."""
        for path in (self.folder / "objects").glob("[0-9a-f][0-9a-f]/*"):
            target = self._objects[0] / path.parent.name / path.name
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                write_whole(target, path.read_bytes())
                target.chmod(0o444)
        self.git("update-ref", f"refs/heads/{name}", commit, "0" * len(commit))

    def identity(self) -> dict[str, str]:
        """Author and committer of the user's commits, as git's environment has them: from the environment, the
        repository's settings or the user's own."""
        user, out = getpass.getuser(), {}
        settings = {name: os.environ.get(name, "") for name in ("HOME", "GIT_CONFIG_GLOBAL")}
        settings["GIT_CONFIG_NOSYSTEM"] = "0"
        for key, unknown in (("name", user), ("email", f"{user}@{platform.node()}")):
            own = run(["config", f"user.{key}"], environment=settings).stdout.decode(errors="replace").strip()
            for role in ("AUTHOR", "COMMITTER"):
                name = f"GIT_{role}_{key.upper()}"
                out[name] = os.environ.get(name) or self.setting(f"user.{key}") or own or unknown
        return out


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _line(path: Path) -> str:
    return os.fsdecode(read_regular(path, MOST_SETTINGS)).rstrip("\n")
