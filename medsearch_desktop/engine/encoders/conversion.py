"""The int8 conversion of an open_clip model for CPUs, made at import if it finds the same.

Chosen: dynamic int8 by ONNX Runtime, a fifth of the CPU time of torch in fp32, and no torch.
Rejected: bf16, int8 by torch, compiled fp32, OpenVINO; bigger batches.
Because: without AMX bf16 is slower than fp32; torch takes seconds to start and is no faster in
int8; compiling takes longer than it saves; a second runtime for a tenth; nothing is gained.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import (
    base,
    drawn,
    exporting,
    folders,
    onnx_pair,
    openclip,
    openclip_folder,
    preprocessing,
    tokens,
)

# How many of the ten nearest pictures must be the same in int8 as in fp32.
LEAST_OVERLAP = 0.95
_NEAREST, _PICTURES = 10, 200
# Of a text's vector in int8 to the one in fp32, at the mean over TEXTS: these are too few for a
# comparison of what they find. A BERT-base of random weights has 0.9997.
LEAST_TEXT_COSINE = 0.99
# An ONNX file computes as torch does up to rounding; less than this is another network.
_SAME_COSINE = 0.9999
_TRIED = 3

# Texts that must become the same tokens and, but for the last, the same vectors.
TEXTS = (
    "CT, abdomen, axial",
    "MRI of the brain with a ring-enhancing lesion",
    "Large left pleural effusion (3.5 cm), no pneumothorax.",
    "chest x-ray, PA view: normal heart size",
    "it's the patient's 2nd T2*-weighted scan; we'll compare",
    "Плевральный выпот слева",
    "胸部CT 肺结节",
    "انصباب جنبي",
    "\N{LUNGS} caf\u00e9 nai\u0308ve \ufb01brosis \u00bd \u00b5m <b>&amp;lt;</b> _x_ \ufffd",
    "opacity in the right lower lobe " * 12,
    "",
    "effusion " * 5000,
)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Verdict:
    """How a model runs on CPUs from now on, and what that was decided on.

    `overlap` is the share of the ten nearest pictures, among `images`, that
    int8 and fp32 have in common, `cosine` the mean between their vectors. No
    images were compared where the model cannot be converted. `sentence` says
    all of it.
    """

    precision: str
    overlap: float
    cosine: float
    images: int
    sentence: str


def convert(
    folder: Path,
    *,
    progress: Progress = lambda stage, done, total: None,
    pictures: Sequence[np.ndarray] | None = None,
) -> Verdict:
    """Write the conversion of the open_clip model in `folder` to its folder `int8`.

    `pictures` are uint8 (h, w, 3) of any sizes, at least 20, to compare int8
    and fp32 on; by default 200 are drawn. Where they find too little in
    common, the conversion stays in fp32. A model that cannot be converted
    keeps none, and the verdict says why. Raises what OpenClip raises.
    """
    name = base.describe_folder(folder).name
    shown = drawn.pictures(_PICTURES) if pictures is None else list(pictures)
    if len(shown) < 2 * _NEAREST:
        raise ValueError(f"{len(shown)} pictures are too few to compare what is found")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".converting-") as aside:
        made = Path(aside) / onnx_pair.FOLDER
        made.mkdir()
        progress("load", 0, 1)
        conversion = _Conversion(folder, name, made, progress)
        progress("load", 1, 1)
        try:
            with base.told(name):
                record = conversion.made(shown)
        except errors.EncoderError as error:
            remove(folder)
            said = f"{name} cannot be converted for the CPU ({error.reason}): it runs by torch."
            return Verdict("fp32", 0.0, 0.0, 0, said)
        remove(folder)
        os.rename(made, folder / onnx_pair.FOLDER)
    return _verdict(name, record)


def remove(folder: Path) -> None:
    """Remove the conversion from a model's folder, if it has one."""
    shutil.rmtree(folder / onnx_pair.FOLDER, ignore_errors=True)


def _verdict(name: str, record: onnx_pair.Record) -> Verdict:
    said = (
        f"In int8, {name} finds {record.overlap:.1%} of the ten nearest pictures that it finds in "
        f"fp32 ({record.images} pictures, at least {LEAST_OVERLAP:.0%} wanted): on the CPU it runs "
        f"in {record.image}."
    )
    if record.text != record.image:
        said += f" Its texts run in {record.text}."
    return Verdict(record.image, record.overlap, record.cosine, record.images, said)


