"""The commands: what each does, and what it reports."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from medsearch_desktop import cases, errors, settings
from medsearch_desktop.engine import manifest
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

from . import (
    arguments,
    build,
    comparing,
    comparison_page,
    encoders,
    inputs,
    inspection,
    progress,
    questions,
    reembedding,
    search,
    sources,
    stopping,
    tables,
)
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
        "reembed": _reembed,
        "compare": _compare,
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
    encoder = _encoder(given, given.encoder, setting)
    return _written(given, given.out, wanted, total, encoder, setting)


def _add(given: argparse.Namespace, setting: Setting) -> Outcome:
    wanted = _inputs(given)
    card = manifest.read(given.collection).encoder
    total = inputs.count(wanted)
    encoder = _encoder(given, given.encoder or card.name, setting)
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
    with stopping.asked() as stop:
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


def _reembed(given: argparse.Namespace, setting: Setting) -> Outcome:
    source = sources.require(given.collection)
    manifest.read(source)
    encoder = _encoder(given, given.encoder, setting)
    options = build.Options(
        out=given.out or reembedding.folder_beside(source, encoder.card.name),
        workers=given.workers,
        batch_size=given.batch_size,
        resume=given.resume,
    )
    with stopping.asked() as stop:
        report = reembedding.write(source, encoder, options, setting.shown, stop=stop)
    setting.shown.end("", report.added, skipped=len(report.skipped))
    report.notices += search.device_notices(_device(given), encoder.card)
    return _outcome(report)


def _compare(given: argparse.Namespace, setting: Setting) -> Outcome:
    first, second = (sources.require(path) for path in given.collections)
    if given.report is not None:
        sources.require(given.report.absolute().parent)
    table = None
    if given.queries != "self":
        table = questions.Table(sources.require(Path(given.queries)), given.columns)
    found = comparing.compare(
        (first, second),
        table,
        lambda card: _encoder(given, card.name, setting),
        setting.shown,
        given.top,
    )
    setting.shown.end("", len(found.questions.cases), skipped=len(found.questions.skipped))
    report, told = comparison_page.to_json(found), comparison_page.lines(found)
    if given.report is not None:
        comparison_page.write(found, given.report)
        report["report"] = str(given.report.absolute())
        told.append(f"The report with pictures is {given.report}.")
    return Outcome(SKIPPED if found.questions.skipped else DONE, report, told)


def _outcome(report: build.Report) -> Outcome:
    told = [
        f"{report.name or report.out}: {report.added:,} cases with {report.images:,} images added "
        f"in {report.took_s:.1f} s; {report.cases:,} cases in all. Encoder {report.encoder}."
    ]
    if report.effective_dimension is not None:
        told.append(
            f"The image vectors spread over about {report.effective_dimension:.1f} directions "
            "(effective dimension)."
        )
    told += report.notices
    if report.stored:
        told.append(
            f"{report.stored:,} of the images were encoded from their thumbnails: their original "
            "files are not there or cannot be read."
        )
    if report.resumed:
        told.append(f"{report.resumed:,} cases were there already.")
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
        with stopping.asked() as stop:
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
    outdated = inspection.outdated(out, folders.models)
    report["notices"] += outdated
    report["description"] = demo.describe(inspection.cases_of(out))
    report["sample_queries"] = list(demo.SAMPLE_QUERIES)
    told = [
        *report["description"],
        *inspection.stats_lines(report)[:2],
        *outdated,
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
    found = search.ask(
        asked, lambda card: _encoder(given, card.name, setting), _device(given), setting.shown
    )
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
        report = encoders.listed(models, _device(given))
        return Outcome(DONE, report, [encoders.line(one) for one in report["encoders"]])
    if given.action == "remove":
        report = encoders.removed(given.name, setting.folders)
        return Outcome(DONE, report, encoders.removed_lines(report))
    if given.action == "import":
        folder, device = sources.require(given.folder), _device(given)
        convert, told = not given.no_conversion, setting.shown.step
        made = model_folders.copy_in(folder, models, device, convert=convert, progress=told)
        setting.shown.end("", 1)
        card, report = made.card, encoders.imported(made)
    else:
        found = model_folders.check(
            given.name, models=models, device=_device(given), precision=given.precision
        )
        card, report = found.card, encoders.checked(found)
    report["notices"] += search.device_notices(_device(given), card)
    lines = [encoders.line(report), *report["notices"], *report["sentences"]]
    return Outcome(DONE if report["ok"] else FAILED, report, lines)


def _check(given: argparse.Namespace, setting: Setting) -> Outcome:
    report = inspection.check(setting.folders, _device(given))
    return Outcome(DONE if report["ok"] else FAILED, report, inspection.check_lines(report))


def _train(given: argparse.Namespace, setting: Setting) -> Outcome:
    from medsearch_desktop.training import train

    def told(stage: str, done: int, total: int) -> None:
        setting.shown.step(stage, done, total)

    if given.figures is not None:
        return _measured(given, setting, told)
    folder = train.run(
        given.config, data=given.data, out=given.out, progress=told, device=given.device
    )
    setting.shown.end("", 1)
    card = base.load_folder(folder).card
    report = {"model": str(folder), "name": card.name, "digest": card.digest}
    return Outcome(DONE, report, [f"{card.name} ({card.digest[:12]}) lies in {folder}."])


def _measured(
    given: argparse.Namespace, setting: Setting, told: Callable[[str, int, int], None]
) -> Outcome:
    from medsearch_desktop.training import train

    found = train.measure(
        given.config, given.figures, data=given.data, progress=told, device=given.device
    )
    setting.shown.end("", 1)
    figures = [asdict(figure) for figure in found.figures]
    lines = [f"{given.figures} holds the figures of {found.runs} runs."]
    lines += [
        f"  {one.name}: {one.value:.4g} ({one.low:.4g} to {one.high:.4g}), chance {one.chance:.4g}"
        for one in found.figures
    ]
    return Outcome(DONE, {"runs": found.runs, "figures": figures}, lines)


def _inputs(given: argparse.Namespace) -> inputs.Inputs:
    paths = tuple(sources.require(path) for path in given.sources)
    return inputs.Inputs(paths, given.input_format, tables.columns(given.columns))


def _encoder(given: argparse.Namespace, name: str, setting: Setting) -> base.Encoder:
    return base.find(
        name, models=setting.folders.models, device=_device(given), precision=given.precision
    )


def _device(given: argparse.Namespace) -> str:
    chosen: str = getattr(given, "device", None) or os.environ.get("MEDSEARCH_DEVICE") or "auto"
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


def status_of(error: errors.MedsearchError) -> int:
    """Return the exit status that an error means."""
    if isinstance(error, errors.CollectionDamagedError):
        return DAMAGED
    return USAGE if isinstance(error, errors.QuerySyntaxError) else FAILED
