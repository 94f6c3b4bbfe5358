"""BioViL and BioViL-T: chest radiographs and their reports, from a folder, without a network."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import (
    base,
    batching,
    cropping,
    fitting,
    folders,
    wordpieces,
)

if TYPE_CHECKING:
    import torch

# Enters the digest: a change of how images or words are fed makes other vectors.
_VERSION = "biovil 1: grey 0..255, shorter side 512, centre; sentence without its last point"
_SHORTER = 512
# Sides of the square that the two published models were trained with.
_SIDE_OF_T, _SIDE = 448, 480
_CPU_BATCH, _GPU_BATCH = 4, 64
_MOST_TOKENS = 512
_HEAD_WIDTH = 64  # of every published BERT
_MOST_BYTES, _MOST_CONFIG_BYTES = 4 << 30, 1 << 20

# How Microsoft publishes them, and what the converted files may be called.
_IMAGES_OF_T, _IMAGES = "biovil_t_image_model_proj_size_128", "biovil_image_resnet50_proj_size_128"
_TEXTS = "pytorch_model"
_REPOSITORIES = {
    _IMAGES_OF_T: "microsoft/BiomedVLP-BioViL-T",
    _IMAGES: "microsoft/BiomedVLP-CXR-BERT-specialized",
}
IMAGE_FILES = tuple(f"{stem}.safetensors" for stem in ("image", _IMAGES_OF_T, _IMAGES))
TEXT_FILES = tuple(f"{stem}.safetensors" for stem in ("text", "model", _TEXTS))
_LICENCE = "MIT"
_LIMITS = (
    "For chest radiographs and English reports only. Published for research: its authors call "
    "deployed use, commercial or otherwise, out of scope. Not for diagnosis."
)


class BioVil(batching.Batched):
    """The image tower of BioViL or BioViL-T and the text tower CXR-BERT, by torch.

    The folder holds `image.safetensors`, `text.safetensors`, the `config.json`
    of the text tower, and `tokenizer.json` or `vocab.txt`; optionally
    `model.toml` and SHA256SUMS. Raises WeightsMissingError, DeviceMemoryError
    or EncoderError. An image is encoded as one without an earlier one.
    """

    def __init__(self, folder: Path, *, device: str = "auto", precision: str = "auto") -> None:
        settings.offline()
        described = base.describe_folder(folder)
        self._name = described.name
        parts = _Parts.read(folder, self._name)
        self._batcher = batching.Batcher(self._name, device, precision, _CPU_BATCH, _GPU_BATCH)
        self._image, self._text, has_missing = self._networks(parts)
        self._framing = cropping.Framing(_SIDE_OF_T if has_missing else _SIDE, _SHORTER, "bilinear")
        source = _REPOSITORIES[_IMAGES_OF_T if has_missing else _IMAGES]
        self._card = _card(described, parts, self._dimension(), source)

    def _networks(self, parts: _Parts) -> tuple[Any, Any, bool]:
        """Return both towers on their device, and whether the first is the one of BioViL-T."""
        from medsearch_desktop.engine.encoders import biovil_networks

        images = fitting.read(parts.images, self._name)
        images = fitting.without(images, *biovil_networks.UNUSED_OF_IMAGES)
        texts = fitting.read(parts.texts, self._name)
        texts = fitting.without(texts, *biovil_networks.UNUSED_OF_TEXTS)
        words, wide = _shapes(texts).get("bert.embeddings.word_embeddings.weight", (0, 0))
        heads = parts.config.get("num_attention_heads", wide // _HEAD_WIDTH)
        if not isinstance(heads, int) or heads < 1 or wide % heads:
            raise errors.EncoderError(self._name, f"{heads!r} heads do not fit its text tower")
        try:
            image = fitting.fitted(
                lambda: biovil_networks.ImageTower(_shapes(images)),
                images,
                parts.images.name,
                self._name,
            )
            text = fitting.fitted(
                lambda: biovil_networks.TextTower(_shapes(texts), heads),
                texts,
                parts.texts.name,
                self._name,
            )
        except (KeyError, ValueError) as error:
            raise errors.EncoderError(self._name, f"its weights lack {error}") from error
        most = min(_MOST_TOKENS, text.bert.config.max_position_embeddings)
        self._words = wordpieces.WordPieces(parts.folder, words, most, self._name)
        placed = self._batcher.placed
        return placed(image), placed(text), bool(image.encoder.has_missing)

    def _dimension(self) -> int:
        widths = [
            self._image.projector.model[3].out_channels,
            self._text.cls_projection_head.dense_to_output.out_features,
        ]
        if widths[0] != widths[1]:
            raise errors.EncoderError(
                self._name,
                f"its images have {widths[0]} numbers, its texts {widths[1]}: they are of two "
                "models",
            )
        return int(widths[0])

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3)."""
        return self.encode_pictures(images)

    def encode_pictures(self, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for n pictures uint8 (h, w, 3) of any sizes."""
        if not len(pictures):
            return np.empty((0, self._card.dimension), np.float32)
        return fitting.unit(self._batcher.run(self._image, list(pictures), self._pixels))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length; words past 512 tokens are not read."""
        import torch

        if not len(texts):
            return np.empty((0, self._card.dimension), np.float32)

        def encode(rows: Sequence[str]) -> torch.Tensor:
            fed = [self._batcher.fed(torch.from_numpy(array)) for array in self._words.batch(rows)]
            found: torch.Tensor = self._text(*fed)
            return found

        # As published: the model never saw the point at a sentence's end.
        return fitting.unit(self._batcher.run(encode, [text.rstrip("!?.") for text in texts]))

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        """Return float32 (1, side, side): its grey values spread over 0..1."""
        grey = np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))
        low, high = int(grey.min()), int(grey.max())
        if high > low:
            spread = (np.arange(256.0) - low) / (high - low) * 255
            grey = spread.clip(0, 255).astype(np.uint8)[grey]
        square = np.asarray(self._framing.square(Image.fromarray(grey)))
        return square[None].astype(np.float32) / np.float32(255)


