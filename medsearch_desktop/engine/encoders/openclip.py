"""Any open_clip model from a local folder: safetensors weights, no network, CUDA or MPS."""

from __future__ import annotations

import contextlib
import copy
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsearch_desktop import errors, settings
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import (
    base,
    batching,
    onnx_pair,
    openclip_folder,
    preprocessing,
    tokens,
    torchvision_shim,
)

if TYPE_CHECKING:
    import torch

_CPU_BATCH, _GPU_BATCH = 8, 64
# Tables of words are padded to round numbers, by 0.3 % at most (250,112 rows of mT5 for 250,100
# words of SigLIP's); a tokenizer that knows less of them is another model's.
_LEAST_KNOWN = 0.95


@dataclass(frozen=True)
class Towers:
    """What a model is made of, for those who convert it: torch module, tokenizer, preprocessing.

    `pad` is the token that fills texts up where cutting it off changes nothing.
    """

    model: Any
    tokenizer: Any
    preprocessing: preprocessing.Preprocessing
    pad: int | None


def load(folder: Path, *, device: str = "auto", precision: str = "auto") -> base.Encoder:
    """Return the model of a folder: on a CPU its conversion, where it has one; else by torch.

    A conversion that is damaged or belongs to other weights is not used, and
    a notice says so. Raises what OpenClip raises.
    """
    notices = []
    name = base.describe_folder(folder).name
    if precision in ("auto", "int8", "fp32") and devices.is_cpu(name, device):
        try:
            return onnx_pair.OnnxPair(folder, precision=precision)
        except errors.EncoderMissingError as error:
            notices += [str(error)] if precision == "int8" else []
        except errors.EncoderError as error:
            notices.append(f"{errors.with_stop(str(error))} It runs by torch, more slowly.")
    encoder = OpenClip(folder, device=device, precision=precision)
    encoder.notices.extend(notices)
    return encoder


class OpenClip(batching.Batched):
    """A contrastive image-text model of the open_clip family, run by torch.

    The folder holds `open_clip_config.json` and one `.safetensors` file as
    published, the tokenizer's files where it has one of its own, and
    optionally `model.toml` (name, licence, source, limits, modalities) and
    SHA256SUMS. Raises WeightsMissingError, DeviceMemoryError or EncoderError.
    """

    def __init__(self, folder: Path, *, device: str = "auto", precision: str = "auto") -> None:
        described = base.describe_folder(folder)
        parts = openclip_folder.read(folder, described.name)
        self._name = described.name
        with base.told(self._name):
            self._seen = preprocessing.Preprocessing.of(parts.model, parts.preprocess)
        self._batcher = batching.Batcher(described.name, device, precision, _CPU_BATCH, _GPU_BATCH)
        self._model, self._tokenizer = self._loaded(parts)
        self._pad = self._trimmed_pad(parts)
        self._card = openclip_folder.card(parts, dict(described.about))

    @property
    def towers(self) -> Towers:
        return Towers(self._model, self._tokenizer, self._seen, self._pad)

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3)."""
        return self.encode_pictures(images)

    def encode_pictures(self, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for n pictures uint8 (h, w, 3) of any sizes."""

        def encode(shown: torch.Tensor) -> torch.Tensor:
            pixels = self._batcher.fed(_pixels(shown, self._seen))
            return self._unit(self._model.encode_image(pixels, normalize=False))

        return self._rows(self._batcher.run(encode, pictures, self._seen.shown))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length; words past the context length are not read."""

        def encode(rows: Sequence[str]) -> torch.Tensor:
            ids = self._trimmed(self._tokenizer([tokens.encodable(row) for row in rows]))
            return self._unit(self._model.encode_text(self._batcher.fed(ids), normalize=False))

        return self._rows(self._batcher.run(encode, texts))

    def _unit(self, found: torch.Tensor) -> torch.Tensor:
        """Return rows at unit length, in fp32: half the digits would not make them so."""
        from torch.nn import functional

        return functional.normalize(found.float(), dim=-1)

    def _rows(self, found: np.ndarray) -> np.ndarray:
        return found if len(found) else np.empty((0, self._card.dimension), np.float32)

    def _trimmed_pad(self, parts: openclip_folder.Folder) -> int | None:
        """Return the padding token when cutting the padding off leaves the vectors the same.

        So it is with text towers of transformers, which mask it; not where the
        class token stands behind the padding, and not with open_clip's own
        tower, whose positions are of fixed number.
        """
        if not parts.has_transformers_text or parts.model["text_cfg"].get("tokenizer_mode"):
            return None
        pad = getattr(self._model.text.config, "pad_token_id", None)
        return int(pad) if pad is not None else None

    def _trimmed(self, ids: torch.Tensor) -> torch.Tensor:
        if self._pad is None:
            return ids
        used = (ids != self._pad).any(dim=0).nonzero()
        return ids[:, : int(used.max()) + 1 if len(used) else 1]

    def _loaded(self, parts: openclip_folder.Folder) -> tuple[Any, Any]:
        """Return the model on its device and its tokenizer; the folder is not written to."""
        settings.offline()
        torchvision_shim.declare_operators()
        import open_clip
        import torch

        try:
            with _registered(parts) as name:
                model, _ = open_clip.create_model_from_pretrained(
                    name,
                    pretrained=str(parts.weights),
                    precision="fp32",
                    image_mean=_numbers(parts.preprocess.get("mean")),
                    image_std=_numbers(parts.preprocess.get("std")),
                    image_interpolation=parts.preprocess.get("interpolation"),
                    image_resize_mode=parts.preprocess.get("resize_mode"),
                )
            tokenizer = open_clip.get_tokenizer(f"local-dir:{parts.path}")
            model = self._batcher.placed(model)
        except torch.OutOfMemoryError as error:
            raise errors.DeviceMemoryError(self._name, "the memory is full") from error
        except (RuntimeError, OSError, ValueError, TypeError, KeyError, AssertionError) as error:
            raise errors.EncoderError(self._name, _reason(error)) from error
        _check_words(model, tokenizer, parts)
        return model, tokenizer


def _pixels(shown: torch.Tensor, seen: preprocessing.Preprocessing) -> torch.Tensor:
    """Return float32 (n, 3, h, w) of uint8 (n, h, w, 3), computed where the pictures lie."""
    unit = shown.float() / 255
    mean, spread = unit.new_tensor(seen.mean), unit.new_tensor(seen.spread)
    return ((unit - mean) / spread).permute(0, 3, 1, 2)


def _reason(error: Exception) -> str:
    """Return what went wrong in loading; torch says which tensor does not fit in a second line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "loading state_dict" in lines[0]:
        return f"its weights do not fit its configuration: {lines[1][:240]}"
    if isinstance(error, TypeError | KeyError):
        return f"its {openclip_folder.CONFIG} describes no model: {base.first_line(error)}"
    return base.first_line(error)


