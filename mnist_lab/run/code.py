"""The code that a run was made with: its commit and what was changed since, as git says. No torch.

Whatever is wrong with git costs no run: what is not known is null, and why.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from mnist_lab.run.directory import read_json
from mnist_lab.settings import own
from mnist_lab.settings.groups import conf_dir
from mnist_lab.ui.errors import Refused, first_line
from mnist_lab.ui.files import read_bytes, write_bytes, write_json

RECORD, DIFF = "code.json", "code.diff"
LIMIT_S = 5.0  # for all questions together: git waits for ever on a drive that does not answer
MAX_DIFF_BYTES = 1 << 20
CODE_SUFFIXES = (".py", ".yaml")  # of files that git does not know yet

# By these git answers for another repository than the one that holds the package.
ELSEWHERE = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_EXTERNAL_DIFF"),
)
# Whatever the user's own configuration makes of a diff, or starts to watch files.
PLAIN = (
    *("core.fsmonitor=false", "core.quotePath=false"),
    *("diff.noprefix=false", "diff.mnemonicPrefix=false"),
)


class UnknownCode(Exception):
    """Why git cannot tell."""


@dataclass(frozen=True)
class Code:
    """What is known of the code.

    Attributes:
        commit: of the repository that holds the package; None where it is not known.
        dirty: whether package or conf/ differ from it, new files included; None: not known.
        why_unknown: what git said, or that there is none.
        version: of the package as installed; None on a PYTHONPATH.
        diff: what differs, as a patch.
        diff_is_cut: the patch goes on after `MAX_DIFF_BYTES`.
        own_files: code of the user's that was imported: path -> SHA-256.
    """

    commit: str | None
    dirty: bool | None
    why_unknown: str | None
    version: str | None
    diff: bytes = b""
    diff_is_cut: bool = False
    own_files: Mapping[str, str] = field(default_factory=dict)

    @property
    def diff_sha256(self) -> str | None:
        return hashlib.sha256(self.diff).hexdigest() if self.diff else None

    @property
    def git_commit(self) -> str | None:
        """As `git describe --always --dirty` has it."""
        return f"{self.commit}-dirty" if self.commit and self.dirty else self.commit

    @property
    def name(self) -> str:
        version = f"mnist_lab {self.version}, " if self.version else ""
        name = f"commit {self.commit[:12]}" if self.commit else f"{version}commit unknown"
        changes = f" with changes {self.diff_sha256[:8]}" if self.diff_sha256 else ""
        digests = " ".join(sorted(self.own_files.values()))  # wherever they lie today
        added = (
            f" and {hashlib.sha256(digests.encode()).hexdigest()[:8]} of yours" if digests else ""
        )
        return f"{name}{changes}{added}"

    def keep(self, folder: Path, *, begun: bool) -> str | None:
        """Write code.json and code.diff into the directory of a run or a sweep.

        What a first part was made with stays, as code.1.json and code.1.diff.

        Args:
            begun: the directory is older than this process.

        Returns:
            A line for the user where the first part was made with other code.
        """
        former = read_code(folder)
        if former is not None and former.name == self.name:
            return None
        number = 1
        while (folder / f"code.{number}.json").exists():
            number += 1
        for file in (RECORD, DIFF):
            if (folder / file).exists():
                (folder / file).rename(folder / file.replace(".", f".{number}.", 1))
        if self.diff:
            write_bytes(folder / DIFF, self.diff)
        write_json(folder / RECORD, self.record())
        if not begun:
            return None
        before = former.name if former else "an earlier mnist_lab, which kept no commit"
        return f"begun with {before}; going on with {self.name}."

    def record(self) -> dict[str, Any]:
        return {
            "commit": self.commit,
            "dirty": self.dirty,
            "why_unknown": self.why_unknown,
            "mnist_lab_version": self.version,
            "diff_sha256": self.diff_sha256,
            "diff_is_cut": self.diff_is_cut,
            "own_files": dict(self.own_files),
        }


def read_code(folder: Path) -> Code | None:
    """Read what `Code.keep` has written; None where there is nothing, or nothing of that kind."""
    try:
        stored = read_json(folder / RECORD)
        has_diff = (folder / DIFF).exists()
        diff = read_bytes(folder / DIFF, max_bytes=MAX_DIFF_BYTES) if has_diff else b""
    except (Refused, OSError, ValueError):
        return None
    texts = (stored.get(key) for key in ("commit", "why_unknown", "mnist_lab_version"))
    commit, why, version = (
        text if isinstance(text, str) and text.isprintable() else None for text in texts
    )
    dirty = stored.get("dirty")
    dirty = dirty if isinstance(dirty, bool) else None
    files = stored.get("own_files")
    own_files = {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {}
    return Code(commit, dirty, why, version, diff, stored.get("diff_is_cut") is True, own_files)


def own_code() -> Code:
    """The code of this process, and what of the user's it has imported by now."""
    return replace(code_of_package(), own_files=own.code_files())


