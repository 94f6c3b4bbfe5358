"""What is inside a collection and an installation: stats, verify, encoders, check."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import platform
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import medsearch_desktop
from medsearch_desktop import cases, settings
from medsearch_desktop.engine import collection
from medsearch_desktop.engine.encoders import base

from . import build

_LIBRARIES = (
    ("numpy", "pydicom", "nibabel", "pillow", "imagecodecs", "faiss-cpu", "tantivy")
    + ("onnxruntime", "tokenizers", "safetensors", "torch", "open_clip_torch")
    + ("sqlite-utils", "rank-bm25", "PySide6-Essentials", "vtk")
)
_OUR_NAMES = ("medsearch_desktop", "indexer")
_DISTRIBUTION = "medsearch-desktop"
_MOST_VALUES = 50


def stats(folder: Path) -> dict[str, Any]:
    """Return what a collection holds: counts, facets, encoder, sources, size on disk."""
    with collection.open_collection(folder) as opened:
        described, notice = opened.manifest, opened.notice
        counted = opened.facet_counts(opened.all_places())
        facets = {name: dict(c.most_common(_MOST_VALUES)) for name, c in counted.items() if c}
    counts, card = described.counts, described.encoder
    return {
        "path": str(folder.absolute()),
        "name": described.name,
        "notices": [notice] if notice else [],
        "generation": described.generation,
        "created": described.created,
        "tool": described.tool,
        "counts": {
            "cases": counts.cases,
            "images": counts.images,
            "vectors": counts.vectors,
            "dead": counts.dead,
            "segments": len(described.segments),
            "skipped": _skipped(folder),
        },
        "encoder": {
            "name": card.name,
            "digest": card.digest,
            "dimension": card.dimension,
            "licence": card.licence,
            "limits": card.limits,
        },
        "views": described.views,
        "sources": list(described.sources),
        "bytes": sum(entry.size for entry in described.files()),
        "facets": facets,
    }


def cases_of(folder: Path) -> list[cases.Case]:
    """Return every case of a collection that is small enough to be held whole."""
    with collection.open_collection(folder) as opened:
        return list(opened.all_cases())


def stats_lines(report: dict[str, Any]) -> list[str]:
    """Return `stats` for a person to read."""
    counts, encoder = report["counts"], report["encoder"]
    told = [
        *report["notices"],
        f"{report['name']}: {counts['cases']:,} cases, {counts['images']:,} images, "
        f"{counts['vectors']:,} vectors in {counts['segments']} segments, "
        f"{report['bytes'] / 1e6:,.1f} MB.",
        f"Encoder {encoder['name']}, {encoder['dimension']} numbers. {encoder['limits']}".rstrip(),
        f"Written {report['created']} by {report['tool']}, generation {report['generation']}.",
    ]
    for name, values in report["facets"].items():
        told.append(f"{name}: " + ", ".join(f"{v} {n:,}" for v, n in list(values.items())[:12]))
    if counts["skipped"]:
        told.append(f"{counts['skipped']:,} inputs were skipped; see {build.SKIPPED}.")
    return told


def verify(folder: Path) -> dict[str, Any]:
    """Check every checksum and count of a collection; `problems` holds a sentence for each."""
    problems = collection.verify(folder)
    return {"path": str(folder.absolute()), "ok": not problems, "problems": problems}


def repair(folder: Path) -> dict[str, Any]:
    """Go back to the newest state of a collection that is sound, and say what is lost by it."""
    done = collection.repair(folder)
    return {
        "path": str(folder.absolute()),
        "repaired": bool(done.problem),
        "problem": done.problem,
        "generation": done.generation,
        "cases": done.cases,
        "lost": done.lost,
    }


def repair_lines(report: dict[str, Any]) -> list[str]:
    """Return `repair` for a person to read."""
    if not report["repaired"]:
        return [f"{report['path']} is whole: nothing was done."]
    lost = "how many cases are lost cannot be said"
    if report["lost"] is not None:
        lost = f"{report['lost']:,} cases that were added after it are lost; add them again"
    return [
        f"{report['path']} was damaged: {report['problem']}.",
        f"Generation {report['generation']} with {report['cases']:,} cases is the current one "
        f"again; {lost}.",
    ]


def encoders(models: Path) -> dict[str, Any]:
    """Return every encoder that is installed, or why one cannot be used."""
    found = base.installed(models)
    return {"encoders": [_encoder(one) for one in found]}


def check_encoder(encoder: base.Encoder) -> dict[str, Any]:
    """Let an encoder encode a picture and a text, and say what came of it; raises EncoderError."""
    import numpy as np

    card = encoder.card
    ran: dict[str, bool] = {}
    if "images" in card.abilities:
        vectors = encoder.encode_images(np.full((1, 64, 64, 3), 128, np.uint8))
        ran["images"] = _is_unit(vectors, card.dimension)
    if "texts" in card.abilities:
        ran["texts"] = _is_unit(encoder.encode_texts(["normal chest radiograph"]), card.dimension)
    return _encoder(card) | {"ran": ran, "ok": bool(ran) and all(ran.values())}


def _is_unit(vectors: Any, dimension: int) -> bool:
    length = float((vectors[0] ** 2).sum()) if vectors.shape == (1, dimension) else 0.0
    return abs(length - 1) < 1e-3


def _encoder(one: base.EncoderCard | base.Problem) -> dict[str, Any]:
    if isinstance(one, base.Problem):
        return {"name": one.name, "ok": False, "reason": one.reason}
    return {
        "name": one.name,
        "ok": True,
        "kind": one.kind,
        "digest": one.digest,
        "dimension": one.dimension,
        "abilities": list(one.abilities),
        "modalities": list(one.modalities),
        "device": one.device,
        "licence": one.licence,
        "source": one.source,
        "limits": one.limits,
    }


def encoder_line(one: dict[str, Any]) -> str:
    """Return one encoder for a person to read."""
    if "reason" in one:
        return f"{one['name']}: cannot be used. {one['reason']}"
    able = " and ".join(one["abilities"])
    return f"{one['name']}: {able}, {one['dimension']} numbers, on {one['device']}. {one['limits']}"


def check(folders: settings.Folders) -> dict[str, Any]:
    """Return versions, devices, folders, encoders and who else claims our packages' names."""
    owners = foreign_owners()
    places = {name: _place(getattr(folders, name)) for name in ("home", "collections", "models")}
    problems = [
        f"The folder {place['path']} cannot be written."
        for place in places.values()
        if not place["writable"]
    ]
    problems += [
        f"The package name {name} is also claimed by {', '.join(others)}; uninstall one of them."
        for name, others in owners.items()
    ]
    return {
        "version": medsearch_desktop.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "sqlite": sqlite3.sqlite_version,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "devices": devices(),
        "cpus": os.cpu_count(),
        "folders": places,
        "encoders": base.names(folders.models),
        "other_owners": owners,
        "problems": problems,
        "ok": not problems,
    }


