"""The built-in encoder: EfficientNet-lite0, MiniLM and trained heads, run by onnxruntime."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import base, folders

# Everything the vectors depend on, in the order in which it enters the digest.
WEIGHTS = ("image.onnx", "text.onnx", "tokenizer.json", "heads.safetensors")
SUMS = "SHA256SUMS"
# How pixels and words reach the networks. A change here makes other vectors, so the text
# enters the digest; mean and scale are those that EfficientNet-lite was trained with.
PREPROCESSING = "letterbox 224 bilinear gap 3 (v-127)/128; 128 tokens, mean; heads 1"
SIDE = 224
_PIXEL_MEAN, _PIXEL_SCALE = 127.0, 128.0
_MAX_TOKENS = 128
# More than any of its files has; what is larger is not read.
_MOST_BYTES = 512 << 20
_MOST_TOKENIZER_BYTES = 16 << 20
_BATCH = 8  # images a run: more gains nothing on a CPU and takes memory


class Compact:
    """A small dual encoder of images and texts that runs on one or two CPU threads.

    Raises WeightsMissingError when a file of the folder is missing or is not
    the one that SHA256SUMS names, EncoderError when the files do not fit one
    another. Vectors are float32 and of unit length, for any input: a blank
    image and an empty text have one too. Safe to call from several threads.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        device: str = "auto",
        precision: str = "auto",
        threads: int = 1,
    ) -> None:
        """Load from `folder` (default: the one we ship); `device` is always the CPU."""
        self._folder = folder or settings.resource("models/compact")
        sums = verified(self._folder)
        with base.told(self._folder.name):
            plain = tomllib.loads((self._folder / "model.toml").read_text("utf-8"))
            self._build(plain, sums, threads)

    def _build(self, plain: dict[str, Any], sums: dict[str, str], threads: int) -> None:
        self._heads = Heads.read(self._folder / "heads.safetensors")
        if self._heads.dimension != plain["dimension"]:
            raise errors.EncoderError(
                plain["name"],
                f"model.toml says {plain['dimension']} numbers, the heads make "
                f"{self._heads.dimension}",
            )
        self._card = base.EncoderCard(
            name=str(plain["name"]),
            kind=plain["kind"],
            digest=digest(sums),
            dimension=self._heads.dimension,
            abilities=("images", "texts"),
            licence=plain["licence"],
            source=plain["source"],
            limits=plain["limits"],
            modalities=tuple(plain["modalities"]),
            device="cpu",
            runtime="onnxruntime",
        )
        self._trunks = Trunks(self._folder, threads=threads)

    @property
    def card(self) -> base.EncoderCard:
        return self._card

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3) of any height and width."""
        return self._heads.project("image", self._trunks.image_features(images))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length, for n texts; words past 128 tokens are not read."""
        return self._heads.project("text", self._trunks.text_features(texts))


class Trunks:
    """The two frozen networks of a folder, without the heads."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        settings.offline()  # before the import, which starts telemetry
        self._name = folder.name
        import onnxruntime
        import tokenizers

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads must not burn the second core while the window paints.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        cpu = ["CPUExecutionProvider"]
        self._image: Any = onnxruntime.InferenceSession(
            _network(folder / "image.onnx"), options, providers=cpu
        )
        self._text: Any = onnxruntime.InferenceSession(
            _network(folder / "text.onnx"), options, providers=cpu
        )
        self._tokenizer = tokenizers.Tokenizer.from_str(_tokenizer(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def image_features(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, 1280) for uint8 (n, h, w, 3)."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"not uint8 (n, h, w, 3): {images.dtype} {images.shape}")
        parts = [np.empty((0, 1280), np.float32)]
        for start in range(0, len(images), _BATCH):
            pixels = np.stack([_pixels(image) for image in images[start : start + _BATCH]])
            with base.told(self._name):
                parts += self._image.run(["features"], {"pixels": pixels})
        return np.concatenate(parts)

    def text_features(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, 384): the mean over the tokens, of unit length.

        One text a run: the int8 network chooses its scales per batch, so a
        text would get another vector in other company.
        """
        rows = [np.empty((0, 384), np.float32)]
        for text in texts:
            with base.told(self._name):
                ids = np.array([self._tokenizer.encode(text).ids], np.int64)
                fed = {
                    "input_ids": ids,
                    "attention_mask": np.ones_like(ids),
                    "token_type_ids": np.zeros_like(ids),
                }
                (states,) = self._text.run(["last_hidden_state"], fed)
            rows.append(_unit(states[0].mean(axis=0, keepdims=True)))
        return np.concatenate(rows)


