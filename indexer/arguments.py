"""The commands and options of the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import medsearch_desktop
from medsearch_desktop import queries
from medsearch_desktop.engine import views
from medsearch_desktop.engine.encoders import base

from . import filters, inputs, progress, sources, tables

TERMS = ("text", "image", "volume", "like")
NEGATIVE = ("text", "image", "like")
_MOST_SHOWN = 50


class UsageError(Exception):
    """The words of the command line are not understood; `usage` says how they go."""

    def __init__(self, sentence: str, usage: str) -> None:
        super().__init__(sentence, usage)
        self.sentence, self.usage = sentence, usage


class _Parser(argparse.ArgumentParser):
    """Raises instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", self.format_usage().strip())


class _Term(argparse.Action):
    """Keeps the terms of a search in the order in which they were given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        option = (option_string or "").removeprefix("--")
        namespace.terms = [*namespace.terms, (option, str(values))]


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; it raises UsageError."""
    made = _Parser(
        prog="medsearch-index",
        description="Builds, checks and searches collections of radiology cases, without a network "
        "and without a window.",
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=medsearch_desktop.__version__)
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _demo(_command(commands, "demo", "build the demo collection once and say what is in it"))
    _build(_command(commands, "build", "read inputs, encode them, write a collection"))
    _add(_command(commands, "add", "put more cases into a collection"))
    _search(_command(commands, "search", "find similar cases"))
    for name, words in (
        ("stats", "what is inside a collection"),
        ("verify", "compare every file of a collection with its checksum and count its cases"),
        (
            "repair",
            "back to the newest state of a damaged collection that is whole, which loses what was "
            "added after it",
        ),
    ):
        command = _command(commands, name, words)
        command.add_argument("collection", metavar="DIR", type=Path)
    _reembed(_command(commands, "reembed", "a collection once more, by another encoder"))
    _compare(_command(commands, "compare", "ask the same of a collection by two encoders"))
    _encoders(commands)
    _command(commands, "check", "the installation: versions, devices, folders, package names")
    _train(_command(commands, "train", "train the compact encoder by a recipe (extra: research)"))
    return made


def _command(commands: Any, name: str, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=words[:1].upper() + words[1:] + ".", allow_abbrev=False
    )
    _common(command)
    return command


def _common(command: argparse.ArgumentParser) -> None:
    common = command.add_argument_group("common")
    common.add_argument("--json", action="store_true", help="one JSON object on stdout")
    common.add_argument(
        "--progress", choices=progress.KINDS, help="on stderr; default: a bar on a terminal"
    )
    common.add_argument("--quiet", action="store_true", help="say nothing but errors")
    common.add_argument("--home", metavar="DIR", help="the data folder, else MEDSEARCH_HOME")


def _demo(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--out", metavar="DIR", type=Path, help="default: collections/demo in the data folder"
    )


def _device(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--device",
        type=_device_name,
        default=None,
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="where the encoder runs; default: MEDSEARCH_DEVICE, else auto",
    )
    command.add_argument(
        "--precision",
        choices=base.PRECISIONS,
        default="auto",
        help="what it computes with; default: the fastest here that passed its test",
    )


def _reading(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--input-format",
        choices=inputs.FORMATS,
        default="auto",
        help="how SRC is read; default: by its name and content",
    )
    command.add_argument(
        "--columns",
        default="",
        metavar="FIELD=COLUMN,...",
        help=f"columns of a table; fields: {', '.join(tables.DEFAULT_COLUMNS)}",
    )
    command.add_argument("--limit", type=_positive, metavar="N", help="read the first N inputs")
    command.add_argument(
        "--slices-per-volume",
        type=_positive,
        default=views.SLICES,
        metavar="N",
        help=f"slices that stand for a volume (default {views.SLICES})",
    )
    _working(command)


def _working(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--batch-size",
        type=_positive,
        metavar="N",
        help="images that are encoded together (default 32, on a GPU 256)",
    )
    command.add_argument(
        "--workers",
        type=_workers,
        default=sources.WORKERS,
        metavar="N",
        help=f"processes that read files, 1 to {sources.MOST_WORKERS} (default: one a core)",
    )
    _device(command)


def _build(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "sources",
        nargs="+",
        metavar="SRC",
        type=Path,
        help="tables (csv), folders, DICOM, NIfTI or picture files",
    )
    command.add_argument(
        "--out", required=True, metavar="DIR", type=Path, help="the folder of the new collection"
    )
    command.add_argument("--name", default="", help="default: the name of the folder")
    command.add_argument("--encoder", default="compact", metavar="NAME|FOLDER")
    command.add_argument(
        "--resume", action="store_true", help="go on where an interrupted build stopped"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="read the inputs and say what would be built; write nothing",
    )
    _reading(command)


def _add(command: argparse.ArgumentParser) -> None:
    command.add_argument("collection", metavar="DIR", type=Path)
    command.add_argument("sources", nargs="+", metavar="SRC", type=Path)
    command.add_argument(
        "--encoder",
        default="",
        metavar="FOLDER",
        help="where the collection's encoder lies, if it is not installed",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on where an interrupted add stopped"
    )
    _reading(command)


