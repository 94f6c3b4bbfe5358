"""Pictures, texts and weights that no encoder was made for: a vector, or a sentence."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_biovil
import small_models
import small_timm
import toy_collection
import toy_encoder
from PIL import Image

from hostile import models
from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import collection, search
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated

WRITERS: dict[str, Callable[[Path], Path]] = {
    "compact": models.compact,
    "biomedclip": small_models.biomedclip,
    "clip": small_models.clip_vit_b32_quickgelu,
    "siglip": small_models.siglip,
    "biovil": small_biovil.write,
    "timm": small_timm.timm,
    "dinov2": small_timm.dinov2,
}
READING = [name for name in WRITERS if name not in ("timm", "dinov2")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    top = tmp_path_factory.mktemp("models")
    return {name: write(top / name) for name, write in WRITERS.items()}


@pytest.fixture(scope="module")
def encoders(folders: dict[str, Path]) -> dict[str, base.Encoder]:
    return {name: base.load_folder(folder, device="cpu") for name, folder in folders.items()}


@pytest.fixture(scope="module")
def readers() -> Iterator[isolated.Readers]:
    with isolated.Readers(1) as started:
        yield started


def drawn(height: int, width: int) -> np.ndarray:
    """Return a picture (1, h, w, 3) in which every pixel differs from its neighbours."""
    rows, columns = np.mgrid[0:height, 0:width]
    grey = ((rows * 7 + columns * 13) % 251).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(grey[None, :, :, None], 3, axis=3))


def sees(encoder: base.Encoder, images: np.ndarray) -> np.ndarray:
    """Return the vectors of pictures, after they were found to be of unit length."""
    vectors = base.image_vectors(encoder, images)
    assert vectors.shape == (len(images), encoder.card.dimension)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    return vectors


@pytest.mark.parametrize("name", WRITERS)
def test_that_any_picture_has_a_vector_and_changes_none_that_come_after(
    encoders: dict[str, base.Encoder], name: str
) -> None:
    encoder, usual = encoders[name], drawn(60, 80)
    before = sees(encoder, usual)
    shapes = [(1, 1), (1, 4000), (4000, 1), (2, 3), (7, 7), (300, 20)]
    given = [drawn(*shape) for shape in shapes]
    given += [np.full((1, 40, 50, 3), level, np.uint8) for level in (0, 1, 128, 255)]
    given += [np.full((1, 1, 1, 3), (255, 0, 0), np.uint8)]
    for images in given:
        sees(encoder, images)
    assert np.allclose(sees(encoder, usual), before, atol=1e-5)


def write_files(folder: Path) -> dict[str, Path]:
    """Write pictures as files of unusual kinds."""
    grey = drawn(60, 80)[0, :, :, 0]
    colour = Image.fromarray(drawn(60, 80)[0])
    made = {
        "sixteen bits.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "sixteen bits.tif": Image.fromarray(grey.astype(np.uint16) * 100),
        "cmyk.jpg": colour.convert("CMYK"),
        "cmyk.tif": colour.convert("CMYK"),
        "palette.png": colour.convert("P"),
        "one bit.png": colour.convert("1"),
        "clear.png": colour.convert("RGBA"),
        "one pixel.png": colour.resize((1, 1)),
        "one colour.png": Image.new("L", (64, 64), 77),
    }
    for name, picture in made.items():
        picture.save(folder / name)
    return {name: folder / name for name in made}


def test_that_files_of_unusual_kinds_have_a_vector_or_a_sentence_with_every_encoder(
    encoders: dict[str, base.Encoder], readers: isolated.Readers, tmp_path: Path
) -> None:
    told, seen = {}, []
    for name, path in write_files(tmp_path).items():
        try:
            picture = readers.render_picture(cases.ImageRef(str(path)))
        except errors.UnreadableFileError as error:
            told[name] = errors.told(error)
            continue
        seen.append(name)
        for encoder in encoders.values():
            sees(encoder, picture[None])
    assert {"sixteen bits.png", "sixteen bits.tif", "palette.png", "one pixel.png"} <= set(seen)
    assert set(told) <= {"cmyk.jpg", "cmyk.tif"}
    assert all(sentence.endswith(".") for sentence in told.values())


@pytest.mark.slow
def test_that_a_picture_of_100_megapixels_takes_little_memory_beside_its_own(
    encoders: dict[str, base.Encoder],
) -> None:
    large = np.broadcast_to(np.uint8(90), (1, 10_000, 10_000, 3)).copy()
    large[:, 2000:8000, 3000:7000] = 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for encoder in encoders.values():
        sees(encoder, large)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    # Pillow holds four bytes a pixel, and one more copy while it resizes.
    assert grown < 4 * large.nbytes
    for encoder in encoders.values():
        sees(encoder, drawn(60, 80))


@pytest.mark.slow
def test_that_a_file_of_more_pixels_than_any_picture_is_refused_with_a_sentence(
    readers: isolated.Readers, tmp_path: Path
) -> None:
    Image.new("1", (20_000, 20_000)).save(tmp_path / "huge.png")
    with pytest.raises(errors.UnreadableFileError, match="pixels"):
        readers.render_picture(cases.ImageRef(str(tmp_path / "huge.png")))
    Image.new("L", (10_000, 10_000), 60).save(tmp_path / "large.png")
    shown = readers.render_picture(cases.ImageRef(str(tmp_path / "large.png")))
    assert shown.shape == (10_000, 10_000, 3)


TEXTS = {
    "empty": "",
    "white": " \n\t ",
    "5,000 words": "small left pleural effusion with nodule " * 834,
    "one word of 20,000 letters": "a" * 20_000,
    "Cyrillic": "Плевральный выпот слева",
    "Chinese": "左侧胸腔积液",
    "Arabic": "انصباب جنبي أيسر",
    "Hindi": "बायाँ फुफ्फुस बहाव",
    "emoji": "🫁🩻👩‍⚕️",
    "half of a surrogate pair": "effusion \ud800 left \udfff",
    "control letters": "chest\0\x01\x1b[31m\u202e\ufffe",
    "marks of tokenizers": "[CLS] [SEP] [MASK] [PAD] </s> <|endoftext|> <start_of_text> <unk>",
    "markup": "&lt;b&gt;chest&amp;amp;&#0;",
}


@pytest.mark.parametrize("name", READING)
def test_that_any_text_has_a_vector_and_changes_none_that_come_after(
    encoders: dict[str, base.Encoder], name: str
) -> None:
    encoder = encoders[name]
    before = base.text_vectors(encoder, ["pleural effusion"])
    for text in TEXTS.values():
        vectors = base.text_vectors(encoder, [text])
        assert vectors.shape == (1, encoder.card.dimension)
        assert abs(float(np.linalg.norm(vectors)) - 1) < 1e-3
    together = base.text_vectors(encoder, list(TEXTS.values()))
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-3)
    after = base.text_vectors(encoder, ["pleural effusion"])
    assert np.allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("name", ["timm", "dinov2"])
def test_that_one_which_sees_only_tells_so_and_goes_on_seeing(
    encoders: dict[str, base.Encoder], name: str
) -> None:
    with pytest.raises(errors.EncoderError, match="it knows images, not texts") as raised:
        base.text_vectors(encoders[name], ["effusion"])
    assert raised.value.action
    sees(encoders[name], drawn(20, 20))


def weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def with_numbers(folder: Path, number: float) -> None:
    """Put a number into the middle of every tensor of every weight file."""
    from safetensors.numpy import load_file, save_file

    for path in weights(folder):
        state: dict[str, Any] = load_file(path)
        for tensor in state.values():
            if tensor.dtype.kind == "f" and tensor.size:
                tensor.flat[tensor.size // 2] = number
        path.unlink()
        save_file(state, path)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("name", WRITERS)
def test_that_weights_which_are_not_finite_are_told_and_no_vector_comes_of_them(
    folders: dict[str, Path],
    encoders: dict[str, base.Encoder],
    tmp_path: Path,
    name: str,
    number: float,
) -> None:
    folder = tmp_path / name
    shutil.copytree(folders[name], folder)
    with_numbers(folder, number)
    if (folder / "SHA256SUMS").exists():
        models.sums(folder)
    with pytest.raises(errors.EncoderError, match=name):
        base.image_vectors(base.load_folder(folder, device="cpu"), drawn(20, 20))
    sees(encoders[name], drawn(20, 20))


def longer_vocabulary(folder: Path) -> None:
    """Give the tokenizer words that the weights do not know, in the place of those they know."""
    for file in ("vocab.txt", "tokenizer.json"):
        path = folder / file
        if not path.is_file():
            continue
        if file == "vocab.txt":
            lines = path.read_text("utf-8").splitlines()
            content = "\n".join(lines[:5] + [f"other{n}" for n in range(40_000)] + lines[5:])
        else:
            plain = json.loads(path.read_text("utf-8"))
            known = plain["model"]["vocab"]
            if isinstance(known, dict):
                marks = [token["content"] for token in plain["added_tokens"]]
                marks += [token for token in ("[UNK]", "[PAD]") if token not in marks]
                others = [f"other{n}" for n in range(40_000)]
                words = marks + others + [word for word in known if word not in marks]
                plain["model"]["vocab"] = {word: number for number, word in enumerate(words)}
                for token in plain["added_tokens"]:
                    token["id"] = words.index(token["content"])
            else:
                known[3:3] = [[f"▁other{n}", -6.0] for n in range(40_000)]
            content = json.dumps(plain)
        models.put(folder, file, content.encode())


@pytest.mark.parametrize("name", [name for name in READING if name != "clip"])
def test_that_a_tokenizer_of_another_vocabulary_is_told(
    folders: dict[str, Path], encoders: dict[str, base.Encoder], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    shutil.copytree(folders[name], folder)
    longer_vocabulary(folder)
    if (folder / "SHA256SUMS").exists():
        models.sums(folder)
    with pytest.raises(errors.EncoderError, match=name):
        base.text_vectors(base.load_folder(folder, device="cpu"), ["small pleural effusion, ct"])
    base.text_vectors(encoders[name], ["small pleural effusion, ct"])


class Ruined(toy_encoder.ToyEncoder):
    """A plug-in whose weights were damaged: what it gives is no vector."""

    def __init__(self, number: float, dimension: int = 16) -> None:
        super().__init__("ruined", "ruined")
        self._given = np.full((1, dimension), number, np.float32)

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        return np.repeat(self._given, len(images), axis=0)

    def encode_texts(self, texts: Any) -> np.ndarray:
        return np.repeat(self._given, len(texts), axis=0)


@pytest.mark.parametrize(
    ("ruined", "said"),
    [
        (Ruined(np.nan), "not finite"),
        (Ruined(np.inf), "not finite"),
        (Ruined(0), "without a direction"),
        (Ruined(1, dimension=12), r"\(1, 12\) numbers in place of \(1, 16\)"),
    ],
)
def test_that_what_is_no_vector_is_told_in_the_encoders_name(ruined: Ruined, said: str) -> None:
    with pytest.raises(errors.EncoderError, match=f"ruined.*{said}"):
        base.image_vectors(ruined, drawn(8, 8))
    with pytest.raises(errors.EncoderError, match=f"ruined.*{said}"):
        base.text_vectors(ruined, ["red"])


def test_that_vectors_which_are_not_of_unit_length_are_brought_to_it() -> None:
    found = base.image_vectors(Ruined(3.0), drawn(8, 8))
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 8, 8), np.uint8),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((1, 0, 8, 3), np.uint8),
    ],
)
def test_that_an_array_which_is_no_picture_reaches_no_encoder(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="with pixels"):
        base.image_vectors(toy_encoder.ToyEncoder(), wrong)


def test_that_other_collections_are_searched_when_one_encoder_gives_no_vectors(
    tmp_path: Path, readers: isolated.Readers
) -> None:
    shown, ruined = toy_collection.write_pictures(tmp_path / "pictures"), Ruined(np.nan)
    toy_collection.write(tmp_path / "sound", range(8), name="Sound", folder=shown)
    toy_collection.write(tmp_path / "hurt", range(8), name="Hurt", folder=shown, card=ruined.card)
    by_digest = {one.card.digest: one for one in (ruined, toy_encoder.ToyEncoder())}
    with (
        collection.open_collection(tmp_path / "sound") as sound,
        collection.open_collection(tmp_path / "hurt") as hurt,
    ):
        for term in (
            queries.TextTerm("red square"),
            queries.ImageTerm(cases.ImageRef(str(shown / "red.png"))),
        ):
            query = queries.Query(terms=(term,))
            found = list(
                search.search(query, [sound, hurt], lambda card: by_digest[card.digest], readers)
            )[-1]
            assert found.hits[0].case.title == "red square"
            assert [n for n in found.notices if n.startswith("Hurt: searched by words only")]


def test_that_every_kind_of_encoder_is_asked(encoders: dict[str, base.Encoder]) -> None:
    assert {encoder.card.kind for encoder in encoders.values()} == set(base.KINDS)
