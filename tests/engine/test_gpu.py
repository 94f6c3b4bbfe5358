"""What a real GPU computes: the same neighbours as the CPU, and the card that says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import small_models
import torch

from medsearch_desktop.engine.encoders import base, compact, drawn, openclip

_DEVICE = "cuda" if torch.cuda.is_available() else "mps"
_HAS_GPU = torch.cuda.is_available() or torch.backends.mps.is_available()

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not _HAS_GPU, reason="needs a CUDA or MPS device"),
]


def _vectors(encoder: base.Encoder, pictures: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([base.image_vectors(encoder, picture[None]) for picture in pictures])


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of the ten nearest that two encoders of the same pictures agree on."""
    found = []
    for vectors in (one, other):
        cosines = vectors @ vectors.T
        np.fill_diagonal(cosines, -2)
        found.append(np.argsort(-cosines, axis=1)[:, :10])
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(*found, strict=True)]))


def test_that_compact_uses_the_gpu_and_finds_what_it_finds_on_the_cpu():
    pictures = drawn.pictures(200)
    on_cpu, on_gpu = compact.Compact(device="cpu"), compact.Compact()
    assert on_gpu.card.device.startswith(_DEVICE)
    assert on_gpu.card.runtime == "torch"
    assert on_gpu.card.digest == on_cpu.card.digest
    one, other = _vectors(on_cpu, pictures), _vectors(on_gpu, pictures)
    assert (one * other).sum(axis=1).min() > 0.999
    assert _overlap(one, other) >= 0.99
    assert base.taken_notices(on_gpu) == []


@pytest.mark.parametrize(
    "make", [small_models.biomedclip, small_models.clip_vit_b32_quickgelu, small_models.siglip]
)
@pytest.mark.parametrize(("precision", "least"), [("auto", 0.999), ("fp32", 0.9999)])
def test_that_an_open_clip_model_has_the_vectors_of_the_cpu(
    make, precision: str, least: float, tmp_path: Path
):
    folder = make(tmp_path / "model")
    on_cpu = openclip.OpenClip(folder, device="cpu", precision="fp32")
    on_gpu = base.find(str(folder), models=Path("none"), precision=precision)
    assert on_gpu.card.device.startswith(_DEVICE)
    assert on_gpu.card.precision == ("fp32" if precision == "fp32" else "fp16")
    pictures, texts = drawn.pictures(20), ["chest", "pleural effusion", "", "brain " * 300]
    assert (_vectors(on_cpu, pictures) * _vectors(on_gpu, pictures)).sum(axis=1).min() > least
    alike = (on_cpu.encode_texts(texts) * on_gpu.encode_texts(texts)).sum(axis=1)
    assert alike.min() > least
    assert base.taken_notices(on_gpu) == []


def test_that_many_pictures_at_once_have_the_vectors_of_one_at_a_time(tmp_path: Path):
    folder = small_models.biomedclip(tmp_path / "model")
    encoder = openclip.OpenClip(folder)
    pictures = np.random.default_rng(0).integers(0, 256, (300, 90, 120, 3), np.uint8)
    together = encoder.encode_images(pictures)
    alone = np.concatenate([encoder.encode_images(p[None]) for p in pictures[::50]])
    assert (together[::50] * alone).sum(axis=1).min() > 0.9999