@dataclass(frozen=True)
class _ByTorch:
    """What torch made of the first pictures and texts, and how the texts are read."""

    images: np.ndarray
    texts: np.ndarray
    reading: tokens.Reading
    seen: preprocessing.Preprocessing


class _Conversion:
    """One conversion, made in the folder `aside`."""

    def __init__(self, folder: Path, name: str, aside: Path, progress: Progress) -> None:
        self._name, self._aside, self._progress = name, aside, progress
        self._parts = openclip_folder.read(folder, name)
        self._loaded = [openclip.OpenClip(folder, device="cpu", precision="fp32")]

    def made(self, shown: list[np.ndarray]) -> onnx_pair.Record:
        """Return the record of the finished conversion; its files lie in the folder."""
        expected = self._exported(shown[:_TRIED])
        gc.collect()  # the model in torch is as large as what follows
        seen = expected.seen
        pixels = [seen.pixels(seen.shown(picture)[None]) for picture in shown]
        image, overlap, cosine = self._judged_images(pixels, expected.images)
        text, text_cosine = self._judged_texts(expected)
        files = (onnx_pair.IMAGE, onnx_pair.TEXT, onnx_pair.TOKENIZER)
        record = onnx_pair.Record(
            digest=openclip_folder.digest(self._parts),
            weights=folders.sha256(self._parts.weights),
            image=image,
            text=text,
            reading=expected.reading,
            files={file: folders.sha256(self._aside / file) for file in files},
            overlap=overlap,
            cosine=cosine,
            text_cosine=text_cosine,
            images=len(shown),
        )
        record.write(self._aside / onnx_pair.RECORD)
        return record

    def _exported(self, shown: list[np.ndarray]) -> _ByTorch:
        """Write tokenizer and both networks in fp32; the model in torch ends with this call."""
        encoder = self._loaded.pop()  # kept by nobody else, so that its memory is free after this
        towers = encoder.towers
        context = int(getattr(towers.tokenizer, "context_length", None) or 77)
        (self._aside / onnx_pair.TOKENIZER).write_text(
            _tokenizer(towers.tokenizer, self._name), "utf-8"
        )
        images = np.concatenate([encoder.encode_images(picture[None]) for picture in shown])
        texts = np.concatenate([encoder.encode_texts([text]) for text in TEXTS])
        exporting.open_attention(towers.model)
        self._progress("export", 0, 2)
        exporting.write_image_network(towers, self._fp32(onnx_pair.IMAGE))
        self._progress("export", 1, 2)
        is_short = exporting.write_text_network(towers, self._fp32(onnx_pair.TEXT), context)
        self._progress("export", 2, 2)
        reading = self._reading(towers, context, is_short)
        return _ByTorch(images, texts, reading, towers.preprocessing)

    def _fp32(self, file: str) -> Path:
        return self._aside / f"fp32-{file}"

    def _reading(self, towers: openclip.Towers, context: int, is_short: bool) -> tokens.Reading:
        """Return how texts are read, after comparing the tokens with those of open_clip."""
        cleaning = getattr(towers.tokenizer, "clean_fn", None)
        how = str(getattr(cleaning, "__name__", "")).removeprefix("_clean_")
        inner = getattr(towers.tokenizer, "tokenizer", None)
        pad = int(getattr(inner, "pad_token_id", 0) or 0)
        if how not in tokens.CLEANINGS:
            raise errors.EncoderError(self._name, "its texts are cleaned in a way of its own")
        padded = tokens.Reading(how, context, pad)
        ours = tokens.Tokenizer(self._aside / onnx_pair.TOKENIZER, padded, self._name)
        for text in TEXTS:
            theirs = towers.tokenizer([text]).numpy()
            if not np.array_equal(ours.ids(text), theirs):
                raise errors.EncoderError(self._name, "its tokenizer cannot be written as a file")
        return tokens.Reading(how, context, None) if is_short else padded

    def _judged_images(
        self, pixels: list[np.ndarray], expected: np.ndarray
    ) -> tuple[str, float, float]:
        """Return the precision of the image network, and overlap and cosine of int8 to fp32."""
        exact = self._ran(self._fp32(onnx_pair.IMAGE), "pixels", pixels, "compare")
        self._check_same(exact[: len(expected)], expected)
        self._quantise(onnx_pair.IMAGE)
        rough = self._ran(self._aside / onnx_pair.IMAGE, "pixels", pixels, "compare int8")
        overlap, cosine = _overlap(exact, rough), _cosine(exact, rough)
        return self._kept(onnx_pair.IMAGE, overlap >= LEAST_OVERLAP), overlap, cosine

    def _judged_texts(self, expected: _ByTorch) -> tuple[str, float]:
        """Return the precision of the text network, and the cosine of int8 to fp32."""
        tokenizer = self._aside / onnx_pair.TOKENIZER
        reading = tokens.Tokenizer(tokenizer, expected.reading, self._name)
        ids = [reading.ids(text) for text in TEXTS]
        exact = self._ran(self._fp32(onnx_pair.TEXT), "ids", ids, "compare texts")
        self._check_same(exact, expected.texts)
        self._quantise(onnx_pair.TEXT)
        rough = self._ran(self._aside / onnx_pair.TEXT, "ids", ids, "compare texts in int8")
        cosine = _cosine(exact, rough)
        return self._kept(onnx_pair.TEXT, cosine >= LEAST_TEXT_COSINE), cosine

    def _quantise(self, file: str) -> None:
        exporting.write_int8(self._fp32(file), self._aside / file)

    def _kept(self, file: str, is_good: bool) -> str:
        """Keep one of the two files of a network under its name, and return its precision."""
        if is_good:
            self._fp32(file).unlink()
            return "int8"
        os.replace(self._fp32(file), self._aside / file)
        return "fp32"

    def _ran(self, path: Path, entry: str, given: list[np.ndarray], stage: str) -> np.ndarray:
        network = onnx_pair.session(path, self._name, os.cpu_count() or 1)
        rows = []
        for done, one in enumerate(given):
            self._progress(stage, done, len(given))
            rows.append(np.asarray(network.run(["vector"], {entry: one})[0], np.float32))
        self._progress(stage, len(given), len(given))
        return onnx_pair.unit(np.concatenate(rows))

    def _check_same(self, found: np.ndarray, expected: np.ndarray) -> None:
        if not (found * expected).sum(axis=1).min() >= _SAME_COSINE:
            raise errors.EncoderError(self._name, "the converted network computes something else")


