"""Typed settings from one TOML file; the folders of the machine; resource(name)."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from medsearch_desktop import locks

APPLICATION = "MedSearch Desktop"

# The variables by which Python, Qt and native libraries find the temporary folder.
_TEMPORARY = ("TMPDIR", "TEMP", "TMP")
# A temporary folder in the system's place: how its name begins, and its lock, which lies in it.
_PASSING, _PASSING_LOCK = "medsearch-", "medsearch.lock"
# What a person writes into a settings file, or Qt into one, is far below this.
_LARGEST_BYTES = 1 << 20
_MOST_NOTICES = 8


def private() -> None:
    """Let this process and its children write for this user alone, and never dump their memory.

    The first thing that each program does. Memory holds pixels and names:
    neither a core file nor a report of the system may keep it.
    """
    os.umask(0o077)
    if sys.platform == "win32":
        import ctypes

        with contextlib.suppress(AttributeError, OSError):
            # SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SEM_NOOPENFILEERRORBOX
            ctypes.windll.kernel32.SetErrorMode(0x0001 | 0x0002 | 0x8000)
        return
    import resource

    # Linux hands a dump to a program of the system even at a limit of 0; at 1 byte it writes
    # none and hands over none (fs/coredump.c).
    most = 1 if sys.platform == "linux" else 0
    for limit in (most, 0):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))
            return


def offline() -> None:
    """Keep every library that might ask a hub or send telemetry from doing so.

    Called first by each program and each child process, before any import
    that reads these variables. Children do not import from the current
    folder either: it may be the one with the user's files.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_HUB_DISABLE_TELEMETRY",
        "DO_NOT_TRACK",
        # Without it onnxruntime looks up its maker's host and keeps a device id in a cache.
        "ORT_DISABLE_TELEMETRY",
    ):
        os.environ[name] = "1"


@dataclass(frozen=True)
class Folders:
    """Where this user's data lies, and what of it is ours when the folder holds other things."""

    home: Path
    collections: Path
    models: Path
    logs: Path
    plugins: Path
    scratch: Path
    temp: Path
    shelf: Path
    settings: Path

    def make(self) -> Folders:
        """Create the folders that are missing, for the user alone (0700), and return self.

        Raises OSError when they cannot be made, or nothing can be written there.
        """
        inside = (self.collections, self.models, self.logs, self.scratch, self.temp)
        for folder in (self.home, *inside):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only writing tells: a full disk and a network share both say they are writable.
        probe = self.home / f".probe-{os.getpid()}"
        try:
            handle = os.open(probe, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.write(handle, b"1")
            finally:
                os.close(handle)
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)
        return self

    @property
    def hold_data(self) -> bool:
        """Say whether there is something to read, where nothing can be written."""
        try:
            has_collections = any(entry.is_dir() for entry in self.collections.iterdir())
        except OSError:
            has_collections = False
        return has_collections or self.shelf.is_file()

    def narrow(self) -> None:
        """Take from others what they may do with our files (those of an older version, say).

        Links are not followed, and what is not ours in the folder stays as it is.
        """
        if os.name != "posix":
            return
        ours = ("collections", "models", "logs", "plugins", "scratch", "temp", "backups", "demo")
        files = ("shelf*", "settings.toml", "window.*", "log-salt", ".probe-*")
        found = [self.home / name for name in ours]
        found += [path for pattern in files for path in self.home.glob(pattern)]
        with contextlib.suppress(OSError):
            if {entry.name for entry in self.home.iterdir()} <= {path.name for path in found}:
                _narrow(self.home)
        for path in found:
            if path.is_symlink():
                continue
            _narrow(path)
            for folder, folders_inside, names in os.walk(path):
                for name in (*folders_inside, *names):
                    _narrow(Path(folder, name))


def _narrow(path: Path) -> None:
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or found.st_uid != os.getuid():
            return
        if found.st_mode & 0o077:
            path.chmod(stat.S_IMODE(found.st_mode) & 0o700)


