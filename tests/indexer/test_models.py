"""A model folder is copied in whole, compared with what came with it, and run without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import small_models
import small_timm

from indexer import models
from medsearch_desktop import errors, locks, settings
from medsearch_desktop.engine.encoders import base, reference


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The model we ship, under another name, as if it had been downloaded."""
    copy = tmp_path / "download"
    shutil.copytree(settings.resource("models/compact"), copy)
    about = (copy / "model.toml").read_text("utf-8")
    (copy / "model.toml").write_text(about.replace('name = "compact"', 'name = "other"'), "utf-8")
    sums = (copy / models.SUMS).read_text("utf-8").splitlines()
    changed = f"{_sha256(copy / 'model.toml')}  model.toml"
    lines = [changed if line.endswith("  model.toml") else line for line in sums]
    (copy / models.SUMS).write_text("\n".join(lines) + "\n", "utf-8")
    return copy


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a small BiomedCLIP would be downloaded, with safetensors weights."""
    return small_models.biomedclip(tmp_path_factory.mktemp("models") / "small-biomedclip")


@pytest.fixture
def download(published: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may spoil."""
    return Path(shutil.copytree(published, tmp_path / "small-biomedclip"))


def brought(folder: Path, home: Path) -> models.Imported:
    return models.copy_in(folder, home / "models", "cpu", convert=False)


def refused(folder: Path, home: Path, words: str) -> None:
    with pytest.raises(errors.EncoderError, match=words):
        brought(folder, home)
    assert list((home / "models").glob("*")) == []


def test_that_an_imported_model_is_found_by_its_name_and_checked_against_its_reference(
    folder: Path, home: Path
) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    steps: list[str] = []
    made = models.copy_in(
        folder, home / "models", "cpu", progress=lambda stage, done, total: steps.append(stage)
    )
    assert made.card.name == "other"
    assert made.verdict is None
    assert set(steps) == {"copying", "checking"}
    assert "other" in base.names(home / "models")
    place = home / "models" / "other"
    assert not (place / "pytorch_model.bin").exists()
    assert json.loads((place / reference.FILE).read_text())["digest"] == made.card.digest
    found = models.check("other", models=home / "models", device="cpu")
    assert found.ok
    assert found.picture == pytest.approx(1)
    assert found.text == pytest.approx(1)
    models.remove("other", home / "models")
    assert list((home / "models").iterdir()) == []


