"""The built-in encoder: what it promises of its files, its vectors and its speed."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import base, compact, projections


@pytest.fixture(scope="module")
def encoder() -> compact.Compact:
    return compact.Compact()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the model folder that a test may damage."""
    return Path(shutil.copytree(settings.resource("models/compact"), tmp_path / "compact"))


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _is_unit(vectors: np.ndarray) -> bool:
    return bool(
        vectors.dtype == np.float32
        and np.isfinite(vectors).all()
        and np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
    )


def test_that_it_is_found_by_its_name(tmp_path: Path):
    found = base.find("compact", models=tmp_path)
    assert isinstance(found, compact.Compact)
    assert found.card.abilities == ("images", "texts")
    assert found.card.device == "cpu"
    assert "not trained for diagnosis" in found.card.limits
    assert "Apache-2.0" in found.card.licence


def test_that_vectors_of_images_and_texts_are_of_one_length_and_unit(encoder: compact.Compact):
    images = encoder.encode_images(np.stack([_picture(100, 140, seed) for seed in range(11)]))
    texts = encoder.encode_texts(["chest CT", "MRI of the brain"])
    assert images.shape == (11, encoder.card.dimension)
    assert texts.shape == (2, encoder.card.dimension)
    assert _is_unit(images)
    assert _is_unit(texts)


@pytest.mark.parametrize("value", [0, 127, 255])
@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (1, 900), (900, 1), (224, 224)])
def test_that_blank_and_tiny_images_have_a_vector(
    encoder: compact.Compact, value: int, shape: tuple[int, int]
):
    assert _is_unit(encoder.encode_images(np.full((1, *shape, 3), value, np.uint8)))


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "x" * 5000, "pleural effusion " * 400, "胸部CT", "\0"]
)
def test_that_any_text_has_a_vector(encoder: compact.Compact, text: str):
    assert _is_unit(encoder.encode_texts([text]))


def test_that_nothing_asked_is_nothing_answered(encoder: compact.Compact):
    assert encoder.encode_images(np.empty((0, 5, 5, 3), np.uint8)).shape[0] == 0
    assert encoder.encode_texts([]).shape == (0, encoder.card.dimension)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((1, 0, 8, 3), np.uint8),
    ],
)
def test_that_an_array_which_is_no_picture_is_refused(encoder: compact.Compact, wrong: np.ndarray):
    with pytest.raises(ValueError, match=r"uint8|pixels"):
        encoder.encode_images(wrong)


def test_that_company_does_not_change_a_vector(encoder: compact.Compact):
    pictures = np.stack([_picture(60, 80, seed) for seed in range(9)])
    together = encoder.encode_images(pictures)
    alone = np.concatenate([encoder.encode_images(picture[None]) for picture in pictures])
    assert np.abs(together - alone).max() < 1e-5
    texts = ["CT", "axial T2-weighted MRI of the brain with a ring-enhancing lesion"]
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    assert np.abs(encoder.encode_texts(texts) - alone).max() < 1e-6


def test_that_a_second_encoder_and_a_second_thread_give_the_same_vectors(
    encoder: compact.Compact,
):
    picture = _picture(300, 200)[None]
    other = compact.Compact(threads=2)
    assert other.card == encoder.card
    assert np.abs(other.encode_images(picture) - encoder.encode_images(picture)).max() < 1e-5


def test_that_a_wide_picture_keeps_its_shape_between_bars(encoder: compact.Compact):
    wide = _picture(112, 224)
    boxed = np.zeros((224, 224, 3), np.uint8)
    boxed[56:168] = wide
    vectors = np.concatenate([encoder.encode_images(p[None]) for p in (wide, boxed)])
    assert vectors[0] @ vectors[1] > 0.9999


@pytest.mark.parametrize("name", [*compact.WEIGHTS, "model.toml"])
def test_that_a_missing_or_changed_file_is_named(copied: Path, name: str):
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(errors.WeightsMissingError, match=name):
        compact.Compact(copied)
    (copied / name).unlink()
    with pytest.raises(errors.WeightsMissingError, match=name):
        compact.verified(copied)


def test_that_checksums_must_be_there_and_name_every_file(copied: Path):
    sums = copied / compact.SUMS
    lines = sums.read_text("utf-8").splitlines(keepends=True)
    sums.write_text("".join(line for line in lines if "text.onnx" not in line), "utf-8")
    with pytest.raises(errors.WeightsMissingError, match=r"text\.onnx"):
        compact.Compact(copied)
    sums.unlink()
    with pytest.raises(errors.WeightsMissingError, match=compact.SUMS):
        compact.Compact(copied)


def test_that_words_on_the_card_do_not_change_the_digest_and_weights_do(copied: Path):
    sums = compact.verified(copied)
    assert compact.digest({**sums, "model.toml": "0" * 64}) == compact.digest(sums)
    for name in compact.WEIGHTS:
        assert compact.digest({**sums, name: "0" * 64}) != compact.digest(sums)


