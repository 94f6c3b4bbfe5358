"""Open_clip models from a local folder: small random checkpoints in the true layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medsearch_desktop import errors
from medsearch_desktop.engine import devices
from medsearch_desktop.engine.encoders import base, openclip, torchvision_shim

CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 64,
        "heads": 1,
        "layers": 2,
    },
}
BIOMEDCLIP_LIKE = {
    "embed_dim": 32,
    "vision_cfg": {
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
        "image_size": 224,
    },
    "text_cfg": {
        "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "context_length": 64,
    },
}
PREPROCESS = {"mean": [0.48, 0.45, 0.4], "std": [0.27, 0.26, 0.28]}
BERT = {
    "model_type": "bert",
    "vocab_size": 40,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "pleural", "effusion", "chest", "brain"]


def write_model(folder: Path, config: dict, state: dict) -> Path:
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    described = {"model_cfg": config, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    whole = {key: tensor.contiguous().clone() for key, tensor in state.items()}
    save_file(whole, folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torchvision_shim.declare_operators()
    import open_clip
    import torch

    torch.manual_seed(1)
    model = open_clip.CLIP(**CLIP)
    return write_model(tmp_path_factory.mktemp("models") / "small-clip", CLIP, model.state_dict())


@pytest.fixture(scope="module")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as BiomedCLIP is published: a BERT text tower without its config.json."""
    torchvision_shim.declare_operators()
    import open_clip
    import torch

    torch.manual_seed(2)
    base_folder = tmp_path_factory.mktemp("models")
    (base_folder / "bert").mkdir()
    (base_folder / "bert" / "config.json").write_text(json.dumps(BERT))
    config = json.loads(json.dumps(BIOMEDCLIP_LIKE))
    config["text_cfg"] |= {"hf_model_name": str(base_folder / "bert"), "hf_model_pretrained": False}
    model = open_clip.CustomTextCLIP(**config)
    folder = write_model(base_folder / "small-biomedclip", BIOMEDCLIP_LIKE, model.state_dict())
    (folder / "vocab.txt").write_text("\n".join(WORDS + [f"[unused{k}]" for k in range(31)]))
    described = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder


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
    assert seen == [3, 3, 2, 1, 1, 1]
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
    monkeypatch.setattr(open_clip.CLIP, "to", lambda self, device: self)
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
    import shutil

    digest = openclip.OpenClip(clip_folder, device="cpu").card.digest
    copy = tmp_path / "copy"
    shutil.copytree(clip_folder, copy)
    assert openclip.OpenClip(copy, device="cpu").card.digest == digest
    described = json.loads((copy / "open_clip_config.json").read_text())
    described["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (copy / "open_clip_config.json").write_text(json.dumps(described))
    assert openclip.OpenClip(copy, device="cpu").card.digest != digest


def test_that_a_pickle_is_refused_with_a_sentence(tmp_path: Path) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": PREPROCESS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(errors.WeightsMissingError, match="pickle, which can run code"):
        base.find(str(tmp_path), models=Path("none"))


def test_that_a_model_that_asks_to_run_its_own_code_is_refused(tmp_path: Path) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": PREPROCESS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "x.Y"}}')
    with pytest.raises(errors.EncoderError, match="run code"):
        base.find(str(tmp_path), models=Path("none"))


def test_that_a_changed_weight_file_is_found_by_its_checksum(tmp_path: Path) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": PREPROCESS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "a.safetensors").write_bytes(b"12345678")
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  a.safetensors\n")
    with pytest.raises(errors.WeightsMissingError, match=r"a\.safetensors differs"):
        base.find(str(tmp_path), models=Path("none"))


@pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 64, b"\x04" + bytes(7) + b"[1]x"])
def test_that_a_truncated_weight_file_is_refused(tmp_path: Path, content: bytes) -> None:
    described = {"model_cfg": CLIP, "preprocess_cfg": PREPROCESS}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(described))
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(errors.WeightsMissingError, match="not a whole safetensors file"):
        base.find(str(tmp_path), models=Path("none"))
