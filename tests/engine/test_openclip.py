"""Open_clip models from a local folder: small random checkpoints in the true layout."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models

from medsearch_desktop import errors
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import base, clip_layout, openclip, openclip_folder

CLIP = small_models.CLIP_QUICKGELU


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.clip_vit_b32_quickgelu(tmp_path_factory.mktemp("models") / "small-clip")


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as BiomedCLIP is published: a BERT text tower without its config.json."""
    return small_models.biomedclip(tmp_path_factory.mktemp("models") / "small-biomedclip")


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models.siglip(tmp_path_factory.mktemp("models") / "small-siglip")


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (3, 40, 50, 3), dtype=np.uint8)


def test_that_a_clip_folder_encodes_as_open_clip_itself_does(
    clip_folder: Path, pictures: np.ndarray
) -> None:
    import open_clip
    import torch
    from PIL import Image

    encoder = base.find(str(clip_folder), models=Path("none"), device="cpu")
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{clip_folder}")(["pleural effusion"])
    with torch.no_grad():
        shown = torch.stack([transform(Image.fromarray(p)) for p in pictures])
        images = model.encode_image(shown, normalize=True).numpy()
        texts = model.encode_text(tokens, normalize=True).numpy()
    assert np.allclose(encoder.encode_images(pictures), images, atol=1e-5)
    assert np.allclose(encoder.encode_texts(["pleural effusion"]), texts, atol=1e-5)
    assert encoder.card.dimension == 24
    assert encoder.card.device == "cpu"


def test_that_a_siglip_folder_encodes_as_open_clip_itself_does(
    siglip_folder: Path, pictures: np.ndarray
) -> None:
    """No class token, sentence pieces, and an image that is squashed."""
    import open_clip
    import torch
    from PIL import Image

    encoder = openclip.OpenClip(siglip_folder, device="cpu")
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{siglip_folder}")
    words = ["Pleural effusion, chest CT.", "brain"]
    tokens = open_clip.get_tokenizer(f"local-dir:{siglip_folder}")(words)
    with torch.no_grad():
        shown = torch.stack([transform(Image.fromarray(p)) for p in pictures])
        images = model.encode_image(shown, normalize=True).numpy()
        texts = model.encode_text(tokens, normalize=True).numpy()
    assert np.allclose(encoder.encode_texts(words), texts, atol=1e-5)
    assert np.allclose(encoder.encode_images(pictures), images, atol=1e-4)
    assert texts[0] @ texts[1] < 0.999


