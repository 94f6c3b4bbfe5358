"""BioViL and BioViL-T from a local folder: small random checkpoints in the published layout."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_biovil

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, biovil, pickles, torchvision_shim

SENTENCES = ["pleural effusion", "No small nodule.", "lung " * 600]


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_biovil.write(tmp_path_factory.mktemp("models") / "biovil-t")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "biovil"
    return small_biovil.write(folder, is_temporal=False, blocks=(1, 2, 1, 1))


@pytest.fixture
def copied(temporal: Path, tmp_path: Path) -> Path:
    """A folder of links to the small model, in which files can be replaced."""
    (tmp_path / "copied").mkdir()
    for path in temporal.iterdir():
        os.link(path, tmp_path / "copied" / path.name)
    return tmp_path / "copied"


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(20, 220, (3, 70, 50, 3), dtype=np.uint8)


def loaded(folder: Path) -> base.Encoder:
    return base.find(str(folder), models=Path("none"), device="cpu")


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(path)
    change(state)
    path.unlink()
    save_file(state, path)


def published_vectors(state: dict[str, Any], picture: np.ndarray, blocks: list[int]) -> Any:
    """Return the vector of one picture, step by step as the publication describes it."""
    torchvision_shim.declare_operators()
    import torch
    from PIL import Image
    from torch.nn import functional
    from torchvision import transforms
    from torchvision.models import feature_extraction, resnet

    is_temporal = "encoder.missing_previous_emb" in state
    trunk = resnet.ResNet(resnet.Bottleneck, blocks)
    prefix = "encoder.encoder."
    trunk.load_state_dict({k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)})
    grey = np.asarray(Image.fromarray(picture).convert("L")).astype(float)
    grey = (grey - grey.min()) / (grey.max() - grey.min()) * 255
    steps = [transforms.Resize(512), transforms.CenterCrop(448 if is_temporal else 480)]
    steps += [transforms.ToTensor(), transforms.Lambda(lambda shown: shown.repeat(3, 1, 1))]
    shown = transforms.Compose(steps)(Image.fromarray(grey.astype(np.uint8)))[None]
    map_of = feature_extraction.create_feature_extractor(trunk.eval(), ["layer4"])
    with torch.no_grad():
        found = map_of(shown)["layer4"]
        if is_temporal:
            static = functional.conv2d(found, state["encoder.backbone_to_vit.weight"])
            height, width = static.shape[2:]
            absent = state["encoder.missing_previous_emb"].repeat(1, 1, height, width)
            found = torch.cat([static, absent], dim=1)
        hidden = functional.conv2d(found, state["projector.model.0.weight"])
        norm = [
            state[f"projector.model.1.{key}"]
            for key in ("running_mean", "running_var", "weight", "bias")
        ]
        hidden = functional.relu(functional.batch_norm(hidden, *norm))
        last = state["projector.model.3.weight"], state["projector.model.3.bias"]
        projected = functional.conv2d(hidden, *last).mean(dim=(2, 3))
        return functional.normalize(projected, dim=1).numpy()[0]


@pytest.mark.parametrize("is_temporal", [True, False])
def test_that_a_picture_gets_the_vector_of_the_published_model(
    is_temporal: bool, request: pytest.FixtureRequest, pictures: np.ndarray
) -> None:
    folder = request.getfixturevalue("temporal" if is_temporal else "plain")
    blocks = (1, 1, 1, 1) if is_temporal else (1, 2, 1, 1)
    found = loaded(folder).encode_images(pictures)
    state = small_biovil.image_state(is_temporal, blocks, 1)
    for picture, vector in zip(pictures, found, strict=True):
        expected = published_vectors(state, picture, list(blocks))
        assert np.allclose(vector, expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-5


def test_that_a_text_gets_the_vector_of_a_bert_for_masked_words_with_the_head(
    temporal: Path,
) -> None:
    torchvision_shim.declare_operators()
    import torch
    import transformers
    from torch.nn import functional

    state = small_biovil.text_state(1)
    config = transformers.BertConfig(
        vocab_size=len(small_biovil.VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
    )
    model = transformers.BertForMaskedLM(config).eval()
    missed = model.load_state_dict(state, strict=False).missing_keys
    assert all(key.startswith("cls.") for key in missed)
    tokenizer = transformers.BertTokenizer(
        vocab={word: number for number, word in enumerate(small_biovil.VOCABULARY)}
    )
    expected = []
    for sentence in SENTENCES:
        ids = tokenizer(sentence.rstrip("!?."), truncation=True, max_length=512)["input_ids"]
        with torch.no_grad():
            first = model.bert(torch.tensor([ids])).last_hidden_state[:, 0]
            head = {key.removeprefix("cls_projection_head."): state[key] for key in state}
            hidden = functional.linear(
                first, head["dense_to_hidden.weight"], head["dense_to_hidden.bias"]
            )
            hidden = functional.layer_norm(
                functional.gelu(hidden),
                (small_biovil.DIMENSION,),
                head["LayerNorm.weight"],
                head["LayerNorm.bias"],
                1e-12,
            )
            out = functional.linear(
                hidden, head["dense_to_output.weight"], head["dense_to_output.bias"]
            )
            expected.append(functional.normalize(out, dim=1).numpy()[0])
    found = loaded(temporal).encode_texts(SENTENCES)
    assert np.allclose(found, expected, atol=1e-5)


def test_that_a_downloaded_folder_is_recognised_and_its_card_says_the_limits(
    temporal: Path, plain: Path
) -> None:
    for folder in (temporal, plain):
        card = loaded(folder).card
        assert (card.kind, card.name) == ("biovil", folder.name)
        assert card.dimension == small_biovil.DIMENSION
        assert card.abilities == ("images", "texts")
        assert (card.device, card.precision, card.runtime) == ("cpu", "fp32", "torch")
        assert "out of scope" in card.limits
        assert card.licence == "MIT"
    assert loaded(temporal).card.source == "microsoft/BiomedVLP-BioViL-T"
    assert loaded(plain).card.source == "microsoft/BiomedVLP-CXR-BERT-specialized"


def test_that_company_does_not_change_a_vector(temporal: Path, pictures: np.ndarray) -> None:
    encoder = loaded(temporal)
    alone = np.concatenate([encoder.encode_images(picture[None]) for picture in pictures])
    assert np.allclose(encoder.encode_images(pictures), alone, atol=1e-5)
    alone = np.concatenate([encoder.encode_texts([text]) for text in SENTENCES])
    assert np.allclose(encoder.encode_texts(SENTENCES), alone, atol=1e-5)
    assert encoder.encode_texts([]).shape == encoder.encode_images(pictures[:0]).shape == (0, 16)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_that_half_the_digits_give_nearly_the_same_vectors_and_the_same_digest(
    temporal: Path, pictures: np.ndarray, precision: str
) -> None:
    exact, half = (
        base.load_folder(temporal, device="cpu", precision=p) for p in ("fp32", precision)
    )
    assert (half.card.precision, half.card.digest) == (precision, exact.card.digest)
    for found, expected in (
        (base.image_vectors(half, pictures), base.image_vectors(exact, pictures)),
        (base.text_vectors(half, SENTENCES), base.text_vectors(exact, SENTENCES)),
    ):
        assert (found * expected).sum(axis=1).min() > 0.998


@pytest.mark.gpu
def test_that_a_gpu_gives_nearly_the_vectors_of_the_cpu(
    temporal: Path, pictures: np.ndarray
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_gpu = base.load_folder(temporal)
    assert on_gpu.card.device.startswith("cuda")
    expected = base.image_vectors(loaded(temporal), pictures)
    assert (base.image_vectors(on_gpu, pictures) * expected).sum(axis=1).min() > 0.998


def test_that_the_digest_follows_weights_and_words_and_not_what_the_card_says(
    temporal: Path, copied: Path
) -> None:
    digest = loaded(temporal).card.digest
    about = {"name": "mine", "kind": "biovil", "licence": "other"}
    (copied / "model.toml").write_text("\n".join(f'{k} = "{v}"' for k, v in about.items()))
    same = loaded(copied).card
    assert (same.name, same.licence, same.digest) == ("mine", "other", digest)
    words = (copied / "vocab.txt").read_text().splitlines()
    (copied / "vocab.txt").unlink()
    (copied / "vocab.txt").write_text("\n".join(words[:5] + words[:4:-1]))
    assert loaded(copied).card.digest != digest


def test_that_pickles_of_the_two_repositories_become_the_same_vectors(
    temporal: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    folder = small_biovil.write(tmp_path / "downloaded", ".bin")
    assert base.describe_folder(folder).kind == "biovil"
    with pytest.raises(errors.WeightsMissingError, match=r"proj_size_128\.pt is a pickle"):
        loaded(folder)
    needed = biovil.conversions(folder)
    assert set(needed.values()) == {"image.safetensors", "text.safetensors"}
    for pickled, safe in needed.items():
        pickles.convert(folder / pickled, folder / safe, "downloaded")
    assert biovil.conversions(folder) == {}
    expected = loaded(temporal).encode_images(pictures)
    assert np.allclose(loaded(folder).encode_images(pictures), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            "biovil_t_image_model_proj_size_128.safetensors",
            r"biovil_t_image_model_proj_size_128\.pt of microsoft/BiomedVLP-BioViL-T is missing",
        ),
        ("model.safetensors", r"pytorch_model\.bin of microsoft/BiomedVLP-BioViL-T is missing"),
        ("vocab.txt", r"vocab\.txt of microsoft/BiomedVLP-BioViL-T is missing"),
    ],
)
def test_that_a_missing_file_is_named_with_where_it_comes_from(
    copied: Path, file: str, said: str
) -> None:
    (copied / file).unlink()
    assert len(biovil.missing(copied)) == 1
    with pytest.raises(errors.WeightsMissingError, match=said):
        loaded(copied)


def test_that_weights_which_do_not_fit_are_told_by_the_tensor(copied: Path) -> None:
    import torch

    images = copied / "biovil_t_image_model_proj_size_128.safetensors"
    changed(images, lambda state: state.pop("encoder.encoder.layer1.0.conv2.weight"))
    with pytest.raises(errors.EncoderError, match=r"lacks the tensor .*layer1\.0\.conv2\.weight"):
        loaded(copied)
    changed(
        images,
        lambda state: state.update({"encoder.encoder.layer1.0.conv2.weight": torch.zeros(3)}),
    )
    with pytest.raises(errors.EncoderError, match=r"of the shape \[3\], the network has \[64, 64"):
        loaded(copied)


def test_that_towers_of_two_models_are_refused(copied: Path) -> None:
    from safetensors.torch import save_file

    (copied / "model.safetensors").unlink()
    save_file(small_biovil.text_state(1, dimension=8), copied / "model.safetensors")
    with pytest.raises(errors.EncoderError, match="have 16 numbers, its texts 8"):
        loaded(copied)


def test_that_a_file_which_differs_from_its_checksum_is_refused(copied: Path) -> None:
    (copied / "SHA256SUMS").write_text(f"{'0' * 64}  model.safetensors\n")
    with pytest.raises(errors.WeightsMissingError, match="does not name"):
        loaded(copied)


def test_that_heads_which_do_not_divide_the_tower_are_refused(copied: Path) -> None:
    (copied / "config.json").unlink()
    described = small_biovil.CONFIG | {"num_attention_heads": 5}
    (copied / "config.json").write_text(json.dumps(described))
    with pytest.raises(errors.EncoderError, match="5 heads do not fit"):
        loaded(copied)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MEDSEARCH_TRIAL"), reason="of the long tier")
def test_that_the_model_of_full_size_loads_and_encodes(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = small_biovil.write(tmp_path / "full", blocks=(3, 4, 6, 3))
    images = small_biovil.image_state(True, (3, 4, 6, 3), 1, 128)
    texts = small_biovil.text_state(1, words=30522, wide=768, layers=12, inner=3072, dimension=128)
    save_file(images, folder / "image.safetensors")
    save_file(texts, folder / "text.safetensors")
    words = [*small_biovil.VOCABULARY]
    words += [f"[unused{number}]" for number in range(30522 - len(words))]
    (folder / "vocab.txt").write_text("\n".join(words))
    (folder / "config.json").write_text(
        json.dumps(small_biovil.CONFIG | {"num_attention_heads": 12})
    )
    began = time.perf_counter()
    encoder = loaded(folder)
    took = {"load": time.perf_counter() - began}
    picture = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    calls = {
        "image": lambda: encoder.encode_images(picture),
        "text": lambda: encoder.encode_texts(["no pleural effusion " * 8]),
    }
    for name, call in calls.items():
        assert call().shape == (1, 128)
        began = time.process_time()
        for _ in range(5):
            call()
        took[name] = (time.process_time() - began) / 5
    count = {"image": images, "text": texts}
    millions = {k: sum(t.numel() for t in v.values()) / 1e6 for k, v in count.items()}
    said = {key: f"{1000 * seconds:.0f} ms" for key, seconds in took.items()}
    sys.stdout.write(f"BioViL-T of full size on the CPU: {said}, millions of weights {millions}\n")
    assert dataclasses.asdict(encoder.card)["dimension"] == 128
