"""Image-only models from a local folder: of timm, and DINOv2-like ones of transformers."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_timm
import toy_collection
from PIL import Image

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import collection, search
from medsearch_desktop.engine.encoders import base, cropping, image_only, pickles, torchvision_shim
from medsearch_desktop.imaging import isolated

# As the processor of the small DINOv2 model says.
FRAMING = cropping.Framing(
    56, 56, "bicubic", tuple(small_timm.MEAN), tuple(small_timm.STD), floors=True
)
ARCHITECTURES = ("test_vit.r160_in1k", "test_resnet", "test_convnext", "test_efficientnet")


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 170, 230, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_timm.dinov2(tmp_path_factory.mktemp("models") / "rad-dino")


@pytest.fixture
def copied(dino: Path, tmp_path: Path) -> Path:
    (tmp_path / "copied").mkdir()
    for path in dino.iterdir():
        os.link(path, tmp_path / "copied" / path.name)
    return tmp_path / "copied"


def loaded(folder: Path) -> base.Encoder:
    return base.find(str(folder), models=Path("none"), device="cpu")


def described(folder: Path, file: str, **changes: Any) -> Path:
    """Change keys of a JSON file, never what it is linked to."""
    found = json.loads((folder / file).read_text()) | changes
    (folder / file).unlink()
    (folder / file).write_text(json.dumps(found))
    return folder


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_that_a_timm_folder_gives_the_features_of_timm_with_its_own_preprocessing(
    architecture: str, tmp_path: Path, pictures: np.ndarray
) -> None:
    torchvision_shim.declare_operators()
    import timm
    import torch
    from safetensors.torch import load_file

    folder = small_timm.timm(tmp_path / "model", architecture)
    encoder = loaded(folder)
    assert encoder.card.kind == "image_only"
    assert encoder.card.abilities == ("images",)
    model = timm.create_model(architecture.partition(".")[0], pretrained=False, num_classes=7)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    model.reset_classifier(0)
    config = json.loads((folder / "config.json").read_text())["pretrained_cfg"]
    transform = timm.data.create_transform(
        **timm.data.resolve_data_config(pretrained_cfg=config), is_training=False
    )
    with torch.no_grad():
        shown = torch.stack([transform(Image.fromarray(picture)) for picture in pictures])
        expected = torch.nn.functional.normalize(model.eval()(shown), dim=1).numpy()
    assert encoder.card.dimension == expected.shape[1]
    assert np.allclose(encoder.encode_images(pictures), expected, atol=2e-5)


def test_that_a_dinov2_folder_gives_the_class_token_of_transformers(
    dino: Path, pictures: np.ndarray
) -> None:
    import torch
    import transformers
    from safetensors.torch import load_file

    encoder = loaded(dino)
    assert (encoder.card.kind, encoder.card.dimension) == ("image_only", 48)
    model = transformers.Dinov2Model(transformers.Dinov2Config(**small_timm.DINO)).eval()
    model.load_state_dict(load_file(dino / "model.safetensors"))
    shown = torch.from_numpy(np.stack([FRAMING.pixels(picture) for picture in pictures]))
    with torch.no_grad():
        states = model(shown)
        expected = torch.nn.functional.normalize(states.pooler_output, dim=1).numpy()
        patches = states.last_hidden_state[:, 1:].mean(dim=1)
        averaged = torch.nn.functional.normalize(patches, dim=1).numpy()
    assert np.allclose(encoder.encode_images(pictures), expected, atol=1e-5)
    (dino / "model.toml").write_text('name = "rad-dino"\nkind = "image_only"\npool = "mean"\n')
    try:
        mean = loaded(dino)
    finally:
        (dino / "model.toml").unlink()
    assert np.allclose(mean.encode_images(pictures), averaged, atol=1e-5)
    assert mean.card.digest != encoder.card.digest


def test_that_pictures_are_prepared_as_the_processor_of_transformers_does(
    dino: Path, pictures: np.ndarray
) -> None:
    import transformers

    processor = transformers.BitImageProcessor.from_pretrained(dino)
    expected = processor(list(pictures), return_tensors="np")["pixel_values"]
    found = np.stack([FRAMING.pixels(picture) for picture in pictures])
    # Its own resizer rounds otherwise: a level of grey or two, out of 256.
    assert np.abs(found - expected).max() < 3 / 255 / small_timm.STD[0]


@pytest.mark.parametrize("size", [(40, 50), (1, 1), (1, 3000), (3000, 1), (2, 9), (160, 160)])
def test_that_any_shape_of_picture_becomes_the_square_around_its_centre(
    size: tuple[int, int],
) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, :] = np.linspace(0, 255, size[1]).astype(np.uint8)[:, None]
    shown = cropping.Framing(64, 72, "bilinear").pixels(picture)
    assert shown.shape == (3, 64, 64)
    middle = float(picture[size[0] // 2, size[1] // 2, 0]) / 255
    assert abs(float(shown[0, 32, 32]) - middle) < max(0.02, 1.1 / size[1])


def test_that_asked_for_words_it_says_in_a_sentence_that_it_reads_none(dino: Path) -> None:
    encoder = loaded(dino)
    for ask in (encoder.encode_texts, lambda texts: base.text_vectors(encoder, texts)):
        with pytest.raises(errors.EncoderError, match=r"rad-dino.*(images|reads no words)"):
            ask(["effusion"])


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as started:
        yield started


def test_that_words_and_pictures_are_still_searched_in_a_collection_without_text_vectors(
    dino: Path, tmp_path: Path, readers: isolated.Readers
) -> None:
    encoder = loaded(dino)
    shown = toy_collection.write_pictures(tmp_path / "pictures")
    name = "Toys seen"
    with collection.CollectionWriter(tmp_path / "c", name=name, card=encoder.card) as writer:
        for number in range(8):
            picture = toy_collection.picture(toy_collection.COLOURS[number])
            vectors = base.image_vectors(encoder, picture[None])
            writer.add(toy_collection.case(number, shown), vectors, None, [b"thumbnail"])
        writer.commit()
    with collection.open_collection(tmp_path / "c") as opened:

        def ask(*terms: queries.Term) -> queries.Results:
            query = queries.Query(terms=terms)
            return list(search.search(query, [opened], lambda card: encoder, readers))[-1]

        by_words = ask(queries.TextTerm("fracture"))
        assert by_words.hits
        assert all("fracture" in hit.case.labels for hit in by_words.hits)
        assert [n for n in by_words.notices if "rad-dino sees pictures and reads no words" in n]
        ref = cases.ImageRef(str(shown / "cyan.png"))
        by_picture = ask(queries.ImageTerm(ref))
        assert by_picture.hits[0].case.title == "cyan square"
        both = ask(queries.ImageTerm(ref), queries.TextTerm("square"))
        assert both.hits


@pytest.mark.parametrize("architecture", ["hf-hub:timm/x", "local-dir:/tmp/x", "hf_hub:a/b"])
def test_that_a_configuration_which_asks_for_the_network_is_refused(
    copied: Path, architecture: str
) -> None:
    described(copied, "config.json", architecture=architecture, pretrained_cfg={})
    with pytest.raises(errors.EncoderError, match="would have to be downloaded"):
        loaded(copied)


def test_that_a_configuration_cannot_name_a_file_or_code_to_run(tmp_path: Path) -> None:
    folder = small_timm.timm(tmp_path / "model")
    args = {"checkpoint_path": str(tmp_path / "none.bin"), "pretrained": True, "scriptable": True}
    described(folder, "config.json", model_args=args, auto_map={"AutoModel": "evil.Model"})
    assert loaded(folder).card.dimension == 64


def test_that_a_network_larger_than_its_file_is_refused_before_it_takes_memory(
    copied: Path,
) -> None:
    described(copied, "config.json", hidden_size=300_000)
    began = time.process_time()
    with pytest.raises(errors.EncoderError, match=r"of the shape .* the network has"):
        loaded(copied)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "clip"}, "its network clip is none of dinov2"),
        ({"hidden_size": "many"}, "."),
        ({"num_hidden_layers": 3}, r"lacks the tensor encoder\.layer\.2"),
        ({"num_hidden_layers": 1}, r"holds encoder\.layer\.1\..*, which the network has not"),
    ],
)
def test_that_a_configuration_which_does_not_fit_is_told(
    copied: Path, changes: dict[str, Any], said: str
) -> None:
    (copied / "model.toml").write_text('name = "copied"\nkind = "image_only"\n')
    described(copied, "config.json", **changes)
    with pytest.raises(errors.EncoderError, match=said):
        loaded(copied)


def test_that_an_unknown_architecture_is_told(copied: Path) -> None:
    described(copied, "config.json", architecture="oracle_large", pretrained_cfg={})
    with pytest.raises(errors.EncoderError, match="timm does not know its architecture"):
        loaded(copied)


@pytest.mark.parametrize("file", ["model.safetensors", "preprocessor_config.json"])
def test_that_a_missing_file_is_named(copied: Path, file: str) -> None:
    (copied / file).unlink()
    assert [said for said in image_only.missing(copied) if said.startswith(file)]
    with pytest.raises(errors.WeightsMissingError, match=file):
        loaded(copied)


def test_that_a_pickle_is_named_and_converted_it_gives_the_same_vectors(
    dino: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    folder = small_timm.dinov2(tmp_path / "downloaded", ".bin")
    with pytest.raises(errors.WeightsMissingError, match=r"pytorch_model\.bin is a pickle"):
        loaded(folder)
    ((pickled, safe),) = image_only.conversions(folder).items()
    pickles.convert(folder / pickled, folder / safe, "downloaded")
    expected = loaded(dino).encode_images(pictures)
    assert np.allclose(loaded(folder).encode_images(pictures), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 10**7}, "asks for 10000000 layers, its weights are 43 tensors"),
        ({"patch_size": 0}, r"its config\.json or .* describes no network that can be built: int"),
        ({"hidden_act": "none"}, r"describes no network that can be built: no 'none' is in it"),
    ],
)
def test_that_a_configuration_of_no_network_is_told_before_one_is_built(
    copied: Path, change: dict[str, object], words: str
) -> None:
    described = json.loads((copied / "config.json").read_text())
    (copied / "config.json").unlink()  # a link to the one that the other tests read
    (copied / "config.json").write_text(json.dumps(described | change))
    with pytest.raises(errors.EncoderError, match=words):
        loaded(copied)


def test_that_weights_which_differ_from_their_checksum_are_refused(copied: Path) -> None:
    (copied / "SHA256SUMS").write_text(
        "".join(f"{'0' * 64}  {path.name}\n" for path in copied.iterdir())
    )
    with pytest.raises(errors.WeightsMissingError, match="differs from its checksum"):
        loaded(copied)


@pytest.mark.gpu
def test_that_a_gpu_gives_nearly_the_vectors_of_the_cpu(dino: Path, pictures: np.ndarray) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    on_gpu = base.load_folder(dino)
    assert on_gpu.card.device.startswith("cuda")
    expected = base.image_vectors(loaded(dino), pictures)
    assert (base.image_vectors(on_gpu, pictures) * expected).sum(axis=1).min() > 0.998


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MEDSEARCH_TRIAL"), reason="of the long tier")
@pytest.mark.parametrize("kind", ["rad-dino", "timm"])
def test_that_the_model_of_full_size_loads_and_encodes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "timm":
        folder = small_timm.timm(tmp_path / kind, "vit_base_patch16_224")
        shown = {"input_size": [3, 224, 224], "mean": small_timm.MEAN, "std": small_timm.STD}
        described(folder, "config.json", pretrained_cfg=shown)
    else:
        # As RAD-DINO: a ViT-B/14 at 518 pixels, 1,370 tokens.
        large = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
        large |= {"mlp_ratio": 4, "image_size": 518}
        monkeypatch.setattr(small_timm, "DINO", small_timm.DINO | large)
        folder = small_timm.dinov2(tmp_path / kind)
        size = {"size": {"shortest_edge": 518}, "crop_size": {"height": 518, "width": 518}}
        described(folder, "preprocessor_config.json", **size)
    began = time.perf_counter()
    encoder = loaded(folder)
    load = time.perf_counter() - began
    picture = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    assert encoder.encode_images(picture).shape == (1, 768)
    began = time.process_time()
    for _ in range(3):
        encoder.encode_images(picture)
    took = (time.process_time() - began) / 3
    weights = (folder / "model.safetensors").stat().st_size / 4e6
    sys.stdout.write(
        f"{kind} of full size on the CPU: load {load:.1f} s, image {1000 * took:.0f} ms, "
        f"{weights:.1f} million weights\n"
    )