def test_that_a_changed_file_is_refused_and_nothing_is_left(folder: Path, home: Path) -> None:
    content = bytearray((folder / "heads.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "heads.safetensors").write_bytes(content)
    refused(folder, home, r"heads\.safetensors is not the file that SHA256SUMS names")


def test_that_a_name_that_is_taken_is_refused(folder: Path, home: Path) -> None:
    (home / "models" / "other").mkdir(parents=True)
    with pytest.raises(errors.EncoderError, match="installed already"):
        brought(folder, home)


def test_that_a_folder_without_a_model_is_refused(tmp_path: Path, home: Path) -> None:
    with pytest.raises(errors.EncoderMissingError):
        brought(tmp_path, home)


def test_that_what_is_built_in_or_not_there_is_not_removed(home: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.EncoderError, match="comes with the program"):
        models.remove("compact", home / "models")
    (tmp_path / "beside").mkdir()
    for name in ("other", "../beside", str(tmp_path / "beside")):
        with pytest.raises(errors.EncoderMissingError):
            models.remove(name, home / "models")
    assert (tmp_path / "beside").is_dir()


def test_that_reference_vectors_that_came_along_are_compared(folder: Path, home: Path) -> None:
    """Swapped weights, whose checksums were made to fit."""
    brought(folder, home)
    shutil.copy(home / "models" / "other" / reference.FILE, folder)
    models.remove("other", home / "models")
    assert brought(folder, home).card.name == "other"
    models.remove("other", home / "models")
    kept = json.loads((folder / reference.FILE).read_text())
    kept["text"] = [-number for number in kept["text"]]
    (folder / reference.FILE).write_text(json.dumps(kept))
    refused(folder, home, r"vector of the reference text is not the one stored with it \(cosine -1")


def test_that_a_swapped_model_is_told_by_a_check(folder: Path, home: Path) -> None:
    brought(folder, home)
    place = home / "models" / "other"
    kept = json.loads((place / reference.FILE).read_text())
    (place / reference.FILE).write_text(json.dumps(kept | {"digest": "0" * 64}))
    found = models.check("other", models=home / "models", device="cpu")
    assert not found.ok
    assert "not those that it was imported with" in found.sentence
    (place / reference.FILE).unlink()
    found = models.check("other", models=home / "models", device="cpu")
    assert found.ok
    assert "No reference vectors" in found.sentence


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("ViT-B-32.pt",), "lacks open_clip_config.json of the repository"),
        (("pytorch_model.bin", "config.json"), "lacks open_clip_config.json of the repository"),
        (("open_clip_config.json",), "open_clip_pytorch_model.bin of microsoft/BiomedCLIP"),
        (("open_clip_config.json",), "tokenizer.json of microsoft/BiomedCLIP"),
    ],
)
def test_that_an_incomplete_download_is_told_file_by_file(
    tmp_path: Path, home: Path, given: tuple[str, ...], words: str
) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    for file in given:
        (folder / file).write_text("{}")
    if "open_clip_config.json" in given:
        described = {"model_cfg": small_models.BIOMEDCLIP, "preprocess_cfg": {}}
        (folder / "open_clip_config.json").write_text(json.dumps(described))
        assert len(models.missing(folder)) == 3
    refused(folder, home, words)


def test_that_a_weight_that_is_no_number_is_named(download: Path, home: Path) -> None:
    from safetensors.torch import load_file, save_file

    state = load_file(download / "open_clip_model.safetensors")
    state["visual.head.proj.weight"][3, 4] = float("nan")
    save_file(state, download / "open_clip_model.safetensors")
    refused(download, home, r"visual\.head\.proj\.weight .* no finite number")


@pytest.mark.parametrize("style", ["{}  {}\n", "{} *{}\n", "{}  ./{}\r\n"])
def test_that_a_wrong_checksum_of_a_download_is_refused(
    download: Path, home: Path, style: str
) -> None:
    files = sorted(download.iterdir())
    lines = [style.format(_sha256(path).upper(), path.name) for path in files]
    (download / models.SUMS).write_text("".join(lines))
    with (download / "vocab.txt").open("a") as file:
        file.write("another\n")
    refused(download, home, r"vocab\.txt is not the file that SHA256SUMS names")


def test_that_a_list_of_checksums_which_cannot_be_understood_is_refused(
    download: Path, home: Path
) -> None:
    (download / models.SUMS).write_text(f"SHA256 (vocab.txt) = {'0' * 64}\n")
    refused(download, home, r"a line of its SHA256SUMS is no checksum and name: SHA256 \(vocab")


def test_that_what_a_killed_import_left_is_removed_and_what_another_is_at_work_in_is_not(
    folder: Path, home: Path
) -> None:
    left, removed, busy = (
        home / "models" / name for name in (".importing-a", ".removing-b-1", ".importing-c")
    )
    for path in (left, removed, busy):
        path.mkdir(parents=True)
        (path / "model.safetensors").write_bytes(b"weights")
    lock = locks.held(busy / ".lock")
    assert lock is not None
    with lock:
        brought(folder, home)
    assert {path.name for path in (home / "models").iterdir()} == {"other", ".importing-c"}


def test_that_a_path_that_is_no_folder_is_told_so(download: Path, home: Path) -> None:
    for path in (download / "vocab.txt", download / "absent"):
        refused(path, home, "is no folder")


