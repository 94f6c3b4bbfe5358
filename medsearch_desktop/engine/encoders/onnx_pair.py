"""A converted open_clip model, run by ONNX Runtime on the CPU, without torch."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import base, folders, openclip_folder, preprocessing, tokens

FOLDER, RECORD = "int8", "conversion.json"
IMAGE, TEXT, TOKENIZER = "image.onnx", "text.onnx", "tokenizer.json"
VERSION = 1
_MOST_BYTES = 2 << 30  # of an ONNX file that holds its own weights
# More threads than this gain nothing for one picture and take them from the window.
_MOST_THREADS = 8


@dataclass(frozen=True)
class Record:
    """What conversion.json says: whose conversion it is, how good, and how texts are read.

    `digest` is the model's, over weights, configuration and tokenizer;
    `weights` the SHA-256 of the weights alone; `files` that of each file of the
    conversion. `image` and `text` are the precision of the two networks.
    """

    digest: str
    weights: str
    image: str
    text: str
    reading: tokens.Reading
    files: Mapping[str, str]
    overlap: float
    cosine: float
    text_cosine: float
    images: int
    version: int = VERSION

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self), indent=1), "utf-8")

    @staticmethod
    def read(path: Path, name: str) -> Record:
        """Return the record in a file; raises EncoderError where it is none of this version."""
        found = folders.read_json(path, name)
        if found.get("version") != VERSION:
            raise errors.EncoderError(name, f"its {RECORD} is of another version: import it again")
        try:
            found["reading"] = tokens.Reading(**found["reading"])
            record = Record(**found)
        except (KeyError, TypeError, ValueError) as error:
            raise errors.EncoderError(name, f"its {RECORD} is not one of this program") from error
        if not {record.image, record.text} <= {"int8", "fp32"}:
            raise errors.EncoderError(name, f"its {RECORD} names a precision that is none")
        return record


class OnnxPair:
    """The image and the text network of an open_clip folder, converted when it was imported.

    A picture or text a run: the int8 networks choose their scales by what they
    are given, so that company would change a vector. `precision` is "auto",
    "int8" or "fp32". Raises EncoderMissingError where the folder has no
    conversion, or none in fp32 if that is asked for, and EncoderError for one
    that is damaged or belongs to other weights. Safe to call from several
    threads.
    """

    def __init__(self, folder: Path, *, precision: str = "auto", threads: int = 0) -> None:
        described = base.describe_folder(folder)
        name, made = described.name, folder / FOLDER
        if not (made / RECORD).is_file():
            raise errors.EncoderMissingError(name, "it has no conversion for the CPU")
        record = Record.read(made / RECORD, name)
        if precision == "fp32" != record.image:
            raise errors.EncoderMissingError(name, "its conversion for the CPU is in int8")
        parts = openclip_folder.read(folder, name)
        card = openclip_folder.card(parts, dict(described.about))
        check(made, record, card.digest, name)
        self.notices: list[str] = []
        with base.told(name):
            self._seen = preprocessing.Preprocessing.of(parts.model, parts.preprocess)
            self._networks = Networks(made, record, card.dimension, name, threads=threads)
        self._card = running(card, record)

    @property
    def card(self) -> base.EncoderCard:
        return self._card

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3)."""
        pixels = (self._seen.pixels(self._seen.shown(image)[None]) for image in images)
        rows = [self._networks.image(one) for one in pixels]
        return np.concatenate([np.empty((0, self._card.dimension), np.float32), *rows])

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length; words past the context length are not read."""
        rows = [self._networks.text(text) for text in texts]
        return np.concatenate([np.empty((0, self._card.dimension), np.float32), *rows])


class Networks:
    """The two networks in a folder of a conversion, and the tokenizer before one of them."""

    def __init__(
        self, made: Path, record: Record, dimension: int, name: str, *, threads: int = 0
    ) -> None:
        self._name, self._dimension = name, dimension
        threads = threads or min(_MOST_THREADS, os.cpu_count() or 1)
        self._image = session(made / IMAGE, name, threads)
        self._text = session(made / TEXT, name, threads)
        self._tokenizer = tokens.Tokenizer(made / TOKENIZER, record.reading, name)

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Return the unit vector (1, d) of the pixels of one picture, float32 (1, 3, h, w)."""
        return self._ran(self._image, "pixels", pixels)

    def text(self, text: str) -> np.ndarray:
        """Return the unit vector (1, d) of one text."""
        with base.told(self._name):
            ids = self._tokenizer.ids(text)
        return self._ran(self._text, "ids", ids)

    def _ran(self, network: Any, entry: str, given: np.ndarray) -> np.ndarray:
        with base.told(self._name):
            found = np.asarray(network.run(["vector"], {entry: given})[0], np.float32)
        if found.shape != (1, self._dimension):
            raise errors.EncoderError(
                self._name, f"its conversion gives {found.shape[-1]} numbers, not {self._dimension}"
            )
        return unit(found)


def running(card: base.EncoderCard, record: Record) -> base.EncoderCard:
    """Return the card of a model as its conversion runs it."""
    return dataclasses.replace(card, device="cpu", precision=record.image, runtime="onnxruntime")


def check(made: Path, record: Record, digest: str, name: str) -> None:
    """Raise EncoderError where a conversion is of other weights, or is not as it was made."""
    if record.digest != digest:
        raise errors.EncoderError(name, "its conversion for the CPU was made of another model")
    for file in (IMAGE, TEXT, TOKENIZER):
        folders.check_file(made, file, _MOST_BYTES, name)
        if not (made / file).is_file():
            raise errors.EncoderError(name, f"{file} of its conversion is missing")
        if folders.sha256(made / file) != record.files.get(file):
            raise errors.EncoderError(name, f"{file} of its conversion is not as it was made")


def session(path: Path, name: str, threads: int) -> Any:
    """Return an ONNX Runtime session on the CPU of a network that lies whole in its file.

    ONNX lets a tensor name another file by its `location`, anywhere on the
    machine; ours do not, so that the letters alone are refused.
    """
    settings.offline()  # before the import, which starts telemetry
    import onnxruntime

    content = path.read_bytes()
    if b"location" in content:
        raise errors.EncoderError(name, f"{path.name} asks for a file outside of it")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads must not burn the second core while the window paints.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows at unit length; what has no direction stays as it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1), np.float32)