def _check_words(model: Any, tokenizer: Any, parts: openclip_folder.Folder) -> None:
    """Raise EncoderError where the tokenizer is of another vocabulary than the weights.

    Words that only pad a vocabulary of T5 are never made out of a text.
    """
    own = getattr(tokenizer, "tokenizer", None)
    if own is None:
        most = int(tokenizer.vocab_size) - 1
    else:
        words = {word: n for word, n in own.get_vocab().items() if "<extra_id_" not in word}
        most = max(words.values(), default=0)
    tower = getattr(model, "text", model)
    if parts.has_transformers_text:
        rows = int(tower.transformer.get_input_embeddings().num_embeddings)
    else:
        rows = int(tower.token_embedding.num_embeddings)
    if most >= rows:
        raise errors.EncoderError(
            parts.name,
            f"its tokenizer knows {most + 1} words and its weights {rows}: it is of another model",
        )
    if own is not None and len(own) < _LEAST_KNOWN * rows:
        raise errors.EncoderError(
            parts.name,
            f"its tokenizer knows {len(own)} words, its weights {rows}: it is of another model",
        )
    masked = getattr(getattr(tower, "config", None), "pad_token_id", None)
    if parts.has_transformers_text and own is not None and own.pad_token_id != masked:
        raise errors.EncoderError(
            parts.name,
            f"its tokenizer fills up with the word {own.pad_token_id}, its text tower leaves out "
            f"{masked}: it is of another model",
        )


@contextlib.contextmanager
def _registered(parts: openclip_folder.Folder) -> Iterator[str]:
    """Make the folder's architecture known to open_clip under a name, for the time of loading.

    open_clip asks the hub for the configuration of a text tower of
    transformers, even when the rest of the model lies in a folder: it is shown
    a temporary folder that holds nothing but that configuration.
    """
    from open_clip import factory

    config = copy.deepcopy(parts.model)
    name = f"medsearch-{parts.name}".replace("/", "-").replace(":", "-")
    with tempfile.TemporaryDirectory(prefix="medsearch-model-") as folder:
        if parts.has_transformers_text:
            described = json.dumps(openclip_folder.text_config(parts))
            (Path(folder) / "config.json").write_text(described, "utf-8")
            config["text_cfg"] |= {"hf_model_name": folder, "hf_model_pretrained": False}
        factory._MODEL_CONFIGS[name] = config
        try:
            yield name
        finally:
            del factory._MODEL_CONFIGS[name]


def _numbers(given: object) -> tuple[float, ...] | None:
    return tuple(float(n) for n in given) if isinstance(given, list | tuple) else None