def folders(home: str | os.PathLike[str] | None = None) -> Folders:
    """Return the folders under `home`, else under MEDSEARCH_HOME, else the system's place."""
    chosen = home or os.environ.get("MEDSEARCH_HOME")
    if chosen:
        base = Path(chosen).expanduser().absolute()
    else:
        import platformdirs  # asked only where no folder is named

        base = Path(platformdirs.user_data_dir("medsearch", appauthor=False))
    return Folders(
        home=base,
        collections=base / "collections",
        models=base / "models",
        logs=base / "logs",
        plugins=base / "plugins",
        scratch=base / "scratch",
        temp=base / "temp",
        shelf=base / "shelf.db",
        settings=base / "settings.toml",
    )


@contextlib.contextmanager
def temporary(folders: Folders) -> Iterator[Path]:
    """Give this process and its children a temporary folder of their own, removed at the end.

    It lies in the data folder, or in the system's place where that cannot be
    written. Those of programs that ended without removing theirs go first.
    """
    before = {name: os.environ.get(name) for name in _TEMPORARY}
    with _own_folder(folders.temp) as folder:
        os.environ.update(dict.fromkeys(_TEMPORARY, str(folder)))
        _forget_temporary()
        try:
            yield folder
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
            _forget_temporary()


def _forget_temporary() -> None:
    # Imported already or not: it asks the variables again when it is next used.
    if (known := sys.modules.get("tempfile")) is not None:
        known.tempdir = None  # type: ignore[attr-defined]


@contextlib.contextmanager
def _own_folder(temp: Path) -> Iterator[Path]:
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    folder, lock = temp / name, None
    try:
        _sweep_passing()
        temp.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(temp)
        # The lock before the folder: one without a lock is taken for left behind.
        lock = locks.held(temp / f"{name}.lock")
        folder.mkdir(mode=0o700)
        is_passing = False
    except OSError:
        folder, lock = _passing_folder()
        is_passing = True
    try:
        yield folder
    finally:
        _remove(folder)
        if lock is not None:
            lock.close()
        if is_passing:
            _remove(folder)  # Windows keeps a file that is open
        elif lock is not None:
            with contextlib.suppress(OSError):
                (temp / f"{name}.lock").unlink(missing_ok=True)
                _sweep(temp)  # of children that were ended


def _sweep(temp: Path) -> None:
    """Remove the folders whose process is gone: nobody holds their lock any more."""
    for path in temp.glob("*.lock"):
        with contextlib.suppress(OSError):
            if (lock := locks.held(path)) is not None:
                _remove(path.with_suffix(""))
                lock.close()
                path.unlink(missing_ok=True)
    for path in temp.iterdir():
        if path.suffix != ".lock" and not path.with_name(f"{path.name}.lock").exists():
            _remove(path)


def _passing_folder() -> tuple[Path, IO[bytes] | None]:
    """Make a folder in the system's place, and take its lock; None where none are known there."""
    import tempfile

    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PASSING))
        try:
            if (lock := locks.held(folder / _PASSING_LOCK)) is not None:
                return folder, lock
        except OSError:
            if folder.is_dir():
                return folder, None
        # Another program swept the folder before the lock was taken: a new one is made.


def _sweep_passing() -> None:
    """Remove folders of ours in the system's place whose process is gone; others' are let be."""
    place = next((value for name in _TEMPORARY if (value := os.environ.get(name))), "/tmp")
    with contextlib.suppress(OSError):
        for path in Path(place).glob(f"{_PASSING}*"):
            with contextlib.suppress(OSError):
                if not _is_passing(path) or (lock := locks.held(path / _PASSING_LOCK)) is None:
                    continue
                _remove(path)
                lock.close()
                _remove(path)


