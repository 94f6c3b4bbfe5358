"""Encoder protocol, EncoderCard, and finding an encoder by name or folder."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from medsearch_desktop import errors, settings

ENTRY_POINTS = "medsearch_desktop.encoders"

# kind -> "module:callable", called as `callable(folder, device=device, precision=precision)`; it
# returns an Encoder.
KINDS = {
    "biovil": "medsearch_desktop.engine.encoders.biovil:BioVil",
    "compact": "medsearch_desktop.engine.encoders.compact:Compact",
    "image_only": "medsearch_desktop.engine.encoders.image_only:ImageOnly",
    "open_clip": "medsearch_desktop.engine.encoders.openclip:load",
}
# kind -> "module:function" that tells from the files of a folder whether it was downloaded as
# models of that kind are published, without a model.toml.
LAYOUTS = {
    "biovil": "medsearch_desktop.engine.encoders.biovil:is_published",
    "image_only": "medsearch_desktop.engine.encoders.image_only:is_published",
}
# What an encoder may compute with; "auto" takes what is fastest here and passed its gate.
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")
# name -> folder below resources/: the encoders that come with the program.
BUILT_IN = {"compact": "models/compact"}

# The name of one more encoder, "module:class", for the tests of this program: the class is called
# without arguments. Any other name of that form is refused, because names come out of manifests.
TEST_ENCODER = "MEDSEARCH_TEST_ENCODER"

_MOST_TOML_BYTES = 1 << 20
# Below this length the direction of a vector is rounding; above this distance from 1 a vector was
# not brought to unit length (fp16 leaves 1e-3).
_LEAST_LENGTH, _ROUNDING = 1e-6, 2e-3

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")


@dataclass(frozen=True)
class EncoderCard:
    """What an encoder is.

    `digest` is 64 hexadecimal digits over weights and preprocessing: two
    encoders with one digest give the same vectors, up to what their
    `precision` ("fp32", "bf16", "fp16", "int8") leaves of them. `abilities`
    holds "images" and/or "texts". `device` is where it runs now ("cpu",
    "cuda:0", "mps"), by `runtime` ("onnxruntime", "torch"). `calibration`
    holds named numbers that turn a cosine into a probability. `trims` and
    `ct_windows` say how pictures are made ready for it: views.Recipe.
    """

    name: str
    kind: str
    digest: str
    dimension: int
    abilities: tuple[str, ...]
    licence: str = ""
    source: str = ""
    limits: str = ""
    modalities: tuple[str, ...] = ()
    device: str = "cpu"
    precision: str = "fp32"
    runtime: str = ""
    calibration: tuple[tuple[str, float], ...] = ()
    trims: bool = True
    ct_windows: bool = False


class Encoder(Protocol):
    """Turns pictures and words into unit vectors of one space."""

    @property
    def card(self) -> EncoderCard: ...

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3)."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length, for n texts."""
        ...


