"""Editions: one collection by several encoders, side by side, and which of them is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medsearch_desktop.gui import collection_list

Info = collection_list.CollectionInfo


@dataclass(frozen=True)
class Group:
    """A collection with all its editions, the first one first; `shown` is the one searched."""

    members: tuple[Info, ...]
    shown: Info

    @property
    def path(self) -> str:
        """The folder of the first edition, by which the others are named."""
        return self.members[0].path

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoders of the editions, in their order."""
        return tuple(member.encoder for member in self.members)

    def of(self, encoder: str, digest: str = "") -> Info | None:
        """Return the edition by an encoder, with a `digest` only by just those files, or None."""
        named = (one for one in self.members if one.encoder == encoder)
        return next((one for one in named if not digest or digest == (one.digest or digest)), None)

    def folder_for(self, encoder: str, digest: str = "") -> str:
        """Return the folder of the edition by an encoder; beside one by other files of its name."""
        path = path_of(self.path, encoder)
        other = next((one for one in self.members if one.path == path), None)
        is_free = other is None or not digest or digest == (other.digest or digest)
        return path if is_free else f"{path}-{digest[:8]}"


def base_path(path: str) -> str:
    """Return the folder of the collection that a folder is, by its name, an edition of."""
    folder = Path(path)
    return str(folder.with_name(folder.name.partition(collection_list.SIGN)[0] or folder.name))


def path_of(base: str, encoder: str) -> str:
    """Return the folder of the edition of a collection by an encoder."""
    plain = encoder.replace("/", "_").replace("\\", "_")
    return base.rstrip("/\\") + collection_list.SIGN + plain


def grouped(
    known: Sequence[Info], chosen: Sequence[str] = (), defaults: Mapping[str, str] | None = None
) -> tuple[Group, ...]:
    """Return the collections in their order, each with its editions.

    Shown is the edition that is among the `chosen` paths, else the default
    (`defaults`: first path -> path), else the first, as far as it can be read.
    """
    first = {info.path for info in known}
    families: dict[str, list[Info]] = {}
    for info in known:
        base = base_path(info.path)
        families.setdefault(base if base in first else info.path, []).append(info)
    made = []
    for base, members in families.items():
        members.sort(key=lambda info: info.path != base)
        wanted = [*chosen, (defaults or {}).get(base, ""), base]
        usable = [info for info in members if not info.problem] or members
        order = {path: place for place, path in reversed(list(enumerate(wanted)))}
        shown = min(usable, key=lambda info: order.get(info.path, len(wanted)))
        made.append(Group(tuple(members), shown))
    return tuple(made)
