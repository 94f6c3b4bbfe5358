"""A collection once more by another encoder: its cases as they are, their images read again."""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

from medsearch_desktop import errors
from medsearch_desktop.engine import collection, manifest, views
from medsearch_desktop.engine.encoders import base

from . import build, progress

# Stands between the name of a collection and the encoder of its other embedding.
SIGN = "@"


def folder_beside(source: Path, encoder: str) -> Path:
    """Return where the embedding of a collection by another encoder lies by default."""
    plain = Path(os.path.abspath(source))
    return plain.with_name(f"{plain.name}{SIGN}{encoder}")


def write(
    source: Path,
    encoder: base.Encoder,
    options: build.Options,
    shown: progress.Progress,
    *,
    stop: threading.Event | None = None,
) -> build.Report:
    """Write the cases of the collection `source` into that of `options`, with new vectors.

    Ids, facets, texts, labels and thumbnails are those of the source. An image
    is read from its original file; where that cannot be read, its thumbnail is
    encoded instead and counted. With `resume` it goes on where it stopped, and
    takes in what the source got since. Raises CollectionError and what an
    encoder raises.
    """
    _refuse_itself(source, options.out)
    if (options.out / manifest.NAME).exists() and not options.resume:
        raise errors.CollectionError(
            f"{options.out} holds a collection already; use --resume to take in what the source "
            "got since, or name another folder with --out."
        )
    build.refuse_taken(options.out, resume=options.resume)
    with collection.open_collection(source) as opened:
        described = opened.manifest
        report = build.write(
            lambda _: opened.all_cases(),
            described.sources,
            encoder,
            dataclasses.replace(
                options,
                name=options.name or described.name,
                recipe=described.recipe,
                slices_per_volume=views.Recipe.read(described.views).slices,
            ),
            shown,
            total=described.counts.cases,
            stop=stop,
        )
        if opened.notice:
            report.notices.insert(0, opened.notice)
    return report


def _refuse_itself(source: Path, out: Path) -> None:
    inside, around = os.path.realpath(out), os.path.realpath(source)
    if inside == around or inside.startswith(around + os.sep):
        raise errors.CollectionError(
            f"{out} is the collection itself, or lies in it; choose a folder of its own with --out."
        )
