"""Damaged collections: found before use, worked around where that can be, and gone back from."""

from __future__ import annotations

import json
import os
import random
import shutil
import zipfile
from pathlib import Path

import pytest
import toy_collection
import toy_encoder

from medsearch_desktop import errors, queries
from medsearch_desktop.engine import collection, damage, disk, manifest, search, segments
from medsearch_desktop.imaging import isolated

SEED = 7


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A collection of two generations: 10 cases, then 16."""
    toy_collection.write(tmp_path / "toys", range(10))
    toy_collection.write(tmp_path / "toys", range(10, 16))
    return tmp_path / "toys"


def flip(path: Path, at: int | None = None, bit: int = 2) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 1 << bit
    path.chmod(0o600)
    path.write_bytes(content)


def ask(folder: Path, *terms: queries.Term) -> queries.Results:
    with collection.open_collection(folder) as opened, isolated.Readers(1) as readers:
        found = search.search(
            queries.Query(terms), [opened], lambda _: toy_encoder.ToyEncoder(), readers
        )
        return list(found)[-1]


def test_that_every_flipped_bit_of_a_manifest_is_found(two: Path) -> None:
    chance = random.Random(SEED)
    text = (two / "manifest.json").read_bytes()
    for _ in range(400):
        content = bytearray(text)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (two / "manifest.json").write_bytes(content)
        with pytest.raises(errors.CollectionDamagedError):
            manifest.read(two)


def test_that_flips_in_the_first_letters_of_a_manifest_are_found(two: Path) -> None:
    """There lies the checksum itself, whose loss must not be taken for an older manifest."""
    text = (two / "manifest.json").read_bytes()
    for at in range(110):
        for bit in range(8):
            content = bytearray(text)
            content[at] ^= 1 << bit
            (two / "manifest.json").write_bytes(content)
            with pytest.raises(errors.CollectionDamagedError):
                manifest.read(two)


def test_that_a_collection_of_the_first_version_opens_and_can_be_added_to(tmp_path: Path) -> None:
    sample = Path(__file__).parent / "samples" / "collection-0.1.0.zip"
    with zipfile.ZipFile(sample) as packed:
        packed.extractall(tmp_path / "old")
    assert "sha256" not in json.loads((tmp_path / "old" / "manifest.json").read_text())
    with collection.open_collection(tmp_path / "old") as opened:
        assert len(list(opened.all_cases())) == 6
        assert len(opened.matching("square", 20)) == 6
    toy_collection.write(tmp_path / "old", range(6, 9))
    assert collection.verify(tmp_path / "old") == []
    assert "sha256" in json.loads((tmp_path / "old" / "manifest.json").read_text())


@pytest.mark.parametrize("file", ["manifest.json", "segments/0002/cases.db", "words/2/meta.json"])
def test_that_the_state_before_a_damaged_one_is_searched_and_a_notice_says_so(
    two: Path, file: str
) -> None:
    flip(two / file)
    results = ask(two, queries.TextTerm("square"))
    assert results.total == 10
    (notice,) = results.notices
    assert notice.startswith("The newest state of Toys is damaged")
    assert file in notice
    assert "UTC (10 cases) is searched." in notice
    assert collection.verify(two) != []


def test_that_a_lost_manifest_leaves_the_state_before(two: Path) -> None:
    (two / "manifest.json").unlink()
    with collection.open_collection(two) as opened:
        assert opened.manifest.counts.cases == 10
        assert "manifest.json is missing" in opened.notice
    assert collection.verify(two) == ["manifest.json is missing"]


def test_that_nothing_is_written_upon_a_damaged_state(two: Path) -> None:
    flip(two / "segments/0002/cases.db")
    with pytest.raises(errors.CollectionDamagedError):
        toy_collection.write(two, range(16, 20))


@pytest.mark.parametrize("file", ["images.faiss", "images.rows.npy"])
def test_that_sound_words_answer_where_vectors_are_damaged(tmp_path: Path, file: str) -> None:
    pictures = toy_collection.write_pictures(tmp_path / "pictures")
    toy_collection.write(tmp_path / "toys", range(10), folder=pictures)
    for name in (file, "texts.faiss"):
        flip(tmp_path / "toys/segments/0001" / name)
    results = ask(tmp_path / "toys", queries.TextTerm("red square"))
    assert results.hits[0].case.title == "red square"
    assert "it is searched by words only" in results.notices[0]
    red = queries.ImageTerm(toy_collection.case(4, pictures).images[0].ref)
    with pytest.raises(errors.CollectionDamagedError, match="pictures cannot be searched"):
        ask(tmp_path / "toys", red)


def test_that_a_damaged_picture_file_costs_the_pictures_alone(tmp_path: Path) -> None:
    toy_collection.write(tmp_path / "toys", range(10))
    flip(tmp_path / "toys/segments/0001/thumbs.bin")
    results = ask(tmp_path / "toys", queries.TextTerm("red square"))
    assert "with fewer pictures shown" in results.notices[0]
    assert all(hit.thumbnail is None for hit in results.hits)


def test_that_one_bad_collection_among_several_is_named_and_the_others_answer(
    two: Path, tmp_path: Path
) -> None:
    toy_collection.write(tmp_path / "bad", range(20, 25), name="Bad")
    flip(tmp_path / "bad/segments/0001/cases.db")
    opened, notices = search.opened([str(tmp_path / "bad"), str(two)], collection.open_collection)
    assert [one.manifest.name for one in opened] == ["Toys"]
    assert str(tmp_path / "bad") in notices[0]
    for one in opened:
        one.close()


def test_that_repair_goes_back_and_counts_what_is_lost(two: Path) -> None:
    flip(two / "segments/0002/cases.db")
    done = collection.repair(two)
    assert (done.generation, done.cases, done.lost) == (1, 10, 6)
    assert "cases.db" in done.problem
    assert collection.verify(two) == []
    with collection.open_collection(two) as opened:
        assert opened.notice == ""
    toy_collection.write(two, range(10, 16))
    assert collection.verify(two) == []
    assert collection.repair(two).problem == ""


def test_that_repair_says_when_no_state_is_sound(two: Path) -> None:
    flip(two / "segments/0001/cases.db")
    with pytest.raises(errors.CollectionDamagedError, match="no earlier state of it is sound"):
        collection.repair(two)


def test_that_a_damaged_earlier_state_is_found_by_verify_and_forgotten_by_repair(two: Path) -> None:
    flip(two / "generations/1.json")
    (problem,) = collection.verify(two)
    assert "the earlier generation 1 cannot be gone back to" in problem
    assert "earlier generation" in collection.repair(two).problem
    assert collection.verify(two) == []


def test_that_large_files_are_left_for_later_and_what_is_found_then_is_worked_around(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "WHOLE_BYTES", 0)
    monkeypatch.setattr(damage, "SMALL_BYTES", 0)
    flip(two / "segments/0002/thumbs.bin")
    flip(two / "segments/0002/images.faiss", at=100)
    with collection.open_collection(two) as opened:
        assert opened.notice == ""
        left = damage.later(opened.manifest)
    assert {Path(entry.path).name for entry in left} >= {"thumbs.bin", "images.faiss"}
    assert not any(Path(entry.path).name == "cases.db" or "words" in entry.path for entry in left)
    found = [
        damage.Problem(entry.path, words) for entry in left if (words := damage.differs(two, entry))
    ]
    assert len(found) == 2
    with collection.open_collection(two, found) as opened:
        assert opened.manifest.generation == 1
        assert "differs from its checksum" in opened.notice


def begun(folder: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(folder, name="c", card=card) as writer:
        toy_collection.add(writer, range(5))
        toy_collection.add_studies(writer, range(5, 10))
        writer.checkpoint()


@pytest.mark.parametrize(
    "file",
    [
        *(f"{name}{end}" for name in segments.SETS for end in (".f16", ".rows")),
        "thumbs.bin",
        "cases.db",
    ],
)
def test_that_a_damaged_checkpoint_is_dropped_and_never_published(
    tmp_path: Path, file: str
) -> None:
    card = toy_encoder.ToyEncoder().card
    begun(tmp_path / "sound")
    with collection.CollectionWriter(
        tmp_path / "sound", name="c", card=card, resume=True
    ) as writer:
        assert (writer.resumed, writer.notices) == (10, [])
    begun(tmp_path / "c")
    path = tmp_path / "c" / "building" / file
    content = path.read_bytes()
    if file == "cases.db":
        at = content.index(b"A red square")
        path.write_bytes(content[:at] + b"A bed square" + content[at + 12 :])
    else:
        flip(path)
    with collection.CollectionWriter(tmp_path / "c", name="c", card=card, resume=True) as writer:
        assert writer.resumed == 0
        assert "checkpoint was damaged" in writer.notices[0]
        toy_collection.add(writer, range(10))
        writer.commit()
    assert collection.verify(tmp_path / "c") == []


def test_that_bytes_that_came_back_wrong_are_not_published(tmp_path: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(tmp_path / "c", name="c", card=card) as writer:
        toy_collection.add(writer, range(10))
        writer.checkpoint()
        flip(tmp_path / "c" / "building" / "thumbs.bin")
        with pytest.raises(errors.CollectionDamagedError, match="differs from what was written"):
            writer.commit()
    assert not (tmp_path / "c" / "manifest.json").exists()


def test_that_a_clock_set_back_does_not_make_an_older_state_the_newest(two: Path) -> None:
    late = json.loads((two / "generations/1.json").read_text())["created"]
    os.utime(two / "manifest.json", (0, 0))
    with collection.open_collection(two) as opened:
        assert opened.manifest.generation == 2
        assert opened.manifest.created >= late


def test_that_a_build_that_cannot_fit_is_refused_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=5_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(errors.DiskFullError, match="about 28 MB are needed and 5 MB are free"):
        disk.require(tmp_path / "c", 1000)
    disk.require(tmp_path / "c", 100)
    disk.require(tmp_path / "c", None)
