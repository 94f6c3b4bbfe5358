"""Typed settings from one TOML file; the folders of the machine; resource(name)."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

APPLICATION = "MedSearch Desktop"


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
    """Where this user's data lies. `make` creates the folders for the user alone (0700)."""

    home: Path
    collections: Path
    models: Path
    logs: Path
    plugins: Path
    scratch: Path
    shelf: Path
    settings: Path

    def make(self) -> Folders:
        """Create the folders that are missing and return self; OSError if they cannot be."""
        for folder in (self.home, self.collections, self.models, self.logs, self.scratch):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


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
        shelf=base / "shelf.db",
        settings=base / "settings.toml",
    )


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

    A missing file gives the defaults. A file that is no TOML is ignored whole.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Settings(), ()
    except (OSError, UnicodeDecodeError) as error:
        return Settings(), (f"settings.toml is ignored: {error}",)
    import tomllib  # only where there is a file to read

    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Settings(), (f"settings.toml is ignored: {error}",)
    notices: list[str] = []
    sections: dict[str, Any] = {}
    for section in dataclasses.fields(Settings):
        given = plain.pop(section.name, {})
        default = getattr(Settings(), section.name)
        if isinstance(given, dict):
            sections[section.name] = _section(section.name, default, given, notices)
        else:
            notices.append(f"settings.toml: [{section.name}] is not a table and is ignored.")
    notices += [f"settings.toml: [{name}] is not known and is ignored." for name in plain]
    return Settings(**sections), tuple(notices)


def _section(name: str, default: Any, given: dict[str, Any], notices: list[str]) -> Any:
    accepted: dict[str, Any] = {}
    for key, value in given.items():
        full = f"{name}.{key}"
        if not hasattr(default, key):
            notices.append(f"settings.toml: {full} is not known and is ignored.")
            continue
        wanted = type(getattr(default, key))
        if wanted is float and type(value) is int:
            value = float(value)
        low, high = _RANGES.get(full, (None, None))
        if type(value) is not wanted or (low is not None and not low <= value <= high):
            notices.append(f"settings.toml: {full} = {value!r} is not allowed and is ignored.")
            continue
        accepted[key] = value
    return dataclasses.replace(default, **accepted)