@dataclass(frozen=True)
class Problem:
    """An encoder that is there but cannot be used: `reason` is a whole sentence."""

    name: str
    reason: str


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a model: its kind, and its model.toml (empty where it has none)."""

    path: Path
    name: str
    kind: str
    about: tuple[tuple[str, Any], ...] = ()


def is_plain_name(name: str) -> bool:
    """Tell whether `name` names an installed encoder and is no path."""
    return bool(_PLAIN_NAME.fullmatch(name)) and ".." not in name


def find(name: str, *, models: Path, device: str = "auto", precision: str = "auto") -> Encoder:
    """Load the encoder called `name`, or the one in the folder `name`.

    Looked for in this order: the folder `models/name`, the encoders that come
    with the program, a folder of any place, an entry point of the group
    medsearch_desktop.encoders. `device` is "auto", "cpu", "cuda", "cuda:1" or
    "mps", `precision` one of PRECISIONS; both are wishes, the card says what
    became of them.

    Raises EncoderMissingError, WeightsMissingError or another EncoderError.
    """
    if is_plain_name(name):
        if name and name == os.environ.get(TEST_ENCODER):
            return _made(_imported(name, name))
        for folder in _named_folders(name, models):
            return load_folder(folder, device=device, precision=precision)
        for point in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
            return _made(_loaded(point))
    elif Path(name).is_dir():
        return load_folder(Path(name), device=device, precision=precision)
    raise errors.EncoderMissingError(name, "it is not installed and is no folder with a model")


def load_folder(path: Path, *, device: str = "auto", precision: str = "auto") -> Encoder:
    """Load the model that lies in a folder; raises EncoderError or a child of it."""
    model = describe_folder(path)
    target = KINDS.get(model.kind)
    if target is None:
        raise errors.EncoderMissingError(model.name, f"its kind {model.kind!r} is not known")
    with told(model.name):
        encoder: Encoder = _imported(model.name, target)(path, device=device, precision=precision)
    return encoder


def describe_folder(path: Path) -> ModelFolder:
    """Return name and kind of the model in a folder without loading its weights.

    A folder is a model when it has `model.toml`, or `open_clip_config.json`
    as open_clip publishes it, or the files of one of LAYOUTS. Raises
    EncoderMissingError when it is none.
    """
    name = path.absolute().name
    try:
        if (path / "model.toml").stat().st_size > _MOST_TOML_BYTES:
            raise errors.EncoderMissingError(name, "its model.toml is larger than any is")
        about = tomllib.loads((path / "model.toml").read_text("utf-8"))
    except FileNotFoundError:
        if (path / "open_clip_config.json").is_file():
            return ModelFolder(path, name, "open_clip")
        for kind, recognises in LAYOUTS.items():
            if _imported(name, recognises)(path):
                return ModelFolder(path, name, kind)
        raise errors.EncoderMissingError(
            name, f"{path} holds neither model.toml nor open_clip_config.json"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise errors.EncoderMissingError(name, f"its model.toml cannot be read: {error}") from error
    kind = str(about.get("kind", ""))
    return ModelFolder(path, str(about.get("name") or name), kind, tuple(about.items()))


def installed(models: Path, *, device: str = "cpu") -> list[EncoderCard | Problem]:
    """Load every encoder that is installed and return its card, or why it cannot be used.

    Weights are read one model at a time, so that memory holds one of them.
    """
    found: list[EncoderCard | Problem] = []
    for name in names(models):
        try:
            found.append(find(name, models=models, device=device).card)
        except errors.EncoderError as error:
            found.append(Problem(name, str(error)))
    return found


def names(models: Path) -> list[str]:
    """Return the names of what is installed, without loading any of it."""
    listed = dict.fromkeys(BUILT_IN)
    if models.is_dir():
        folders = sorted(p for p in models.iterdir() if p.is_dir() and is_plain_name(p.name))
        listed |= dict.fromkeys(p.name for p in folders)
    listed |= dict.fromkeys(p.name for p in importlib.metadata.entry_points(group=ENTRY_POINTS))
    return list(listed)


def check_fits(built_with: EncoderCard, loaded: EncoderCard) -> None:
    """Raise EncoderMismatchError when two encoders do not give the same vectors."""
    if built_with.digest != loaded.digest:
        raise errors.EncoderMismatchError(
            f"{built_with.name} ({built_with.digest[:12]})",
            f"{loaded.name} ({loaded.digest[:12]})",
        )


def image_vectors(encoder: Encoder, images: np.ndarray) -> np.ndarray:
    """Return the vectors (n, d) of uint8 (n, h, w, 3), each of them found to be one.

    Every build and every search takes its vectors from here and from
    `text_vectors`. Raises EncoderError, in the encoder's name, where it sees
    no images, fails, or gives what is no unit vector.
    """
    if (
        images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[3] != 3
        or 0 in images.shape[1:]
    ):
        raise ValueError(f"not uint8 (n, h, w, 3) with pixels: {images.dtype} {images.shape}")
    _check_ability(encoder.card, "images")
    with told(encoder.card.name):
        vectors = encoder.encode_images(images)
    return _checked(encoder.card, vectors, len(images))


def _check_picture(given: np.ndarray) -> None:
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
        raise ValueError(f"not uint8 (h, w, 3) with pixels: {given.dtype} {given.shape}")


def picture_vectors(encoder: Encoder, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return the vectors (n, d) of uint8 (h, w, 3) pictures of any sizes, in their order.

    Checked as those of `image_vectors`. An encoder with a method
    `encode_pictures` is handed all at once, so that a GPU gets full batches
    of pictures that differ in size; any other those of one size together.
    """
    whole = getattr(encoder, "encode_pictures", None)
    if callable(whole) and len({picture.shape for picture in pictures}) > 1:
        for picture in pictures:
            _check_picture(picture)
        _check_ability(encoder.card, "images")
        with told(encoder.card.name):
            vectors = whole(pictures)
        return _checked(encoder.card, vectors, len(pictures))
    found = np.empty((len(pictures), encoder.card.dimension), np.float32)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for place, picture in enumerate(pictures):
        by_shape.setdefault(picture.shape, []).append(place)
    for places in by_shape.values():
        found[places] = image_vectors(encoder, np.stack([pictures[place] for place in places]))
    return found


