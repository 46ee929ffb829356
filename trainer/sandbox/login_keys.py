"""Recognises files with login keys by their names, so that a sandbox never shows them.

Paths named by the user, a task or an agent's installation are searched; the system's software and the interpreter's
packages are not. Because a certificate is not a key, the content of PEM files is checked.
"""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from programs.common.text import word_list

#: Folders whose files all count as keys.
FOLDERS = word_list(""".ssh .aws .gnupg .azure .config .docker .kube .claude .codex .gcloud .mozilla .thunderbird
    .password-store keyrings keychains""")
_NAMES = word_list("""token token.json *.token *_token stored_tokens *access_token* *refresh_token* credential*
    *.credentials *-credentials* *_credentials* client_secret* service*account*.json secret secrets secret.* secrets.*
    auth.json kaggle.json api_key* apikey* *.apikey .netrc _netrc .env .env.* .npmrc .pypirc .pgpass .git-credentials
    .htpasswd pip.conf id_rsa* id_dsa* id_ecdsa* id_ed25519* *.key *.ppk *.p12 *.pfx *.jks *.keystore *.kdbx *.gpg
    cookies cookies.*""")
_NAMED = re.compile("|".join(map(fnmatch.translate, _NAMES)))
_PEM = (".pem", ".crt", ".cer")
#: Source files can have such names too: `botocore/credentials.py`.
_CODE = word_list(""".py .pyc .pyi .pyx .so .c .h .cc .cpp .hpp .rs .go .js .mjs .cjs .ts .mts .cts .jsx .tsx .map .md
    .rst .html .css .svg .png .java .rb .wasm .pub""")
#: Folders of the user's cache that many programs share, with logins beside the data. Models and data sets are deeper.
SHARED_CACHES = word_list("""huggingface torch pip uv kaggle wandb modelscope keras nltk tensorflow matplotlib conda
    mamba poetry pypoetry npm yarn pnpm node go-build bazel pre-commit mozilla chromium google-chrome microsoft-edge
    brave opera vscode jetbrains claude claude-cli-nodejs codex opencode aider gh git github-copilot gcloud aws azure
    docker containers restic rclone evolution thunderbird keyring fontconfig mesa_shader_cache tracker3
    ms-playwright""")
_DEEP = 3  # parts below the cache: huggingface/hub/models--ORG--NAME
_PEM_BYTES = 1 << 20
_FRESH_SECONDS = 60.0  # for which a search is cached, since a command's experiments follow one another
_searched: dict[str, tuple[float, tuple[str, ...]]] = {}


def is_key(name: str, data: bytes | None = None) -> bool:
    """Whether a file of that name may contain a key. ``data``: the beginning of its content, if known."""
    lower = os.path.basename(name).lower()
    if lower.endswith(_PEM):
        return data is None or b"PRIVATE KEY" in data
    return not lower.endswith(_CODE) and _NAMED.match(lower) is not None


def holds_key(path: Path, name: str = "") -> bool:
    """Whether to hide an existing file; ``name``: of a link to it."""
    if not is_key(name or path.name):
        return False
    with suppress(OSError):
        if (name or path.name).lower().endswith(_PEM) and path.is_file():
            with path.open("rb") as file:
                return is_key(name or path.name, file.read(_PEM_BYTES))
    return True


def in_folder(root: Path) -> tuple[str, ...]:
    """Files with keys and folders of keys below a folder, as relative paths. For a link the target is listed, if it is
    in the folder."""
    known = _searched.get(str(root))
    if known is None or known[0] < time.monotonic():
        known = time.monotonic() + _FRESH_SECONDS, tuple(sorted(set(_search(root))))
        _searched[str(root)] = known
    return known[1]


def _search(root: Path) -> Iterator[str]:
    real, waiting, uid = os.path.realpath(root), [""], None
    with suppress(ImportError):
        from trainer.sandbox.bwrap import dropped_uid  # for Linux alone

        uid = dropped_uid()
    while waiting:
        inner = waiting.pop()
        with suppress(OSError), os.scandir(os.path.join(real, inner)) as listing:
            for entry in listing:
                name = f"{inner}/{entry.name}" if inner else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if entry.name.lower() in FOLDERS:
                        yield name
                    elif uid is None or entry.stat(follow_symlinks=False).st_mode & 0o001:  # else inaccessible inside
                        waiting.append(name)
                elif entry.is_symlink() and is_key(entry.name):
                    target = os.path.realpath(entry.path)
                    if target.startswith(f"{real}/") and os.path.isfile(target) and holds_key(Path(target), entry.name):
                        yield os.path.relpath(target, real)
                elif is_key(entry.name) and holds_key(Path(entry.path)):
                    yield name


def refusal(path: Path) -> str:
    """Why a path that a task names may not be shown, or an empty string. Links are resolved too."""
    if ".." in path.parts:
        return "contains .."
    for form in (path, path.resolve()):
        if any(part.lower() in FOLDERS for part in form.parts) or is_key(form.name):
            return "may contain keys and is not shown"
        for cache in _caches():
            inner = form.relative_to(cache).parts if form.is_relative_to(cache) else None
            if inner is not None and (not inner or (inner[0].lower() in SHARED_CACHES and len(inner) < _DEEP)):
                return (
                    "is a cache that programs share, with their logins; name the folder of the model or the data in it"
                )
    return ""


def _caches() -> set[Path]:
    """The cache folders of this user."""
    named = [Path("~/.cache").expanduser(), *map(Path, filter(None, [os.environ.get("XDG_CACHE_HOME")]))]
    return {path for cache in named for path in (cache, cache.resolve())}
