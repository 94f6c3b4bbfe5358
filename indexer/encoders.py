"""Encoders as the command line tells of them: listed, checked, imported, removed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from medsearch_desktop import errors, settings
from medsearch_desktop.engine import manifest
from medsearch_desktop.engine.encoders import base

from . import models


def listed(folder: Path, device: str = "auto") -> dict[str, Any]:
    """Return every encoder that is installed as it would run here, or why one cannot be used."""
    return {"encoders": [_plain(one) for one in base.installed(folder, device=device)]}


def checked(found: models.Checked) -> dict[str, Any]:
    """Return what came of a check: what was encoded, and how near it is to what was stored."""
    return _plain(found.card) | {
        "ok": found.ok,
        "ran": dict.fromkeys(found.card.abilities, True),
        "reference": {"images": found.picture, "texts": found.text},
        "notices": list(found.notices),
        "sentences": [found.sentence],
    }


def imported(made: models.Imported) -> dict[str, Any]:
    """Return what was brought in, and how it was made faster for a CPU."""
    verdict = made.verdict
    return _plain(made.card) | {
        "conversion": None if verdict is None else dataclasses.asdict(verdict),
        "notices": list(made.notices),
        "sentences": [
            *([] if verdict is None else [verdict.sentence]),
            f"It lies in the data folder now: build with --encoder {made.card.name}.",
        ],
    }


def removed(name: str, folders: settings.Folders) -> dict[str, Any]:
    """Remove a model; `needed_by` are the collections of the data folder that were built with it.

    Raises EncoderError for one that is built in or not there.
    """
    needed = _needed_by(name, folders.collections)
    models.remove(name, folders.models)
    return {"name": name, "removed": True, "needed_by": needed}


def removed_lines(report: dict[str, Any]) -> list[str]:
    """Return `encoders remove` for a person to read."""
    told = [f"{report['name']} is removed from the data folder."]
    if report["needed_by"]:
        told.append(
            "These collections were built with it and are searched by words only until it is "
            f"imported again: {', '.join(report['needed_by'])}."
        )
    return told


def _needed_by(name: str, collections: Path) -> list[str]:
    """Return the paths of the collections in a folder that name an encoder."""
    found = []
    for path in sorted(collections.glob(f"*/{manifest.NAME}")):
        try:
            card = manifest.read(path.parent).encoder
        except errors.CollectionError:
            continue
        if card.name == name:
            found.append(str(path.parent))
    return found


def _plain(one: base.EncoderCard | base.Problem) -> dict[str, Any]:
    if isinstance(one, base.Problem):
        return {"name": one.name, "ok": False, "reason": one.reason}
    return {
        "name": one.name,
        "ok": True,
        "built_in": one.name in base.BUILT_IN,
        "kind": one.kind,
        "digest": one.digest,
        "dimension": one.dimension,
        "abilities": list(one.abilities),
        "modalities": list(one.modalities),
        "device": one.device,
        "precision": one.precision,
        "runtime": one.runtime,
        "licence": one.licence,
        "source": one.source,
        "limits": one.limits,
    }


def line(one: dict[str, Any]) -> str:
    """Return one encoder for a person to read."""
    if "reason" in one:
        return f"{one['name']}: cannot be used. {one['reason']}"
    able = " and ".join(one["abilities"])
    runs = ", ".join(filter(None, (one["device"], one["precision"], one["runtime"])))
    licence = f" Licence: {one['licence'] or 'not known'}."
    words = f"{one['name']}: {able}, {one['dimension']} numbers; {runs}.{licence} {one['limits']}"
    return words.rstrip()