def text_vectors(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Return the vectors (n, d) of n texts, as `image_vectors` does for images.

    Half of a surrogate pair, which broken files hold and no tokenizer reads,
    is read as a question mark.
    """
    _check_ability(encoder.card, "texts")
    readable = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    with told(encoder.card.name):
        vectors = encoder.encode_texts(readable)
    return _checked(encoder.card, vectors, len(texts))


def _check_ability(card: EncoderCard, ability: str) -> None:
    if ability not in card.abilities:
        said = " and ".join(card.abilities) or "nothing"
        raise errors.EncoderError(card.name, f"it knows {said}, not {ability}")


def _checked(card: EncoderCard, vectors: np.ndarray, rows: int) -> np.ndarray:
    found = np.asarray(vectors, np.float32)
    if found.shape != (rows, card.dimension):
        raise errors.EncoderError(
            card.name, f"it gave {found.shape} numbers in place of {(rows, card.dimension)}"
        )
    if not np.isfinite(found).all():
        raise errors.EncoderError(card.name, "it gave a vector that is not finite")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if rows and lengths.min() < _LEAST_LENGTH:
        raise errors.EncoderError(card.name, "it gave a vector without a direction")
    is_unit = np.abs(lengths - 1) < _ROUNDING
    return found if is_unit.all() else found / np.where(is_unit, np.float32(1), lengths)


def taken_notices(encoder: Encoder) -> list[str]:
    """Return, once each, the sentences an encoder has about what it had to work around.

    An encoder that has any keeps them in a list of the name `notices`.
    """
    kept = getattr(encoder, "notices", None)
    if not isinstance(kept, list):
        return []
    taken = [str(sentence) for sentence in kept]
    kept.clear()
    return taken


def _named_folders(name: str, models: Path) -> list[Path]:
    folders = [models / name]
    if name in BUILT_IN:
        with contextlib.suppress(FileNotFoundError):
            folders.append(settings.resource(BUILT_IN[name]))
    return [folder for folder in folders if folder.is_dir()]


def _imported(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise errors.EncoderMissingError(name, f"its code cannot be loaded: {error}") from error


def _loaded(point: importlib.metadata.EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise errors.EncoderMissingError(point.name, f"its plug-in fails: {error}") from error


def _made(kind: Any) -> Encoder:
    with told(getattr(kind, "__name__", "plug-in")):
        encoder: Encoder = kind()
    return encoder


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    """Turn whatever a library raises about a model into an EncoderError in its name.

    Panics of Rust libraries (tokenizers) and errors of onnxruntime have no
    class of ours to catch, some of them are no Exception.
    """
    try:
        yield
    except (errors.MedsearchError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError as error:
        raise errors.DeviceMemoryError(name, "the memory is full") from error
    except BaseException as error:
        raise errors.EncoderError(name, first_line(error)) from error


def first_line(error: BaseException) -> str:
    """Return what an error says first, short enough for a sentence."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