def test_that_other_layouts_are_told_with_what_to_take_instead(download: Path, home: Path) -> None:
    weights = download / "open_clip_model.safetensors"
    weights.rename(download / "model-00001-of-00002.safetensors")
    shutil.copyfile(
        download / "model-00001-of-00002.safetensors", download / "model-00002-of-00002.safetensors"
    )
    refused(download, home, "in several parts are not read .*: take the one file")
    (download / "open_clip_config.json").unlink()
    (download / "config.json").write_text('{"model_type": "siglip"}')
    refused(download, home, "as transformers keeps it is not read, take timm/ViT-B-16-SigLIP")


def test_that_a_snapshot_of_a_cache_is_called_as_its_repository(
    published: Path, home: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models--someone--small-clip"
    snapshot, blobs = repository / "snapshots" / ("9f" * 20), repository / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(published.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert brought(snapshot, home).card.name == "small-clip"
    assert models.check("small-clip", models=home / "models", device="cpu").ok


def test_that_a_model_of_pictures_keeps_its_licence_and_is_shown_with_limits(
    tmp_path: Path, home: Path
) -> None:
    folder = small_timm.dinov2(tmp_path / "seeing")
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: msrla\n---\n# Seeing")
    card = brought(folder, home).card
    assert card.licence == "msrla"
    assert "reads no words" in card.limits
    assert "read its own model card" in card.limits
    assert models.check("seeing", models=home / "models", device="cpu").ok


def test_that_a_link_that_leads_out_of_a_download_is_not_followed(
    download: Path, home: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (download / "notes.txt").symlink_to(tmp_path / "secret.txt")
    refused(download, home, "notes.txt is a link that leads out of it")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("kind", ["biomedclip", "clip_vit_b32_quickgelu", "pubmedclip", "siglip"])
def test_that_each_layout_is_brought_in_and_runs_without_a_network(
    tmp_path: Path, home: Path, kind: str, suffix: str
) -> None:
    write: Callable[..., Path] = getattr(small_models, kind)
    folder = write(tmp_path / kind, suffix)
    before = {path.name: _sha256(path) for path in folder.iterdir()}
    assert models.missing(folder) == []
    made = brought(folder, home)
    assert {path.name: _sha256(path) for path in folder.iterdir()} == before
    assert made.card.abilities == ("images", "texts")
    place = home / "models" / kind
    assert not [path for path in place.rglob("*") if path.suffix == ".bin"]
    assert made.card.limits
    assert models.check(kind, models=home / "models", device="cpu").ok
    encoder = base.find(kind, models=home / "models", device="cpu")
    shown = np.random.default_rng(1).integers(0, 256, (2, 30, 50, 3), np.uint8)
    assert base.image_vectors(encoder, shown).shape == (2, made.card.dimension)


@pytest.mark.slow
def test_that_a_faster_copy_is_made_and_gives_nearly_the_same(download: Path, home: Path) -> None:
    made = models.copy_in(download, home / "models", "cpu")
    assert made.verdict is not None
    assert made.card.runtime == "onnxruntime"
    found = models.check("small-biomedclip", models=home / "models", device="cpu")
    assert found.ok
    exact = models.check("small-biomedclip", models=home / "models", device="cpu", precision="fp32")
    assert exact.card.digest == found.card.digest
    assert exact.picture == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_that_bringing_in_asks_for_no_network_even_where_there_is_one(
    download: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps the libraries silent is set by the child itself, not by who starts it."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    assert brought(download, home).card.name == "small-biomedclip"


@pytest.mark.slow
def test_that_a_download_with_code_in_its_pickle_leaves_nothing(
    download: Path, home: Path, tmp_path: Path
) -> None:
    import torch

    class Code:
        def __reduce__(self) -> tuple[object, ...]:
            return sys.exit, (3,)

    (download / "open_clip_model.safetensors").unlink()
    held = {"weight": torch.zeros(2), "code": Code()}
    torch.save(held, download / "open_clip_pytorch_model.bin")
    refused(download, home, r"asks to run sys\.exit while it is read")