def _search(command: argparse.ArgumentParser) -> None:
    command.add_argument("collections", nargs="+", metavar="DIR", help="one or more collections")
    command.set_defaults(terms=[])
    group = command.add_argument_group(
        "terms", "each may be given several times, with a weight before it: 0.5:WORDS"
    )
    value = {"text": "WORDS", "image": "FILE", "volume": "PATH", "like": "CASE_ID"}
    for name in TERMS:
        group.add_argument(f"--{name}", action=_Term, metavar=value[name], dest="terms")
    group.add_argument(
        "--region",
        action=_Term,
        metavar="X,Y,W,H",
        dest="terms",
        help="pixels of the image before it",
    )
    for name in NEGATIVE:
        group.add_argument(f"--not-{name}", action=_Term, metavar=value[name], dest="terms")
    command.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="EXPR",
        dest="filters",
        help="FIELD=VALUE, joined by “and”, each with “not” if wanted; fields: "
        + ", ".join(filters.FIELDS),
    )
    command.add_argument(
        "--top",
        type=int,
        default=20,
        metavar="N",
        help=f"hits, 1 to {queries.MAX_LIMIT} (default 20)",
    )
    command.add_argument(
        "--mix",
        type=float,
        metavar="0..1",
        help="0 words only, 1 vectors only; default: fused by rank",
    )
    command.add_argument("--against", choices=queries.AGAINST, default="both")
    command.add_argument("--min-cosine", type=float, metavar="X", help="-1 to 1")
    command.add_argument(
        "--min-strength",
        type=float,
        metavar="PERCENT",
        help="not regarded until strengths are calibrated",
    )
    command.add_argument("--exact", action="store_true", help="no approximation")
    _device(command)


def _reembed(command: argparse.ArgumentParser) -> None:
    command.add_argument("collection", metavar="DIR", type=Path)
    command.add_argument("--encoder", required=True, metavar="NAME|FOLDER")
    command.add_argument(
        "--out", metavar="DIR", type=Path, help="default: beside it, DIR@ENCODER by name"
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted run stopped, and take in what the collection got since",
    )
    _working(command)


def _compare(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "collections", nargs=2, metavar="DIR", type=Path, help="the same cases by two encoders"
    )
    command.add_argument(
        "--queries",
        default="self",
        metavar="self|TABLE",
        help="what is asked: the cases themselves (default), or the rows of a table",
    )
    command.add_argument(
        "--columns", default="", metavar="FIELD=COLUMN,...", help="columns of that table"
    )
    command.add_argument(
        "--report", metavar="FILE.html", type=Path, help="a page with pictures of some questions"
    )
    command.add_argument(
        "--top",
        type=_shown,
        default=10,
        metavar="N",
        help=f"cases whose overlap is counted, 1 to {_MOST_SHOWN} (default 10)",
    )
    _device(command)


def _encoders(commands: Any) -> None:
    encoders = commands.add_parser(
        "encoders", help="what is installed, does it run here, bring in, remove", allow_abbrev=False
    )
    actions = encoders.add_subparsers(
        dest="action", required=True, metavar="list|check|import|remove"
    )
    _command(actions, "list", "the encoders that are installed")
    check = _command(actions, "check", "load one encoder and let it encode a picture and a text")
    check.add_argument("name", metavar="NAME", help="a name, or a folder with a model")
    _device(check)
    imported = _command(actions, "import", "copy a model folder into the data folder")
    imported.add_argument(
        "folder", metavar="FOLDER", type=Path, help="as it was downloaded: weights, config, words"
    )
    imported.add_argument(
        "--no-conversion",
        action="store_true",
        help="leave out the int8 copy that makes queries on a CPU faster",
    )
    _device(imported)
    removed = _command(actions, "remove", "remove an imported model from the data folder")
    removed.add_argument("name", metavar="NAME")


def _train(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", metavar="CONFIG.toml", type=Path)
    command.add_argument("--data", metavar="DIR", type=Path, help="goes before the recipe's own")
    command.add_argument("--out", metavar="DIR", type=Path, help="goes before the recipe's own")
    command.add_argument(
        "--figures",
        metavar="OUT.json",
        type=Path,
        help="measure the recipe by cross-validation over patients instead, write no model; "
        "an interrupted measurement goes on",
    )
    command.add_argument(
        "--device",
        type=_device_name,
        default="cpu",
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="where it is trained; default: cpu, which gives the same weights again",
    )


def is_device(name: str) -> bool:
    """Say whether a word names a kind of device: auto, cpu, mps, cuda or cuda:N."""
    return re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name) is not None


def _device_name(text: str) -> str:
    if not is_device(text):
        raise argparse.ArgumentTypeError(f"{text!r} is none of auto, cpu, mps, cuda and cuda:N")
    return text


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _shown(text: str) -> int:
    return min(_positive(text), _MOST_SHOWN)


def _workers(text: str) -> int:
    return min(_positive(text), sources.MOST_WORKERS)