def _tokenizer(tokenizer: Any, name: str) -> str:
    """Return the tokenizer.json of a tokenizer of open_clip."""
    if hasattr(tokenizer, "bpe_ranks"):
        if tokenizer.reduction_fn is not None:
            raise errors.EncoderError(name, "it leaves words of long texts out by chance")
        ranks = tokenizer.bpe_ranks
        return tokens.clip_tokenizer(dict(tokenizer.encoder), sorted(ranks, key=ranks.__getitem__))
    inner = getattr(getattr(tokenizer, "tokenizer", None), "backend_tokenizer", None)
    if inner is None:
        raise errors.EncoderError(name, "its tokenizer is known to other libraries only")
    return str(inner.to_str())


def _overlap(exact: np.ndarray, rough: np.ndarray) -> float:
    """Return the share of the nearest pictures that both have in common, 0 to 1.

    The lower of two: pictures and queries in int8, and queries in int8 among
    pictures in fp32, as in a collection that was built on a GPU.
    """
    wanted = _nearest(exact @ exact.T)
    found = (_nearest(rough @ rough.T), _nearest(rough @ exact.T))
    shares = [
        [len(set(a) & set(b)) / _NEAREST for a, b in zip(wanted, given, strict=True)]
        for given in found
    ]
    return float(np.mean(shares, axis=1).min())


def _nearest(cosines: np.ndarray) -> np.ndarray:
    """Return the places of the nearest others of each row, ties by place."""
    np.fill_diagonal(cosines, -2)
    return np.argsort(-cosines, axis=1, kind="stable")[:, :_NEAREST]


def _cosine(exact: np.ndarray, rough: np.ndarray) -> float:
    return float((exact * rough).sum(axis=1).mean())
