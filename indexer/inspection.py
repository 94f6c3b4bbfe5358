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
from medsearch_desktop import cases, errors, settings
from medsearch_desktop.engine import collection, manifest
from medsearch_desktop.engine.encoders import base

from . import build, encoders

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
        spread = build.effective_dimension(opened)
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
            "pooled": counts.pooled,
            "joined": counts.joined,
            "dead": counts.dead,
            "segments": len(described.segments),
            "skipped": _skipped(folder),
        },
        "encoder": {
            "name": card.name,
            "kind": card.kind,
            "digest": card.digest,
            "dimension": card.dimension,
            "precision": card.precision,
            "runtime": card.runtime,
            "licence": card.licence,
            "limits": card.limits,
        },
        "views": described.views,
        "pooling": described.pooling,
        "tag_weight": described.tag_weight,
        "effective_dimension": spread,
        "sources": list(described.sources),
        "bytes": sum(entry.size for entry in described.files()),
        "facets": facets,
    }


def outdated(folder: Path, models: Path) -> list[str]:
    """Return why a collection cannot be asked by pictures: its encoder is another now. Or []."""
    built_with = manifest.read(folder).encoder
    try:
        loaded = base.find(built_with.name, models=models, device="cpu")
        base.check_fits(built_with, loaded.card)
    except (errors.EncoderError, errors.EncoderMismatchError) as error:
        return [f"{errors.with_stop(str(error))} Until {folder} is built again, words find only."]
    return []


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
        f"Encoder {encoder['name']}, {encoder['dimension']} numbers{_precision(encoder)}. "
        f"{encoder['limits']}".rstrip(),
        _vectors_line(report),
        f"Written {report['created']} by {report['tool']}, generation {report['generation']}.",
    ]
    for name, values in report["facets"].items():
        told.append(f"{name}: " + ", ".join(f"{v} {n:,}" for v, n in list(values.items())[:12]))
    if counts["skipped"]:
        told.append(f"{counts['skipped']:,} inputs were skipped; see {build.SKIPPED}.")
    return told


def _precision(encoder: dict[str, Any]) -> str:
    return f", {encoder['precision']}" if encoder["precision"] else ""


def _vectors_line(report: dict[str, Any]) -> str:
    counts, spread = report["counts"], report["effective_dimension"]
    parts = [f"Pictures of volumes: {report['views']}"]
    if spread is not None:
        parts.append(f"effective dimension {spread:g} of {report['encoder']['dimension']}")
    if counts["pooled"]:
        parts.append(f"{counts['pooled']:,} pooled vectors of cases with several images")
    if counts["joined"]:
        weight = report["tag_weight"]
        parts.append(f"{counts['joined']:,} vectors joined with tags (weight {weight:g})")
    return "; ".join(parts) + "."


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


def check(folders: settings.Folders, device: str = "auto") -> dict[str, Any]:
    """Return versions, devices, folders, encoders and who else claims our packages' names.

    Each encoder is loaded, to say on which device and in which precision it would run.
    """
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
    running = encoders.listed(folders.models, device)["encoders"]
    problems += [encoders.line(one) for one in running if not one["ok"]]
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
        "encoders": [one["name"] for one in running],
        "running": running,
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
        *(f"Encoder {encoders.line(one)}" for one in report["running"] if one["ok"]),
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
