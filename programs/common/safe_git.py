"""git that executes nothing of a repository that may come from someone else.

A repository's configuration and hooks can name programs. So git never runs in the repository of another: it runs in a
new one of ours that links to the other's objects and references (`BorrowedRepository`), without the user's
configuration, without network, and with limits on time, memory and output.
"""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from programs.common.errors import Corrupt
from programs.common.files import irregular, is_regular, read_regular
from programs.common.git_command import NO_VARIABLES, run

MOST_SETTINGS = 1 << 20  # bytes of a repository's config, HEAD and the like
IDENTITY_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM")
MOST_FOLDERS = 32  # whose objects a repository uses
_CONFIG = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectFormat = {}\n"


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

    def write_commit(self, tree: str, parent: str, message: str, environment: Mapping[str, str]) -> str:
        """The hash of a new commit, which no branch names. ``environment``: author and committer, as git names them."""
        words = ["-p", parent] if parent else []
        return self.git("commit-tree", tree, *words, data=message.encode(), environment=environment).strip()


class BorrowedRepository(GitFolder):
    """A repository that is not ours, read and given branches without obeying or executing anything of it.

    git runs in a new folder with our settings that links to the other's objects and references, as git-new-workdir
    does. Everything that git reads there is checked first: regular files and folders only, in the repository itself.
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
        with tempfile.TemporaryDirectory(prefix="metaloop-git-") as ours:
            yield cls(Path(ours), folder, follow)

    def __init__(self, ours: Path, folder: Path, follow: bool) -> None:
        super().__init__(ours, folder)
        self._follow = follow
        try:
            self._locate(folder)
            object_format = self._settings.get("extensions.objectformat", "sha1")
            if object_format not in ("sha1", "sha256"):
                raise ValueError("the format of its objects is unknown")
            if self._settings.get("extensions.refstorage", "files") != "files":
                raise ValueError("its branches are not stored as files (git refs migrate --ref-format=files)")
            (ours / "HEAD").write_bytes(self._read(self._git_folder / "HEAD"))
            (ours / "config").write_text(_CONFIG.format(object_format))
            self._check_objects()
            for name in ("objects", "refs", "packed-refs"):
                (ours / name).symlink_to(self._place(self._common / name))
        except (OSError, ValueError) as error:
            reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else error
            raise Corrupt(f"{folder} is not a readable repository: {reason}", hint=self.hint) from None
        self.head = self.resolve("HEAD^{commit}")

    def _locate(self, folder: Path) -> None:
        """Find the git folder of a work tree, the one that all work trees of the repository share, and its settings."""
        inner = folder / ".git"
        if is_file := is_regular(inner):
            named = os.fsdecode(read_regular(inner, MOST_SETTINGS)).removeprefix("gitdir: ")
            self._git_folder = _real(folder / named.rstrip("\r\n"))
        else:
            self._git_folder = _real(inner if inner.exists() else folder)
        is_worktree = is_regular(self._git_folder / "commondir")
        self._common = self._git_folder.parents[1] if is_worktree else self._git_folder
        config = self._read(self._common / "config")
        listed = run(["config", "--file", "-", "--no-includes", "--list", "-z"], config).stdout
        rows = [row.partition("\n") for row in listed.decode(errors="replace").split("\0")]
        self._settings = {key: value for key, _, value in rows}  # without those that it includes
        if not self._follow and not self._common.is_relative_to(_real(folder)):
            if is_worktree:
                back = os.fsdecode(self._read(self._git_folder / "gitdir")).rstrip("\r\n")
            else:
                back = f"{self._settings.get('core.worktree', '.')}/.git"  # of a submodule
            if not is_file or _real(self._git_folder / back) != _real(inner):
                raise ValueError(f"its objects lie in {self._common}, which does not name this folder")

    def _place(self, path: Path) -> Path:
        """Where a file or folder of the repository really lies. Raises ValueError if it is elsewhere, and Corrupt
        or OSError if anything in it is no regular file. Without lstat, as there may be a million files."""
        real = _real(path)
        if not self._follow and not real.is_relative_to(self._common):
            raise ValueError(f"{path} leads to {real}, and other folders are not read")
        waiting = [real] if real.is_dir() else []
        if real.exists() and not waiting and not is_regular(real):
            raise irregular(real)
        for parent in waiting:
            with os.scandir(parent) as listing:
                for entry in listing:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    elif not entry.is_file(follow_symlinks=False):
                        raise irregular(Path(entry.path))
        return real

    def _read(self, path: Path) -> bytes:
        """A small file of the repository; empty without it."""
        return read_regular(self._place(path), MOST_SETTINGS) if os.path.lexists(path) else b""

    def _check_objects(self) -> None:
        """Its own folder of objects, and those that its alternates name."""
        folders = [self._place(self._common / "objects")]
        if not folders[0].is_dir():
            raise ValueError("it has no objects")
        for folder in folders:
            for line in self._read(folder / "info" / "alternates").splitlines():
                if not self._follow or line.startswith(b'"'):
                    fix = "git repack -ad copies their objects, then remove that file"
                    raise ValueError(f"its objects/info/alternates names folders that are not read ({fix})")
                other = self._place(folder / os.fsdecode(line))
                folders += [other] if line and other not in folders else []
            if len(folders) > MOST_FOLDERS:
                raise ValueError(f"it uses objects of more than {MOST_FOLDERS} folders")

    def identity(self) -> dict[str, str]:
        """Author and committer of the user's commits, as git's environment has them: from the environment, the
        repository's settings or the user's own, whose conditional includes git compares with the place of the
        repository, which it does not read."""
        user, out = os.environ.get("USER") or "metaloop", dict[str, str]()
        users = {name: value for name, value in os.environ.items() if name in IDENTITY_VARIABLES}
        place = {"GIT_DIR": str(self._git_folder), "GIT_COMMON_DIR": str(self.folder), "GIT_CONFIG_NOSYSTEM": "0"}
        for key, unknown in (("name", user), ("email", f"{user}@{platform.node()}")):
            done = run(["config", f"user.{key}"], environment={"XDG_CONFIG_HOME": "", **users, **place})
            own = done.stdout.decode(errors="replace").strip()
            for role in ("AUTHOR", "COMMITTER"):
                name = f"GIT_{role}_{key.upper()}"
                out[name] = os.environ.get(name) or self._settings.get(f"user.{key}") or own or unknown
        return out


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
