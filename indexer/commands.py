"""The commands: what each does, and what it reports."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import cases, errors, settings
from medsearch_desktop.engine import manifest
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

from . import arguments, build, inputs, inspection, progress, search, sources, tables
from . import models as model_folders

DONE, FAILED, USAGE, SKIPPED, DAMAGED, INTERRUPTED = 0, 1, 2, 3, 4, 130
# How many skipped inputs are named on the screen; skipped.csv has them all.
_SKIPS_TOLD = 10


@dataclass(frozen=True)
class Outcome:
    """What a command leaves: its exit status, its JSON, and lines for a person."""

    status: int
    report: dict[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True)
class Setting:
    """What every command is given beside its own words."""

    folders: settings.Folders
    shown: progress.Progress


def run(given: argparse.Namespace, setting: Setting) -> Outcome:
    """Do what the parsed words ask for; raises MedsearchError."""
    if given.command == "encoders":
        return _encoders(given, setting)
    return {
        "demo": _demo,
        "build": _build,
        "add": _add,
        "search": _search,
        "stats": _stats,
        "verify": _verify,
        "repair": _repair,
        "check": _check,
        "train": _train,
    }[given.command](given, setting)


def _build(given: argparse.Namespace, setting: Setting) -> Outcome:
    wanted = _inputs(given)
    if given.dry_run:
        return _dry_run(given, wanted)
    build.refuse_taken(given.out, resume=given.resume)
    total = inputs.count(wanted)
    encoder = base.find(given.encoder, models=setting.folders.models, device=_device(given))
    return _written(given, given.out, wanted, total, encoder, setting)


def _add(given: argparse.Namespace, setting: Setting) -> Outcome:
    wanted = _inputs(given)
    card = manifest.read(given.collection).encoder
    total = inputs.count(wanted)
    name = given.encoder or card.name
    encoder = base.find(name, models=setting.folders.models, device=_device(given))
    return _written(given, given.collection, wanted, total, encoder, setting)


def _written(
    given: argparse.Namespace,
    out: Path,
    wanted: inputs.Inputs,
    total: int | None,
    encoder: base.Encoder,
    setting: Setting,
) -> Outcome:
    options = build.Options(
        out=out,
        name=getattr(given, "name", ""),
        workers=given.workers,
        batch_size=given.batch_size,
        slices_per_volume=given.slices_per_volume,
        limit=given.limit,
        resume=given.resume,
        recipe=_recipe(given, wanted),
    )
    if total is not None and given.limit is not None:
        total = min(total, given.limit)
    named = [f"{path.parent.name}/{path.name}".lstrip("/") for path in wanted.paths]
    with _interruptible() as stop:
        report = build.write(
            build.reader(wanted), named, encoder, options, setting.shown, total=total, stop=stop
        )
    setting.shown.end("", report.added, skipped=len(report.skipped))
    report.notices += search.device_notices(_device(given), encoder.card)
    return _outcome(report)


def _recipe(given: argparse.Namespace, wanted: inputs.Inputs) -> manifest.Recipe:
    part = manifest.Part(
        tuple(str(path.absolute()) for path in wanted.paths),
        given.input_format,
        given.columns,
        given.limit,
        given.slices_per_volume,
    )
    return manifest.Recipe((part,))


def _outcome(report: build.Report) -> Outcome:
    told = [
        f"{report.name or report.out}: {report.added:,} cases with {report.images:,} images added "
        f"in {report.took_s:.1f} s; {report.cases:,} cases in all. Encoder {report.encoder}."
    ]
    told += report.notices
    if report.resumed:
        told.append(f"{report.resumed:,} cases were there from the interrupted build.")
    status = DONE
    if report.interrupted:
        told = [
            f"Interrupted after {report.added + report.resumed:,} cases, which are kept. Run the "
            "same command with --resume to go on."
        ]
        status = INTERRUPTED
    elif report.skipped:
        status = SKIPPED
    if report.skipped:
        told.append(f"{len(report.skipped):,} inputs were skipped; skipped.csv lists them:")
        told += [f"  {one.path}: {one.reason}" for one in report.skipped[:_SKIPS_TOLD]]
    return Outcome(status, asdict(report), told)


def _dry_run(given: argparse.Namespace, wanted: inputs.Inputs) -> Outcome:
    count = skipped = images = 0
    with _readers(given.workers) as readers:
        reading = sources.Reading(readers, given.slices_per_volume)
        for number, found in enumerate(inputs.read(wanted, reading)):
            if number == given.limit:
                break
            if isinstance(found, cases.Case):
                count += 1
                images += len(found.images)
            else:
                skipped += 1
    report = {"cases": count, "images": images, "skipped": skipped, "dry_run": True}
    told = f"{count:,} cases with {images:,} images; {skipped:,} inputs would be skipped."
    return Outcome(SKIPPED if skipped else DONE, report, [told])


def _demo(given: argparse.Namespace, setting: Setting) -> Outcome:
    from . import demo

    folders = setting.folders.make()
    out = given.out or demo.collection_folder(folders)
    report: dict[str, Any] = {"built": False}
    if not (out / manifest.NAME).exists():
        build.refuse_taken(out, resume=True)
        encoder = base.find("compact", models=folders.models)
        files = demo.files_folder(folders)
        with _interruptible() as stop:
            written = build.write(
                lambda reading: demo.sources(files, reading.readers),
                [demo.NAME],
                encoder,
                build.Options(out=out, name=demo.NAME, resume=True),
                setting.shown,
                total=demo.count(),
                stop=stop,
            )
        if written.interrupted:
            return _outcome(written)
        setting.shown.end("", written.added, skipped=len(written.skipped))
        report = {"built": True, "took_s": written.took_s, "skipped": len(written.skipped)}
    report |= inspection.stats(out)
    report["description"] = demo.describe(inspection.cases_of(out))
    report["sample_queries"] = list(demo.SAMPLE_QUERIES)
    told = [
        *report["description"],
        *inspection.stats_lines(report)[:2],
        f"It lies in {out}. Ask it, for instance, for: {'; '.join(demo.SAMPLE_QUERIES)}.",
    ]
    return Outcome(DONE, report, told)


def _search(given: argparse.Namespace, setting: Setting) -> Outcome:
    asked = search.query(
        given.collections,
        given.terms,
        given.filters,
        limit=given.top,
        against=given.against,
        mix=given.mix,
        min_cosine=given.min_cosine,
        min_strength=given.min_strength,
        exact=given.exact,
    )
    found = search.ask(asked, setting.folders, _device(given), setting.shown)
    return Outcome(DONE, search.to_json(asked, found), search.lines(asked, found))


def _stats(given: argparse.Namespace, setting: Setting) -> Outcome:
    report = inspection.stats(given.collection)
    return Outcome(DONE, report, inspection.stats_lines(report))


def _verify(given: argparse.Namespace, setting: Setting) -> Outcome:
    report = inspection.verify(given.collection)
    if report["ok"]:
        return Outcome(DONE, report, [f"{report['path']} is whole."])
    return Outcome(DAMAGED, report, [f"{report['path']} is damaged:", *report["problems"]])


def _repair(given: argparse.Namespace, setting: Setting) -> Outcome:
    report = inspection.repair(given.collection)
    return Outcome(DONE, report, inspection.repair_lines(report))


def _encoders(given: argparse.Namespace, setting: Setting) -> Outcome:
    models = setting.folders.models
    if given.action == "list":
        report = inspection.encoders(models)
        return Outcome(DONE, report, [inspection.encoder_line(e) for e in report["encoders"]])
    if given.action == "import":
        encoder = model_folders.copy_in(sources.require(given.folder), models, _device(given))
    else:
        encoder = base.find(given.name, models=models, device=_device(given))
    report = inspection.check_encoder(encoder)
    notices = search.device_notices(_device(given), encoder.card)
    verdict = "It runs here." if report["ok"] else "Its vectors are not of unit length."
    status = DONE if report["ok"] else FAILED
    return Outcome(status, report, [inspection.encoder_line(report), *notices, verdict])


def _check(given: argparse.Namespace, setting: Setting) -> Outcome:
    report = inspection.check(setting.folders)
    return Outcome(DONE if report["ok"] else FAILED, report, inspection.check_lines(report))


def _train(given: argparse.Namespace, setting: Setting) -> Outcome:
    from medsearch_desktop.training import train

    def told(stage: str, done: int, total: int) -> None:
        setting.shown.step(stage, done, total)

    folder = train.run(given.config, data=given.data, out=given.out, progress=told)
    setting.shown.end("", 1)
    card = base.load_folder(folder).card
    report = {"model": str(folder), "name": card.name, "digest": card.digest}
    return Outcome(DONE, report, [f"{card.name} ({card.digest[:12]}) lies in {folder}."])


def _inputs(given: argparse.Namespace) -> inputs.Inputs:
    paths = tuple(sources.require(path) for path in given.sources)
    return inputs.Inputs(paths, given.input_format, tables.columns(given.columns))


def _device(given: argparse.Namespace) -> str:
    chosen: str = given.device or os.environ.get("MEDSEARCH_DEVICE") or "auto"
    if not arguments.is_device(chosen):
        raise errors.QuerySyntaxError(
            f"MEDSEARCH_DEVICE is {chosen!r}, which is none of auto, cpu, mps, cuda and cuda:N."
        )
    return chosen


@contextmanager
def _readers(count: int) -> Iterator[isolated.Readers]:
    readers = isolated.Readers(count)
    try:
        yield readers
    finally:
        readers.close()


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Set the event at the first SIGINT or SIGTERM; a second SIGINT ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask_to_stop(number: int, _frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def status_of(error: errors.MedsearchError) -> int:
    """Return the exit status that an error means."""
    if isinstance(error, errors.CollectionDamagedError):
        return DAMAGED
    return USAGE if isinstance(error, errors.QuerySyntaxError) else FAILED