def _linear(width: int = 5, features: int = 12) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(2)
    return {
        "weights": np.ones(1, np.float32),
        "image.mean": draw.normal(size=features).astype(np.float32),
        "image.scale": draw.uniform(0.5, 2, features).astype(np.float32),
        "image.0.0.weight": draw.normal(size=(width, features)).astype(np.float32),
        "image.0.0.bias": draw.normal(size=width).astype(np.float32),
        "text.mean": np.zeros(6, np.float32),
        "text.scale": np.ones(6, np.float32),
        "text.0.0.weight": draw.normal(size=(width, 6)).astype(np.float32),
        "text.0.0.bias": draw.normal(size=width).astype(np.float32),
    }


def test_that_heads_which_do_not_fit_are_refused():
    fitting = _linear()
    assert projections.Heads(fitting).dimension == 5
    with pytest.raises(ValueError, match="fit"):
        projections.Heads({**fitting, "text.0.0.bias": np.ones(4)})
    with pytest.raises(ValueError, match="no array"):
        projections.Heads({"weights": np.ones(1)})


@pytest.mark.parametrize("members", [1, 3])
def test_that_the_places_of_linear_heads_add_up_to_the_cosine(members: int):
    arrays = {**_linear(), "weights": np.full(members, 1 / members, np.float16)}
    draw = np.random.default_rng(0)
    for member in range(1, members):
        for name in ("image.0.0.weight", "image.0.0.bias", "text.0.0.weight", "text.0.0.bias"):
            other = draw.normal(size=arrays[name].shape)
            arrays[name.replace(".0.", f".{member}.", 1)] = other
    heads = projections.Heads(arrays)
    activation = draw.uniform(0, 6, (12, 7, 7)).astype(np.float32)
    vector = projections.unit(draw.normal(size=(1, 5 * members)))[0]
    places = heads.shares(activation, vector)
    own = heads.project("image", activation.mean(axis=(1, 2))[None])[0]
    assert places.shape == (7, 7)
    assert places.mean() == pytest.approx(own @ vector, abs=1e-5)


def test_that_the_places_of_a_linear_head_are_its_numeric_derivative():
    arrays = {name: value.astype(np.float64) for name, value in _linear().items()}
    heads = projections.Heads(arrays)
    draw = np.random.default_rng(1)
    activation = draw.uniform(0, 6, (12, 7, 7))
    vector = projections.unit(draw.normal(size=(1, 5)))[0].astype(np.float64)

    def likeness(seen: np.ndarray) -> float:
        """Return the projection on the vector before it is brought to unit length."""
        values = (seen.mean(axis=(1, 2)) - arrays["image.mean"]) / arrays["image.scale"]
        return float((arrays["image.0.0.weight"] @ values + arrays["image.0.0.bias"]) @ vector)

    features = activation.mean(axis=(1, 2))
    values = (features - arrays["image.mean"]) / arrays["image.scale"]
    length = np.linalg.norm(arrays["image.0.0.weight"] @ values + arrays["image.0.0.bias"])
    places = heads.shares(activation, vector)
    nothing = heads.shares(np.zeros_like(activation), vector)[0, 0] * np.linalg.norm(
        arrays["image.0.0.weight"] @ (-arrays["image.mean"] / arrays["image.scale"])
        + arrays["image.0.0.bias"]
    )
    for row, column in ((0, 0), (3, 4), (6, 6)):
        step = 1e-4
        more = activation.copy()
        more[:, row, column] *= 1 + step
        slope = (likeness(more) - likeness(activation)) / step
        assert slope * 49 == pytest.approx(places[row, column] * length - nothing, abs=1e-3)


def test_that_a_network_without_a_map_says_where_by_covering_places(encoder: compact.Compact):
    picture = np.full((224, 224, 3), 30, np.uint8)
    picture[64:160, 64:160] = _picture(96, 96)
    own = encoder.encode_images(picture[None])[0]
    if encoder._heads.is_linear("image"):
        pytest.skip("the head that is shipped is linear")
    where = encoder.map(picture, own)
    assert where.shape == (compact.MAP_SIDE, compact.MAP_SIDE)
    assert where[2:5, 2:5].mean() > where[[0, -1]].mean()


def test_that_a_device_which_is_not_there_is_a_sentence():
    pytest.importorskip("torch")
    with pytest.raises(errors.EncoderError, match="device"):
        compact.Compact(device="cuda:97")


def test_that_the_model_folder_is_small_described_and_licensed():
    folder = settings.resource("models/compact")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 45_000_000
    about = tomllib.loads((folder / "model.toml").read_text("utf-8"))
    assert {"name", "kind", "dimension", "licence", "source", "provenance"} <= set(about)
    assert all(len(pin) == 64 for pin in about["pins"].values())
    card = (folder / "CARD.md").read_text("utf-8")
    assert "CC BY" in card
    assert "not trained for diagnosis" in card
    sums = (folder / compact.SUMS).read_text("utf-8")
    assert all(p.name in sums for p in folder.iterdir() if p.name != compact.SUMS)


def test_that_it_runs_without_torch_and_without_onnxruntime_at_import():
    code = (
        "import sys; from medsearch_desktop.engine.encoders import compact;"
        "assert not {'torch', 'onnxruntime', 'tokenizers'} & set(sys.modules);"
        "import numpy as np; encoder = compact.Compact();"
        "encoder.encode_images(np.zeros((1, 9, 9, 3), np.uint8)); encoder.encode_texts(['CT']);"
        "assert not {'torch', 'open_clip', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