def check_lines(report: dict[str, Any]) -> list[str]:
    """Return `check` for a person to read."""
    libraries = report["libraries"].items()
    return [
        f"MedSearch Desktop {report['version']}, Python {report['python']}, {report['platform']}",
        "Libraries: " + ", ".join(f"{name} {version or 'missing'}" for name, version in libraries),
        f"Devices: {', '.join(report['devices'])}",
        *(
            f"{name}: {place['path']} ({place['free_gb']} GB free)"
            for name, place in report["folders"].items()
        ),
        f"Encoders: {', '.join(report['encoders'])}",
        *report["problems"],
        "All is well." if report["ok"] else "See the problems above.",
    ]


def foreign_owners() -> dict[str, list[str]]:
    """Return, for each of our package names, the other installed distributions that claim it."""
    claimed = importlib.metadata.packages_distributions()
    found = {name: sorted(set(claimed.get(name, ())) - {_DISTRIBUTION}) for name in _OUR_NAMES}
    return {name: others for name, others in found.items() if others}


def devices() -> list[str]:
    """Return the devices that encoders can run on; torch is asked about GPUs where installed."""
    found = [f"CPU ({platform.machine()}, {os.cpu_count()} cores)"]
    try:
        import torch
    except ImportError:
        return found
    for number in range(torch.cuda.device_count()):
        found.append(f"cuda:{number} ({torch.cuda.get_device_name(number)})")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _place(path: Path) -> dict[str, Any]:
    standing = next(p for p in (path, *path.parents) if p.exists())
    return {
        "path": str(path),
        "exists": path.exists(),
        "writable": os.access(standing, os.W_OK),
        "free_gb": round(shutil.disk_usage(standing).free / 1e9, 1),
    }


def _skipped(folder: Path) -> int:
    try:
        with (folder / build.SKIPPED).open(encoding="utf-8", newline="") as file:
            return max(0, sum(1 for _ in csv.reader(file)) - 1)
    except OSError:
        return 0
