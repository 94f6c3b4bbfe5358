"""Any open_clip model from a local folder: safetensors weights, no network, CUDA or MPS."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from medsearch_desktop import errors, settings
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import base, openclip_folder, torchvision_shim

if TYPE_CHECKING:
    import torch

# Enters the digest: a change of how images or words are fed makes other vectors.
_VERSION = "open_clip 1"
_CPU_BATCH, _GPU_BATCH = 8, 64


class OpenClip:
    """A contrastive image-text model of the open_clip family, in fp32.

    The folder holds `open_clip_config.json` and one `.safetensors` file as
    published, the tokenizer's files where it has one of its own, and
    optionally `model.toml` (name, licence, source, limits, modalities) and
    SHA256SUMS. Raises WeightsMissingError, DeviceMemoryError or EncoderError.
    """

    def __init__(self, folder: Path, *, device: str = "auto", precision: str = "auto") -> None:
        described = base.describe_folder(folder)
        about = dict(described.about)
        parts = openclip_folder.read(folder, described.name)
        self._name = described.name
        self.notices: list[str] = []
        self.has_left_device = False
        self._device = devices.choose(described.name, device)
        self._model, self._transform, self._tokenizer = self._loaded(parts)
        self._pad = self._trimmed_pad(parts)
        self._batch = _CPU_BATCH if self._device.type == "cpu" else _GPU_BATCH
        self._card = base.EncoderCard(
            name=described.name,
            kind="open_clip",
            digest=openclip_folder.digest(parts, _VERSION),
            dimension=int(parts.model["embed_dim"]),
            abilities=("images", "texts"),
            licence=str(about.get("licence", "")),
            source=str(about.get("source", "")),
            limits=str(about.get("limits", "")),
            modalities=tuple(str(m) for m in about.get("modalities", ())),
            device=str(self._device),
            runtime="torch",
        )

    @property
    def card(self) -> base.EncoderCard:
        return dataclasses.replace(self._card, device=str(self._device))

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        """Return float32 (n, d), unit length, for uint8 (n, h, w, 3)."""
        import torch
        from PIL import Image

        def encode(rows: Sequence[np.ndarray]) -> torch.Tensor:
            pictures = [self._transform(Image.fromarray(np.ascontiguousarray(r))) for r in rows]
            fed = torch.stack(pictures).to(self._device)
            found: torch.Tensor = self._model.encode_image(fed, normalize=True)
            return found

        return self._in_batches(encode, list(images))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (n, d), unit length; words past the context length are not read."""

        def encode(rows: Sequence[str]) -> torch.Tensor:
            tokens = self._trimmed(self._tokenizer(list(rows))).to(self._device)
            found: torch.Tensor = self._model.encode_text(tokens, normalize=True)
            return found

        return self._in_batches(encode, list(texts))

    def _in_batches(self, encode: Any, rows: Sequence[Any]) -> np.ndarray:
        """Encode batch by batch; a batch that the device has no memory for is halved."""
        import torch

        done = np.empty((len(rows), self._card.dimension), np.float32)
        start = 0
        while start < len(rows):
            part = rows[start : start + self._batch]
            try:
                with torch.inference_mode():
                    vectors = encode(part).float().cpu().numpy()
            except RuntimeError as error:
                self._make_room(error)
                continue
            done[start : start + len(part)] = vectors
            start += len(part)
        return done

    def _make_room(self, error: RuntimeError) -> None:
        """Halve the batch after an out-of-memory error; raises what cannot be helped."""
        import torch

        is_memory = isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
        if not is_memory:
            raise errors.EncoderError(self._name, base.first_line(error)) from error
        if self._batch == 1 and self._device.type == "cpu":
            raise errors.DeviceMemoryError(self._name, f"{self._device} is full") from error
        if self._batch == 1:
            self._go_on_on_cpu(self._model)
            return
        self._batch //= 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _go_on_on_cpu(self, model: Any) -> None:
        """Leave a device that has no room even for one picture, and say so."""
        import torch

        full, self._device = self._device, torch.device("cpu")
        self._model, self._batch = model.to(self._device), _CPU_BATCH
        self.has_left_device = True
        if full.type == "cuda":
            torch.cuda.empty_cache()
        self.notices.append(
            f"The memory of {full} is full: the encoder {self._name} goes on on the CPU, more "
            "slowly. Close other programs that use the GPU and start again."
        )

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

    def _trimmed(self, tokens: torch.Tensor) -> torch.Tensor:
        if self._pad is None:
            return tokens
        used = (tokens != self._pad).any(dim=0).nonzero()
        return tokens[:, : int(used.max()) + 1 if len(used) else 1]

    def _loaded(self, parts: openclip_folder.Folder) -> tuple[Any, Any, Any]:
        """Return model, image transform and tokenizer; the folder is not written to."""
        settings.offline()
        torchvision_shim.declare_operators()
        import open_clip
        import torch

        try:
            with _registered(parts) as name:
                model, transform = open_clip.create_model_from_pretrained(
                    name,
                    pretrained=str(parts.weights),
                    precision="fp32",
                    image_mean=_numbers(parts.preprocess.get("mean")),
                    image_std=_numbers(parts.preprocess.get("std")),
                    image_interpolation=parts.preprocess.get("interpolation"),
                    image_resize_mode=parts.preprocess.get("resize_mode"),
                )
            tokenizer = open_clip.get_tokenizer(f"local-dir:{parts.path}")
            model = self._moved(model.eval().requires_grad_(False))
        except torch.OutOfMemoryError as error:
            raise errors.DeviceMemoryError(self._name, f"{self._device} is full") from error
        except (RuntimeError, OSError, ValueError, TypeError, KeyError, AssertionError) as error:
            raise errors.EncoderError(self._name, base.first_line(error)) from error
        return model, transform, tokenizer

    def _moved(self, model: Any) -> Any:
        """Return the model on its device, or on the CPU when that has no room for it."""
        import torch

        try:
            return model.to(self._device)
        except torch.OutOfMemoryError:
            if self._device.type == "cpu":
                raise
            self._go_on_on_cpu(model)
            return self._model


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