class Heads:
    """The trained projections of both towers, as arrays.

    Each tower has `members` small networks. A member standardises the
    features, applies its layers with ReLU between them, and brings the result
    to unit length; the members stand side by side in the vector, each with its
    weight. So the cosine of two vectors is the weighted mean of the members'.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        """Take arrays `weights`, TOWER.mean, TOWER.scale and TOWER.MEMBER.LAYER.weight and .bias.

        Raises ValueError when one is missing or the two towers do not fit.
        """
        self._arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
        try:
            self._weights = self._arrays["weights"]
            widths = {tower: self._widths(tower) for tower in ("image", "text")}
        except KeyError as error:
            raise ValueError(f"the heads hold no array {error}") from error
        if widths["image"] != widths["text"] or 0 in widths["image"]:
            raise ValueError("the heads of images and texts do not fit one another")
        self.dimension = sum(widths["image"])

    @staticmethod
    def read(path: Path) -> Heads:
        """Return the heads of a safetensors file; raises EncoderError if they are none."""
        import safetensors
        from safetensors.numpy import load_file

        try:
            return Heads(load_file(path))
        except (safetensors.SafetensorError, ValueError) as error:
            raise errors.EncoderError(path.parent.name, f"{path.name}: {error}") from error

    def _widths(self, tower: str) -> list[int]:
        return [
            len(self._arrays[f"{tower}.{member}.{self._layers(tower, member) - 1}.bias"])
            for member in range(len(self._weights))
        ]

    def _layers(self, tower: str, member: int) -> int:
        prefix = f"{tower}.{member}."
        return sum(n.startswith(prefix) and n.endswith(".weight") for n in self._arrays)

    def project(self, tower: str, features: np.ndarray) -> np.ndarray:
        """Return the unit vectors (n, d) of one tower's features (n, f)."""
        start = (features - self._arrays[f"{tower}.mean"]) / self._arrays[f"{tower}.scale"]
        parts = []
        for member, weight in enumerate(self._weights):
            values = start
            layers = self._layers(tower, member)
            for layer in range(layers):
                prefix = f"{tower}.{member}.{layer}"
                values = values @ self._arrays[prefix + ".weight"].T
                values = values + self._arrays[prefix + ".bias"]
                if layer < layers - 1:
                    values = np.maximum(values, 0)
            parts.append(_unit(values) * np.sqrt(weight))
        return _unit(np.concatenate(parts, axis=1))


def verified(folder: Path) -> dict[str, str]:
    """Return the checksums of a model folder after comparing them with its files.

    Raises WeightsMissingError, which names the first file that is missing or
    differs.
    """
    name = folder.name
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.WeightsMissingError(name, f"{SUMS} cannot be read") from error
    sums = {file: sha for sha, _, file in (line.partition("  ") for line in lines)}
    folders.check_sums_names(name, sums)
    for file in (*WEIGHTS, "model.toml"):
        folders.check_file(folder, file, _MOST_BYTES, name)
        if file not in sums:
            raise errors.WeightsMissingError(name, f"{SUMS} does not name {file}")
        try:
            with (folder / file).open("rb") as stream:
                seen = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise errors.WeightsMissingError(name, f"{file} is missing") from error
        if seen != sums[file]:
            raise errors.WeightsMissingError(name, f"{file} is not the file that {SUMS} names")
    return sums


def _network(path: Path) -> bytes:
    """Return the bytes of a network that lies whole in its file.

    ONNX lets a tensor name another file by its `location`, anywhere on the
    machine; ours do not, so that the letters alone are refused.
    """
    content = path.read_bytes()
    if b"location" in content:
        raise errors.EncoderError(path.parent.name, f"{path.name} asks for a file outside of it")
    return content


def _tokenizer(path: Path) -> str:
    """Return a tokenizer of word pieces, which cannot make a text longer than it is."""
    if path.stat().st_size > _MOST_TOKENIZER_BYTES:
        raise errors.EncoderError(path.parent.name, f"{path.name} is larger than any is")
    text = path.read_text("utf-8")
    plain = json.loads(text)
    kinds = [(plain.get(part) or {}).get("type") for part in ("model", "normalizer")]
    if kinds != ["WordPiece", "BertNormalizer"]:
        raise errors.EncoderError(path.parent.name, f"{path.name} is no tokenizer of word pieces")
    return text


def digest(sums: dict[str, str]) -> str:
    """Return 64 hexadecimal digits over the weights and the preprocessing."""
    parts = [*(f"{file} {sums[file]}" for file in WEIGHTS), PREPROCESSING]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _pixels(image: np.ndarray) -> np.ndarray:
    """Return float32 (3, 224, 224) of a uint8 (h, w, 3), black bars beside it."""
    height, width = image.shape[:2]
    if min(height, width) == 0:
        raise ValueError(f"an image without pixels: {image.shape}")
    if (height, width) != (SIDE, SIDE):
        longest = max(height, width)
        size = (max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest)))
        picture = Image.fromarray(np.ascontiguousarray(image))
        boxed = Image.new("RGB", (SIDE, SIDE))
        left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
        # The gap first halves large pictures by plain averages, a third of the time.
        small = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)
        boxed.paste(small, (left, top))
        image = np.asarray(boxed)
    scaled = (image.astype(np.float32) - _PIXEL_MEAN) / _PIXEL_SCALE
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Return the rows at unit length; a row of zeros becomes the diagonal direction."""
    rows = np.asarray(rows, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    dead = ~np.isfinite(lengths) | (lengths < 1e-12)
    spread = np.float32(1 / np.sqrt(max(rows.shape[1], 1)))
    return np.where(dead, spread, rows / np.where(dead, 1, lengths)).astype(np.float32)