def _is_passing(path: Path) -> bool:
    """Say whether a folder in the system's place, where all may write, is one that we made."""
    found, lock = path.lstat(), (path / _PASSING_LOCK).lstat()
    if not stat.S_ISDIR(found.st_mode) or not stat.S_ISREG(lock.st_mode):
        return False
    return os.name != "posix" or (
        found.st_uid == lock.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) == 0o700
    )


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def resource(name: str) -> Path:
    """Return the path of a file we ship, from the installed package or the checkout.

    Raises FileNotFoundError when it lies in neither.
    """
    package = Path(__file__).parent
    for base in (package / "resources", package.parent / "resources"):
        if (path := base / name).exists():
            return path
    raise FileNotFoundError(f"resource {name} is not part of this installation")


@dataclass(frozen=True)
class SearchSettings:
    """How a search is asked when the query says nothing else."""

    limit: int = 20
    min_cosine: float = -1.0
    device: str = "auto"


@dataclass(frozen=True)
class ViewerSettings:
    """How studies are shown."""

    scale_percent: int = 100
    hide_overlays: bool = False


@dataclass(frozen=True)
class Settings:
    """All settings; defaults stand here, the file holds what differs."""

    search: SearchSettings = field(default_factory=SearchSettings)
    viewer: ViewerSettings = field(default_factory=ViewerSettings)


_RANGES: dict[str, tuple[float, float]] = {
    "search.limit": (1, 200),
    "search.min_cosine": (-1, 1),
    "viewer.scale_percent": (90, 200),
}


def load(path: Path) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings of a file and a sentence for each value that was ignored.

    A missing file gives the defaults. A file that is no TOML, no regular file
    or larger than 1 MB is ignored whole.
    """
    try:
        if path.exists() and not is_small_file(path):
            return Settings(), ("settings.toml is ignored: it is no file of at most 1 MB.",)
        found, notices = _read(path.read_text("utf-8"))
    except FileNotFoundError:
        return Settings(), ()
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        return Settings(), (f"settings.toml is ignored: {error}",)
    except RecursionError:
        return Settings(), ("settings.toml is ignored: its tables are nested too deep.",)
    if (more := len(notices) - _MOST_NOTICES) > 0:
        notices[_MOST_NOTICES:] = [f"settings.toml: {more} more values are ignored."]
    return found, tuple(notices)


def is_small_file(path: Path) -> bool:
    """Say whether a file that is kept for us can be read: a regular one of at most 1 MB.

    A pipe would be waited for, and another file of that name is none of ours.
    """
    try:
        found = path.stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= _LARGEST_BYTES


def _read(text: str) -> tuple[Settings, list[str]]:
    import tomllib  # only where there is a file to read

    plain = tomllib.loads(text)
    notices: list[str] = []
    sections: dict[str, Any] = {}
    for section in dataclasses.fields(Settings):
        given = plain.pop(section.name, {})
        default = getattr(Settings(), section.name)
        if isinstance(given, dict):
            sections[section.name] = _section(section.name, default, given, notices)
        else:
            notices.append(f"settings.toml: [{section.name}] is not a table and is ignored.")
    notices += [f"settings.toml: [{name:.80}] is not known and is ignored." for name in plain]
    return Settings(**sections), notices


def _section(name: str, default: Any, given: dict[str, Any], notices: list[str]) -> Any:
    accepted: dict[str, Any] = {}
    for key, value in given.items():
        full = f"{name}.{key}"
        if not hasattr(default, key):
            notices.append(f"settings.toml: {full:.80} is not known and is ignored.")
            continue
        wanted = type(getattr(default, key))
        if wanted is float and type(value) is int:
            value = float(value)
        low, high = _RANGES.get(full, (None, None))
        if type(value) is not wanted or (low is not None and not low <= value <= high):
            notices.append(f"settings.toml: {full} = {value!r:.80} is not allowed and is ignored.")
            continue
        accepted[key] = value
    return dataclasses.replace(default, **accepted)