def test_that_a_biomedclip_like_folder_gives_what_it_does_with_its_bert_configuration(
    bert_folder: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    whole = tmp_path / bert_folder.name
    shutil.copytree(bert_folder, whole)
    parts = openclip_folder.read(bert_folder, "given")
    described = openclip_folder.text_config(parts)
    assert (
        described["vocab_size"]
        == parts.shapes["text.transformer.embeddings.word_embeddings.weight"][0]
    )
    (whole / "config.json").write_text(
        json.dumps(small_models.BERT | {"vocab_size": described["vocab_size"]})
    )
    words = ["chest", "left pleural effusion"]
    alone, helped = (openclip.OpenClip(f, device="cpu") for f in (bert_folder, whole))
    assert np.allclose(alone.encode_texts(words), helped.encode_texts(words), atol=1e-6)
    assert alone.encode_texts(words)[0] @ alone.encode_texts(words)[1] < 0.999


def test_that_a_biomedclip_like_folder_loads_without_its_bert_configuration(
    bert_folder: Path, pictures: np.ndarray
) -> None:
    before = sorted(path.name for path in bert_folder.iterdir())
    encoder = openclip.OpenClip(bert_folder, device="cpu")
    vectors = np.concatenate(
        [encoder.encode_images(pictures), encoder.encode_texts(["chest", "pleural effusion"])]
    )
    assert vectors.shape == (5, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert sorted(path.name for path in bert_folder.iterdir()) == before


def test_that_cutting_the_padding_leaves_the_vectors_the_same(bert_folder: Path) -> None:
    encoder = openclip.OpenClip(bert_folder, device="cpu")
    texts = ["chest", "pleural effusion", "brain chest brain"]
    trimmed = np.concatenate([encoder.encode_texts([text]) for text in texts])
    # Beside a text of the full context length nothing can be cut.
    full = encoder.encode_texts([*texts, "chest " * 100])[:3]
    assert np.allclose(trimmed, full, atol=1e-5)


def test_that_a_full_device_halves_the_batch_and_a_batch_of_one_fails_with_a_sentence(
    clip_folder: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip
    import torch

    encoder = openclip.OpenClip(clip_folder, device="cpu")
    wanted = encoder.encode_images(pictures)
    encode, seen = open_clip.CLIP.encode_image, []

    def limited(self: object, fed: torch.Tensor, normalize: bool) -> torch.Tensor:
        seen.append(len(fed))
        if len(fed) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, fed, normalize=normalize)

    monkeypatch.setattr(open_clip.CLIP, "encode_image", limited)
    most = 1
    assert np.allclose(encoder.encode_images(pictures), wanted, atol=1e-5)
    assert seen == [3, 1, 1, 1]
    most = 0
    with pytest.raises(errors.DeviceMemoryError):
        encoder.encode_images(pictures)


def test_that_a_full_gpu_is_left_for_the_cpu_once_and_told_once(
    clip_folder: Path, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fake device: whatever lies on it finds no memory, even alone."""
    import open_clip
    import torch

    wanted = openclip.OpenClip(clip_folder, device="cpu").encode_images(pictures)
    encode, seen = open_clip.CLIP.encode_image, []

    def full(self: object, fed: torch.Tensor, normalize: bool) -> torch.Tensor:
        seen.append(fed.device.type)
        if fed.device.type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(self, fed, normalize=normalize)

    monkeypatch.setattr(open_clip.CLIP, "encode_image", full)
    monkeypatch.setattr(open_clip.CLIP, "to", lambda self, *where, **how: self)
    monkeypatch.setattr(devices, "choose", lambda name, device: torch.device("meta"))
    encoder = openclip.OpenClip(clip_folder, device="cuda")
    assert encoder.card.device == "meta"
    assert np.allclose(encoder.encode_images(pictures), wanted, atol=1e-5)
    assert seen[-1] == "cpu"
    assert set(seen[:-1]) == {"meta"}
    assert encoder.card.device == "cpu"
    assert encoder.has_left_device
    (told,) = base.taken_notices(encoder)
    assert "goes on on the CPU" in told
    assert base.taken_notices(encoder) == []


def test_that_other_weights_or_another_preprocessing_change_the_digest(
    clip_folder: Path, tmp_path: Path
) -> None:
    digest = openclip.OpenClip(clip_folder, device="cpu").card.digest
    copy = tmp_path / "copy"
    shutil.copytree(clip_folder, copy)
    assert openclip.OpenClip(copy, device="cpu").card.digest == digest
    described = json.loads((copy / "open_clip_config.json").read_text())
    described["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (copy / "open_clip_config.json").write_text(json.dumps(described))
    assert openclip.OpenClip(copy, device="cpu").card.digest != digest


def test_that_quickgelu_is_taken_from_the_configuration(
    clip_folder: Path, tmp_path: Path, pictures: np.ndarray
) -> None:
    plain = _changed(clip_folder, tmp_path / "plain", lambda model: model.pop("quick_gelu"))
    quick = openclip.OpenClip(clip_folder, device="cpu").encode_images(pictures)
    exact = openclip.OpenClip(plain, device="cpu").encode_images(pictures)
    assert np.abs(quick - exact).max() > 1e-3


def test_that_weights_of_openai_without_quickgelu_are_doubted(
    clip_folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    def doubts(folder: Path) -> list[str]:
        return openclip_folder.doubts(openclip_folder.read(folder, folder.name))

    assert doubts(clip_folder) == []
    plain = _changed(clip_folder, tmp_path / "plain", lambda model: model.pop("quick_gelu"))
    assert doubts(plain) == []
    # OpenAI's numbers have 16 bits, whatever they are kept in.
    weights = plain / "open_clip_model.safetensors"
    save_file({k: v.half().float() for k, v in load_file(weights).items()}, weights)
    (said,) = doubts(plain)
    assert "QuickGELU" in said
    assert "vit_base_patch32_clip_224.openai" in said
    named = _changed(clip_folder, tmp_path / "vit-openai", lambda model: model.pop("quick_gelu"))
    assert len(doubts(named)) == 1


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_that_pubmedclip_rewritten_for_open_clip_gives_the_vectors_of_transformers(
    tmp_path: Path, pictures: np.ndarray, suffix: str
) -> None:
    import torch
    import transformers
    from safetensors.torch import load_file

    from medsearch_desktop.engine.encoders import pickles, preprocessing

    folder = small_models.pubmedclip(tmp_path / "small-pubmedclip", suffix)
    assert clip_layout.is_published(folder)
    assert clip_layout.missing(folder) == []
    model = transformers.CLIPModel(transformers.CLIPConfig.from_pretrained(folder)).eval()
    words = ["left pleural effusion", "CT, chest, axial"]
    for source, target in clip_layout.conversions(folder).items():
        pickles.convert(folder / source, folder / target, "given")
    assert not model.load_state_dict(load_file(folder / "model.safetensors"), False).missing_keys
    clip_layout.adopt(folder, "given")
    encoder = openclip.OpenClip(folder, device="cpu")
    ids = encoder.towers.tokenizer(words)
    seen = encoder.towers.preprocessing
    assert isinstance(seen, preprocessing.Preprocessing)
    rows = np.stack([seen.shown(picture) for picture in pictures]).astype(np.float32) / 255
    rows = (rows - np.float32(seen.mean)) / np.float32(seen.spread)
    with torch.no_grad():
        texts = model.text_projection(model.text_model(input_ids=ids).pooler_output)
        fed = torch.from_numpy(rows.transpose(0, 3, 1, 2))
        images = model.visual_projection(model.vision_model(pixel_values=fed).pooler_output)
    for found, wanted in (
        (encoder.encode_texts(words), texts),
        (encoder.encode_images(pictures), images),
    ):
        wanted = torch.nn.functional.normalize(wanted, dim=-1).numpy()
        assert np.allclose(found, wanted, atol=1e-5)


def test_that_a_clip_of_another_vocabulary_is_not_rewritten(tmp_path: Path) -> None:
    folder = small_models.pubmedclip(tmp_path / "other")
    words = json.loads((folder / "vocab.json").read_text())
    words["lung</w>"], words["knee</w>"] = words["knee</w>"], words["lung</w>"]
    (folder / "vocab.json").write_text(json.dumps(words))
    with pytest.raises(errors.EncoderError, match=r"vocab\.json is of another vocabulary"):
        clip_layout.adopt(folder, "other")


def test_that_a_tokenizer_of_another_model_is_refused(bert_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "swapped"
    shutil.copytree(bert_folder, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["unheard"] = len(tokenizer["model"]["vocab"]) + 5
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(errors.EncoderError, match=r"knows \d+ words and its weights \d+: it is of"):
        base.load_folder(folder, device="cpu")


def test_that_a_tokenizer_of_far_fewer_words_than_the_weights_is_refused(
    bert_folder: Path, tmp_path: Path
) -> None:
    import tokenizers

    folder = tmp_path / "fewer"
    shutil.copytree(bert_folder, folder)
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "chest"]
    numbered = {word: number for number, word in enumerate(marks)}
    tokenizers.BertWordPieceTokenizer(numbered).save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(marks))
    with pytest.raises(errors.EncoderError, match=r"knows 6 words, its weights \d+: it is of anot"):
        base.load_folder(folder, device="cpu")


def test_that_a_vocabulary_larger_than_that_of_the_weights_is_refused(
    clip_folder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    def smaller(model: dict) -> None:
        model["text_cfg"]["vocab_size"] = 1000

    folder = _changed(clip_folder, tmp_path / "small", smaller)
    state = load_file(folder / "open_clip_model.safetensors")
    state["token_embedding.weight"] = state["token_embedding.weight"][:1000].clone()
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(errors.EncoderError, match="knows 49408 words and its weights 1000"):
        openclip.OpenClip(folder, device="cpu")


def test_that_weights_of_another_size_are_told_by_the_name_of_a_tensor(
    clip_folder: Path, tmp_path: Path
) -> None:
    def wider(model: dict) -> None:
        model["embed_dim"] = 32

    folder = _changed(clip_folder, tmp_path / "wider", wider)
    with pytest.raises(errors.EncoderError, match=r"do not fit its configuration.*text_projection"):
        openclip.OpenClip(folder, device="cpu")


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("open_clip_config.json", "neither model.toml nor open_clip_config.json"),
        ("open_clip_model.safetensors", r"open_clip_pytorch_model\.bin of microsoft/BiomedCLIP"),
        ("tokenizer_config.json", r"tokenizer_config\.json of microsoft/BiomedCLIP"),
    ],
)
def test_that_a_missing_file_is_named_with_where_it_comes_from(
    bert_folder: Path, tmp_path: Path, file: str, words: str
) -> None:
    folder = tmp_path / "given"
    shutil.copytree(bert_folder, folder)
    (folder / file).unlink()
    with pytest.raises(errors.EncoderError, match=words):
        base.load_folder(folder, device="cpu")
    assert openclip_folder.missing(folder)[0].startswith(file)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["vision_cfg"].update(timm_model_name="hf-hub:a/b"), "have to be downloaded"),
        (lambda m: m["vision_cfg"].update(timm_model_name="local-dir:/"), "have to be downloaded"),
        (lambda m: m["text_cfg"].update(tokenizer_kwargs={"proxies": {}}), "what is not known"),
        (lambda m: m["text_cfg"].update(trust_remote_code=True), "run code that came with it"),
        (lambda m: m["vision_cfg"].update(width=10**6), r"vision_cfg\.width 1000000, which its we"),
        (lambda m: m["text_cfg"].update(layers=10**6), r"text_cfg\.layers 1000000, which its weig"),
        (lambda m: m.update(embed_dim="many"), r"open_clip_config\.json describes no model"),
    ],
)
def test_that_a_configuration_that_asks_for_what_it_must_not_have_is_refused(
    clip_folder: Path, tmp_path: Path, change: Callable[[dict], object], words: str
) -> None:
    folder = _changed(clip_folder, tmp_path / "asking", change)
    with pytest.raises(errors.EncoderError, match=words):
        base.load_folder(folder, device="cpu")


def _changed(source: Path, folder: Path, change: Callable[[dict], object]) -> Path:
    shutil.copytree(source, folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    change(config["model_cfg"])
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder


def test_that_a_pickle_is_refused_with_a_sentence(tmp_path: Path) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(errors.WeightsMissingError, match="pickle, which can run code"):
        base.find(str(tmp_path), models=Path("none"))


def test_that_a_model_that_asks_to_run_its_own_code_is_refused(tmp_path: Path) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}')
    with pytest.raises(errors.EncoderError, match="run code"):
        base.find(str(tmp_path), models=Path("none"))


def test_that_a_changed_weight_file_is_found_by_its_checksum(tmp_path: Path) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "a.safetensors").write_bytes(b"12345678")
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  a.safetensors\n")
    with pytest.raises(errors.WeightsMissingError, match=r"a\.safetensors differs"):
        base.find(str(tmp_path), models=Path("none"))


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 64, b"\x04" + bytes(7) + b"[1]x"])
def test_that_a_truncated_weight_file_is_refused(tmp_path: Path, content: bytes) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": {}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(errors.WeightsMissingError, match="not a whole safetensors file"):
        base.find(str(tmp_path), models=Path("none"))


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MEDSEARCH_TRIAL"), reason="models of 0.6 to 0.8 GB")
@pytest.mark.parametrize(
    ("kind", "millions", "dimension"),
    [("biomedclip", 195.9, 512), ("clip_vit_b32_quickgelu", 151.3, 512), ("siglip", 203.2, 768)],
)
def test_that_a_published_architecture_of_full_size_is_built_from_its_folder(
    tmp_path: Path, kind: str, millions: float, dimension: int
) -> None:
    """Prints what loading and encoding cost in CPU seconds, with random weights."""
    folder = getattr(small_models, kind)(tmp_path / kind, full=True)
    started = time.process_time()
    encoder = openclip.OpenClip(folder, device="cpu", precision="fp32")
    loading = time.process_time() - started
    count = sum(parameter.numel() for parameter in encoder.towers.model.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.1)
    assert encoder.card.dimension == dimension
    cost = {}
    shown = np.random.default_rng(0).integers(0, 256, (1, 300, 260, 3), np.uint8)
    for what, encode in (
        ("picture", lambda: base.image_vectors(encoder, shown)),
        ("text", lambda: base.text_vectors(encoder, ["left pleural effusion on chest ct"])),
    ):
        encode()
        started = time.process_time()
        for _ in range(3):
            encode()
        cost[what] = (time.process_time() - started) / 3 * 1000
    sys.stdout.write(
        f"{kind}: {count:.1f} M parameters, loaded in {loading:.1f} CPU s, "
        f"a picture {cost['picture']:.0f} and a text {cost['text']:.0f} CPU ms\n"
    )