@functools.cache
def code_of_package() -> Code:
    """Asked once, so the earlier the surer that it is what was loaded."""
    commit, dirty, why, diff = None, None, None, b""
    package = Path(__file__).resolve().parents[1]
    git = Git(package)
    try:
        git.repository = Path(os.fsdecode(git.ask("rev-parse", "--show-toplevel")).rstrip("\n"))
        if not git.ask("ls-files", "--", str(package)):
            raise UnknownCode(f"{git.repository} does not track {package}")
        commit = git.ask("rev-parse", "--verify", "HEAD^{commit}").decode().strip()
        plugins = package.parent / "hydra_plugins"
        diff = git.diff([path for path in (package, plugins, conf_dir()) if path.is_dir()])
        dirty = bool(diff)
    except UnknownCode as error:
        why = str(error)
    return Code(
        commit,
        dirty,
        why,
        installed_version("mnist_lab"),
        diff[:MAX_DIFF_BYTES],
        len(diff) > MAX_DIFF_BYTES,
    )


def installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class Git:
    """Questions to git about the repository around a folder, all of them within `LIMIT_S`."""

    def __init__(self, folder: Path) -> None:
        self.repository = folder
        self.end = time.monotonic() + LIMIT_S
        kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        self.environment = {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}

    def ask(self, *arguments: str, good: Sequence[int] = (0,), most: int = 1 << 24) -> bytes:
        """What git prints, `most` bytes of it.

        Raises:
            UnknownCode: there is no git, or it fails, or takes too long.
        """
        settings = [word for setting in PLAIN for word in ("-c", setting)]
        command = ["git", *settings, "-C", str(self.repository), *arguments]
        try:
            # Files, not pipes: what git has started may hold a pipe open after its end.
            with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
                code = self.run(command, output.fileno(), errors.fileno())
                output.seek(0)
                errors.seek(0)
                if code not in good:
                    said = errors.read(1000).decode(errors="replace").strip()
                    raise UnknownCode(said.splitlines()[0] if said else f"git ended with {code}")
                return output.read(most)
        except subprocess.TimeoutExpired:
            raise UnknownCode(f"git did not answer within {LIMIT_S:g} s") from None
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == "git":
                raise UnknownCode("no git on PATH") from None
            raise UnknownCode(f"git: {error.strerror or first_line(error)}") from None

    def run(self, command: Sequence[str], output: int, errors: int) -> int:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=self.environment,
            start_new_session=True,
        )
        try:
            return process.wait(max(0.0, self.end - time.monotonic()))
        finally:
            if process.poll() is None:  # also after a signal of our own
                os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1.0)

    def diff(self, folders: Sequence[Path]) -> bytes:
        """What differs from the last commit in these folders, and a byte more than is kept."""
        among = ["--", *map(str, folders)]
        plain = ("--no-ext-diff", "--no-textconv", "--no-color")
        patch = self.ask("diff", *plain, "HEAD", *among, most=MAX_DIFF_BYTES + 1)
        others = self.ask("ls-files", "--others", "--exclude-standard", "-z", *among)
        for name in filter(None, os.fsdecode(others).split("\0")):
            room = MAX_DIFF_BYTES + 1 - len(patch)
            if room and name.endswith(CODE_SUFFIXES):
                new = ("diff", *plain, "--no-index", "--", os.devnull, name)
                patch += self.ask(*new, good=(0, 1), most=room)
        return patch
