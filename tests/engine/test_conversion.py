"""Conversions for CPUs: made only of what computes the same, kept in int8 only if it finds it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import conversion, drawn, onnx_pair, openclip


@pytest.fixture(scope="module")
def shown() -> list[np.ndarray]:
    return drawn.pictures(25)


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one * other).sum(axis=1))


@pytest.mark.parametrize(
    ("make", "least", "precision"),
    [
        (small_models.biomedclip, 0.0, "int8"),
        (small_models.clip_vit_b32_quickgelu, 0.0, "int8"),
        (small_models.siglip, 0.0, "int8"),
        (small_models.clip_vit_b32_quickgelu, 1.01, "fp32"),
    ],
)
def test_that_a_conversion_gives_the_vectors_of_torch_or_in_int8_nearly(
    make: Callable[[Path], Path],
    least: float,
    precision: str,
    shown: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(conversion, "LEAST_OVERLAP", least)
    monkeypatch.setattr(conversion, "LEAST_TEXT_COSINE", least)
    folder = make(tmp_path / "model")
    before = sorted(path.name for path in folder.iterdir())
    stages = []
    verdict = conversion.convert(folder, progress=lambda *told: stages.append(told), pictures=shown)
    assert (verdict.precision, verdict.images) == (precision, 25)
    assert verdict.cosine > 0.99
    assert verdict.sentence.endswith(f"on the CPU it runs in {precision}.")
    assert {"load", "export", "compare", "compare int8"} <= {stage for stage, _, _ in stages}
    assert all(0 <= done <= total for _, done, total in stages)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "int8"])
    pair = openclip.load(folder, device="cpu")
    by_torch = openclip.OpenClip(folder, device="cpu")
    assert isinstance(pair, onnx_pair.OnnxPair)
    assert pair.card.precision == precision
    assert pair.card.digest == by_torch.card.digest
    least_cosine = 0.99999 if precision == "fp32" else 0.99
    for picture in shown[:4]:
        alike = _cosines(pair.encode_images(picture[None]), by_torch.encode_images(picture[None]))
        assert alike.min() > least_cosine
    texts = conversion.TEXTS
    assert _cosines(pair.encode_texts(texts), by_torch.encode_texts(texts)).min() > least_cosine


def test_that_drawn_pictures_are_the_same_at_each_call_and_unlike_one_another():
    first, again = drawn.pictures(200), drawn.pictures(200)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({picture.tobytes() for picture in first}) == 200
    assert all(p.dtype == np.uint8 and p.ndim == 3 and p.std() > 2 for p in first)


def test_that_too_few_pictures_to_compare_on_are_refused(tmp_path: Path):
    folder = small_models.biomedclip(tmp_path / "model")
    with pytest.raises(ValueError, match="too few"):
        conversion.convert(folder, pictures=drawn.pictures(5))


def test_that_a_model_which_cannot_be_converted_stays_with_torch_and_says_why(
    shown: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = small_models.biomedclip(tmp_path / "model")
    (folder / onnx_pair.FOLDER).mkdir()
    (folder / onnx_pair.FOLDER / onnx_pair.RECORD).write_text("{}", "utf-8")
    described = json.loads((folder / "open_clip_config.json").read_text("utf-8"))
    described["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"strip_sep_token": True}
    (folder / "open_clip_config.json").write_text(json.dumps(described), "utf-8")
    verdict = conversion.convert(folder, pictures=shown)
    assert verdict.images == 0
    assert "tokenizer cannot be written" in verdict.sentence
    assert verdict.sentence.endswith("runs by torch.")
    assert not (folder / onnx_pair.FOLDER).exists()
    assert isinstance(openclip.load(folder, device="cpu"), openclip.OpenClip)


def test_that_a_network_which_computes_something_else_is_not_kept(
    shown: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conversion, "_SAME_COSINE", 1.01)
    folder = small_models.biomedclip(tmp_path / "model")
    verdict = conversion.convert(folder, pictures=shown)
    assert "computes something else" in verdict.sentence
    assert not (folder / onnx_pair.FOLDER).exists()


def test_that_a_folder_without_sound_weights_is_refused_and_left_as_it_was(
    shown: list[np.ndarray], tmp_path: Path
):
    folder = small_models.biomedclip(tmp_path / "model")
    (folder / "open_clip_model.safetensors").write_bytes(b"12345678")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(errors.WeightsMissingError):
        conversion.convert(folder, pictures=shown)
    assert sorted(path.name for path in folder.iterdir()) == before
