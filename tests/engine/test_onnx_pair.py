"""A converted model on the CPU: no torch, no foreign files, and torch where it is not sound."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_models

from medsearch_desktop import errors
from medsearch_desktop.engine.encoders import base, conversion, drawn, onnx_pair, openclip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as BiomedCLIP is published, with its conversion."""
    made = small_models.biomedclip(tmp_path_factory.mktemp("models") / "small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "LEAST_OVERLAP", 0.0)
        assert conversion.convert(made, pictures=drawn.pictures(25)).precision == "int8"
    return made


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "small"))


_SEARCH = """
import sys
from pathlib import Path
import numpy as np
from medsearch_desktop import cases, queries
from medsearch_desktop.engine import collection, search
from medsearch_desktop.engine.encoders import base, drawn
from medsearch_desktop.imaging import isolated

if __name__ == "__main__":
    encoder = base.find(sys.argv[1], models=Path("none"))
    with collection.CollectionWriter(Path(sys.argv[2]), name="c", card=encoder.card) as writer:
        for number, text in enumerate(("brain", "pleural effusion", "knee")):
            image = cases.CaseImage(cases.ImageRef(f"{number}.png"))
            case = cases.Case(case_id=text, title=text, text=text, images=(image,))
            picture = drawn.pictures(number + 1)[-1][None]
            vectors = base.image_vectors(encoder, picture), base.text_vectors(encoder, [text])
            writer.add(case, vectors[0], vectors[1][0])
        writer.commit()
    readers = isolated.Readers(1)
    query = queries.Query(terms=(queries.TextTerm("pleural effusion"),))
    with collection.open_collection(Path(sys.argv[2])) as opened:
        *_, last = search.search(query, [opened], lambda card: encoder, readers)
    readers.close()
    heavy = {"torch", "torchvision", "open_clip", "transformers", "timm", "onnx"}
    print(last.hits[0].case.title, len(last.hits), *last.notices, heavy & set(sys.modules))
"""


def test_that_a_search_by_a_converted_model_needs_no_torch(folder: Path, tmp_path: Path):
    run = [sys.executable, "-c", _SEARCH, str(folder), str(tmp_path / "collection")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "pleural effusion 3 set()"


def test_that_company_does_not_change_a_vector_and_vectors_are_unit(folder: Path):
    pair = onnx_pair.OnnxPair(folder)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 30, 40, 3), np.uint8)
    together = pair.encode_images(pictures)
    assert np.array_equal(together, np.concatenate([pair.encode_images(p[None]) for p in pictures]))
    texts = ["chest", "pleural effusion " * 30]
    alone = np.concatenate([pair.encode_texts([text]) for text in texts])
    assert np.array_equal(pair.encode_texts(texts), alone)
    both = np.concatenate([together, alone])
    assert both.dtype == np.float32
    assert np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)
    assert pair.encode_images(pictures[:0]).shape == (0, 32)
    assert pair.encode_texts([]).shape == (0, 32)


@pytest.mark.parametrize(
    ("device", "precision", "runtime", "computes"),
    [
        ("cpu", "auto", "onnxruntime", "int8"),
        ("cpu", "int8", "onnxruntime", "int8"),
        ("cpu", "fp32", "torch", "fp32"),
        ("cpu", "bf16", "torch", "bf16"),
    ],
)
def test_that_what_is_wished_for_is_what_the_card_says(
    folder: Path, device: str, precision: str, runtime: str, computes: str
):
    encoder = base.find(str(folder), models=Path("none"), device=device, precision=precision)
    card = encoder.card
    assert (card.runtime, card.precision, card.device) == (runtime, computes, "cpu")
    assert card.digest == onnx_pair.OnnxPair(folder).card.digest
    vectors = base.text_vectors(encoder, ["chest"])
    assert (vectors @ onnx_pair.OnnxPair(folder).encode_texts(["chest"]).T).min() > 0.99
    assert base.taken_notices(encoder) == []


def test_that_int8_asked_of_a_model_without_a_conversion_is_told_and_torch_runs_it(copied: Path):
    conversion.remove(copied)
    encoder = openclip.load(copied, device="cpu", precision="int8")
    assert (encoder.card.runtime, encoder.card.precision) == ("torch", "fp32")
    (told,) = base.taken_notices(encoder)
    assert "no conversion" in told
    assert base.taken_notices(openclip.load(copied, device="cpu")) == []


def _changed_record(made: Path, **changes: object) -> None:
    path = made / onnx_pair.RECORD
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")


def _harm(folder: Path, harm: str) -> None:
    made = folder / onnx_pair.FOLDER
    if harm == "changed":
        content = bytearray((made / onnx_pair.IMAGE).read_bytes())
        content[len(content) // 2] ^= 1
        (made / onnx_pair.IMAGE).write_bytes(content)
    elif harm == "missing":
        (made / onnx_pair.TOKENIZER).unlink()
    elif harm == "foreign":
        (made / onnx_pair.IMAGE).unlink()
        (made / onnx_pair.IMAGE).symlink_to("/etc/hostname")
    elif harm == "noise":
        (made / onnx_pair.RECORD).write_bytes(b"\xff\x00")
    elif harm == "newer":
        _changed_record(made, version=99)
    elif harm == "other keys":
        _changed_record(made, colour="red")
    elif harm == "reading":
        _changed_record(made, reading={"cleaning": "upper", "context": 1})
    elif harm == "weights":
        small_models.biomedclip(folder.with_name("other"), seed=7)
        shutil.copyfile(
            folder.with_name("other") / "open_clip_model.safetensors",
            folder / "open_clip_model.safetensors",
        )


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("changed", "image.onnx of its conversion is not as it was made"),
        ("missing", "tokenizer.json of its conversion is missing"),
        ("foreign", "link that leads out of it"),
        ("noise", "conversion.json cannot be read"),
        ("newer", "of another version"),
        ("other keys", "not one of this program"),
        ("reading", "not one of this program"),
        ("weights", "made of another model"),
    ],
)
def test_that_an_unsound_conversion_is_told_and_torch_runs_the_model(
    copied: Path, harm: str, sentence: str
):
    _harm(copied, harm)
    with pytest.raises(errors.EncoderError, match=sentence):
        onnx_pair.OnnxPair(copied)
    encoder = openclip.load(copied, device="cpu")
    assert (encoder.card.runtime, encoder.card.precision) == ("torch", "fp32")
    (told,) = base.taken_notices(encoder)
    assert sentence in told
    assert told.endswith("It runs by torch, more slowly.")
    assert base.text_vectors(encoder, ["chest"]).shape == (1, 32)


def test_that_a_network_with_parts_in_another_file_is_refused(tmp_path: Path):
    (tmp_path / "a.onnx").write_bytes(b"\x0a\x08location\x12\x0b/etc/passwd")
    with pytest.raises(errors.EncoderError, match="file outside"):
        onnx_pair.session(tmp_path / "a.onnx", "x", 1)


def test_that_any_text_and_any_picture_have_a_vector(folder: Path):
    pair = onnx_pair.OnnxPair(folder)
    texts = ["", "word " * 5000, "胸部CT", "انصباب", "a \ud800 b", "\0"]
    assert base.text_vectors(pair, texts).shape == (len(texts), 32)
    for shape in ((1, 1), (1, 5000), (5000, 1), (64, 64)):
        blank = np.full((1, *shape, 3), 128, np.uint8)
        assert np.isfinite(base.image_vectors(pair, blank)).all()