@dataclasses.dataclass(frozen=True)
class _Parts:
    folder: Path
    images: Path
    texts: Path
    config: dict[str, Any]

    @staticmethod
    def read(folder: Path, name: str) -> _Parts:
        for file in (*IMAGE_FILES, *TEXT_FILES):
            folders.check_file(folder, file, _MOST_BYTES, name)
        folders.check_file(folder, "config.json", _MOST_CONFIG_BYTES, name)
        absent = missing(folder)
        if absent:
            raise errors.WeightsMissingError(name, f"{absent[0]} is missing")
        images, texts = (fitting.weights(folder, of, name) for of in (IMAGE_FILES, TEXT_FILES))
        present = [file for file in wordpieces.FILES if (folder / file).is_file()]
        folders.check_sums(folder, (images.name, texts.name, "config.json", *present), name)
        return _Parts(folder, images, texts, folders.read_json(folder / "config.json", name))

    def digest(self) -> str:
        """Return 64 hexadecimal digits over the weights and how images and words are fed."""
        sums = [folders.sha256(path) for path in (self.images, self.texts)]
        for file in wordpieces.FILES:
            if (self.folder / file).is_file():
                sums.append(f"{file} {folders.sha256(self.folder / file)}")
        heads = json.dumps(self.config.get("num_attention_heads"))
        return hashlib.sha256("\n".join([_VERSION, *sums, heads]).encode()).hexdigest()


def is_published(folder: Path) -> bool:
    """Tell whether a folder was downloaded as BioViL or BioViL-T are published."""
    if any((folder / f"{stem}.pt").is_file() for stem in _REPOSITORIES):
        return True
    if not any((folder / file).is_file() for file in IMAGE_FILES[1:]):
        config: dict[str, Any] = {}
        with contextlib.suppress(errors.EncoderError):
            folders.check_file(folder, "config.json", _MOST_CONFIG_BYTES, folder.name)
            config = folders.read_json(folder / "config.json", folder.name)
        return config.get("model_type") == "cxr-bert"
    return True


def missing(folder: Path) -> list[str]:
    """Return what a folder lacks, each with where it comes from; pickles count as there."""
    is_first = (folder / f"{_IMAGES}.pt").is_file() or (folder / f"{_IMAGES}.safetensors").is_file()
    images = _IMAGES if is_first else _IMAGES_OF_T
    source = f"of {_REPOSITORIES[images]}"
    wanted = {
        f"{images}.pt {source}": [*IMAGE_FILES, f"{images}.pt"],
        f"{_TEXTS}.bin {source}": [*TEXT_FILES, f"{_TEXTS}.bin"],
        f"config.json {source}": ["config.json"],
        f"vocab.txt {source}": ["vocab.txt", "tokenizer.json"],
    }
    return [
        said
        for said, files in wanted.items()
        if not any((folder / file).is_file() for file in files)
    ]


def conversions(folder: Path) -> dict[str, str]:
    """Return the pickles of a downloaded folder that are needed, and what they become."""
    found: dict[str, str] = {}
    wanted = ((_REPOSITORIES, ".pt", IMAGE_FILES), ((_TEXTS,), ".bin", TEXT_FILES))
    for stems, suffix, files in wanted:
        if not any((folder / file).is_file() for file in files):
            pickles = [f"{stem}{suffix}" for stem in stems]
            found |= {file: files[0] for file in pickles if (folder / file).is_file()}
    return found


def _card(
    described: base.ModelFolder, parts: _Parts, dimension: int, source: str
) -> base.EncoderCard:
    about = dict(described.about)
    return base.EncoderCard(
        name=described.name,
        kind="biovil",
        digest=parts.digest(),
        dimension=dimension,
        abilities=("images", "texts"),
        licence=str(about.get("licence", _LICENCE)),
        source=str(about.get("source", source)),
        limits=str(about.get("limits", _LIMITS)),
        modalities=tuple(str(m) for m in about.get("modalities", ("CR", "DX"))),
        runtime="torch",
    )


def _shapes(found: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in found.items()}
