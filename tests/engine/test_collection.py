"""Collections on disk: what is written is read back, and damage is found."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import toy_collection
import toy_encoder

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.engine import collection, manifest, views


@pytest.fixture
def written(tmp_path: Path) -> Path:
    toy_collection.write(tmp_path / "toys", range(40))
    return tmp_path / "toys"


def all_cases(path: Path) -> list[cases.Case]:
    with collection.open_collection(path) as opened:
        return list(opened.all_cases())


def test_that_every_field_of_a_case_comes_back(tmp_path: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    region = cases.Region(1, 2, 3, 4)
    whole = cases.Case(
        case_id="Fall Nr. 7 'ä'",
        title="T",
        text='Text with "quotes"\nand lines',
        labels=("a", "b|c"),
        facets=cases.Facets("CT", "axial", "chest", "F", 61.5, "drawn"),
        provenance=cases.Provenance("CC BY 4.0", "source", "https://example.org"),
        images=(
            cases.CaseImage(cases.ImageRef("/a.dcm", 3, "1.2.3", region), "own text", ("l",)),
            cases.CaseImage(cases.ImageRef("/b.zip!/c.dcm")),
        ),
        patient="p",
        study="s",
        extra=(("doi", "10.1/x"),),
    )
    vectors = toy_encoder.ToyEncoder().encode_texts(["red", "blue"])
    with collection.CollectionWriter(tmp_path / "c", name="One", card=card) as writer:
        writer.add(whole, vectors, None, [b"", b"picture"])
        writer.commit()
    with collection.open_collection(tmp_path / "c") as opened:
        place = opened.place(whole.case_id)
        assert place is not None
        found = opened.case(place)
        thumbnail = found.images[1].thumbnail
        assert thumbnail is not None
        content = Path(thumbnail.file).read_bytes()
        assert content[thumbnail.offset : thumbnail.offset + thumbnail.length] == b"picture"
        bare = tuple(dataclasses.replace(image, thumbnail=None) for image in found.images)
        assert dataclasses.replace(found, images=bare) == whole
        images, texts = opened.vectors_of(place)
        assert np.allclose(images, vectors, atol=1e-3)
        assert texts.shape == (0, 16)


def test_that_the_manifest_says_what_is_inside(written: Path) -> None:
    plain = json.loads((written / "manifest.json").read_text())
    assert plain["format"] == 2
    assert plain["generation"] == 1
    counts = {"cases": 40, "images": 40, "vectors": 80, "dead": 0, "pooled": 0, "joined": 40}
    assert plain["counts"] == counts
    assert plain["tag_weight"] == views.TAG_WEIGHT
    assert plain["pooling"] == views.POOLING
    assert plain["encoder"]["dimension"] == 16
    assert plain["sources"] == ["toys"]
    listed = {entry["path"] for entry in plain["segments"][0]["files"] + plain["words"]}
    on_disk = {
        path.relative_to(written).as_posix()
        for path in written.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    assert listed == on_disk - {"manifest.json"}


def test_that_adding_makes_a_new_generation_beside_the_old_one(written: Path) -> None:
    with collection.open_collection(written) as old:
        toy_collection.write(written, range(40, 60))
        assert not old.is_current()
        assert old.manifest.counts.cases == 40
        assert len(old.matching("square", 200)) == 40
    with collection.open_collection(written) as new:
        assert new.is_current()
        assert new.manifest.generation == 2
        assert len(new.matching("square", 200)) == 60
        assert [case.case_id for case in new.all_cases()] == [f"case-{n}" for n in range(60)]


@pytest.mark.slow
def test_that_one_and_fifty_segments_rank_alike(tmp_path: Path) -> None:
    toy_collection.write(tmp_path / "whole", range(100))
    for part in range(50):
        toy_collection.write(tmp_path / "parts", range(part * 2, part * 2 + 2))
    query = toy_encoder.ToyEncoder().encode_texts(["red square"])
    keep = [queries.Filter("modality", "ct")]
    answers = []
    for name in ("whole", "parts"):
        with collection.open_collection(tmp_path / name) as opened:
            kept = opened.kept(keep)
            answers.append(
                [
                    [(opened.case(n.place).case_id, n.score) for n in found]
                    for found in (
                        opened.near(query, "images", 30),
                        opened.near(query, "texts", 30, kept),
                        opened.matching("red fracture", 30),
                        opened.matching("number nodule", 30, kept),
                    )
                ]
            )
    assert answers[0] == answers[1]


def test_that_a_case_is_found_once_by_its_best_image(tmp_path: Path) -> None:
    encoder = toy_encoder.ToyEncoder()
    refs = tuple(cases.CaseImage(cases.ImageRef(f"/{k}.png")) for k in range(8))
    vectors = encoder.encode_images(
        np.stack([toy_collection.picture(c) for c in toy_encoder.COLOURS])
    )
    with collection.CollectionWriter(tmp_path / "c", name="c", card=encoder.card) as writer:
        for number in range(60):
            writer.add(cases.Case(f"many-{number}", images=refs), vectors, None)
        writer.add(cases.Case("one", images=refs[:1]), vectors[4:5], None)
        writer.commit()
    with collection.open_collection(tmp_path / "c") as opened:
        red = encoder.encode_images(toy_collection.picture("red")[None])
        found = opened.near(red, "images", 61)
        assert len({near.place for near in found}) == 61
        best = found[0].images[0]
        assert toy_collection.COLOURS[best[0]] == "red"
        assert best[1] == pytest.approx(1, abs=1e-3)


def test_that_filters_compare_whole_values_and_ignore_letter_case(written: Path) -> None:
    with collection.open_collection(written) as opened:

        def count(*filters: queries.Filter) -> int:
            return len(opened.all_places(opened.kept(filters)))

        assert count(queries.Filter("modality", "ct")) == 20
        assert count(queries.Filter("modality", "C")) == 0
        assert count(queries.Filter("label", "Effusion")) == 8
        assert count(queries.Filter("label", "effusion", negated=True)) == 32
        assert count(queries.Filter("age", "41"), queries.Filter("modality", "MR")) == 6
        assert count(queries.Filter("source", "TOYS")) == 40
        with pytest.raises(errors.QuerySyntaxError, match="colour"):
            opened.kept([queries.Filter("colour", "red")])


def test_that_facets_are_counted_over_the_cases_given(written: Path) -> None:
    with collection.open_collection(written) as opened:
        counts = opened.facet_counts(opened.all_places()[:10])
        assert counts["modality"] == {"CT": 5, "MR": 5}
        assert counts["label"]["square"] == 10
        assert counts["age"] == {"40": 4, "41": 3, "42": 3}


def test_that_another_encoder_is_refused_with_both_names(written: Path) -> None:
    other = toy_encoder.ToyEncoder(name="other", salt="2").card
    with pytest.raises(errors.EncoderMismatchError, match=r"toy_encoder.*other"):
        collection.CollectionWriter(written, name="x", card=other)
    assert collection.verify(written) == []


def test_that_a_second_writer_is_told_that_the_collection_is_busy(written: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    with (
        collection.CollectionWriter(written, name="x", card=card),
        pytest.raises(errors.CollectionBusyError),
    ):
        collection.CollectionWriter(written, name="x", card=card)
    collection.CollectionWriter(written, name="x", card=card).close()


def test_that_parts_that_do_not_fit_are_refused_and_leave_no_trace(tmp_path: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    one = toy_collection.case(1)
    good = toy_encoder.ToyEncoder().encode_texts(["red"])
    with collection.CollectionWriter(tmp_path / "c", name="c", card=card) as writer:
        for vectors in (good[:, :8], good * 2, np.repeat(good, 2, axis=0), good * np.nan):
            with pytest.raises(ValueError, match="vectors"):
                writer.add(one, vectors, None)
        with pytest.raises(ValueError, match="thumbnails"):
            writer.add(one, good, None, [b"a", b"b"])
        writer.add(one, good, None)
        with pytest.raises(ValueError, match="there already"):
            writer.add(one, good, None)
        writer.commit()
    assert [case.case_id for case in all_cases(tmp_path / "c")] == ["case-1"]
    assert collection.verify(tmp_path / "c") == []


def test_that_an_interrupted_build_resumes_at_its_checkpoint(tmp_path: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(tmp_path / "c", name="c", card=card) as writer:
        toy_collection.add(writer, range(10))
        writer.checkpoint()
        toy_collection.add(writer, range(10, 15))
    with pytest.raises(errors.CollectionError, match="holds no collection"):
        collection.open_collection(tmp_path / "c")
    with collection.CollectionWriter(tmp_path / "c", name="c", card=card, resume=True) as writer:
        assert writer.resumed == 10
        assert writer.holds("case-9")
        assert not writer.holds("case-10")
        toy_collection.add(writer, range(10, 20))
        writer.commit()
    toy_collection.write(tmp_path / "whole", range(20))
    assert collection.verify(tmp_path / "c") == []
    found, wanted = all_cases(tmp_path / "c"), all_cases(tmp_path / "whole")
    assert [case.case_id for case in found] == [case.case_id for case in wanted]
    for name in ("images.faiss", "texts.faiss", "joined.faiss", "thumbs.bin", "facets.npy"):
        part = f"segments/0001/{name}"
        assert (tmp_path / "c" / part).read_bytes() == (tmp_path / "whole" / part).read_bytes()


def test_that_without_resume_a_broken_off_build_is_dropped(tmp_path: Path) -> None:
    card = toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(tmp_path / "c", name="c", card=card) as writer:
        toy_collection.add(writer, range(10))
        writer.checkpoint()
    toy_collection.write(tmp_path / "c", range(3))
    assert len(all_cases(tmp_path / "c")) == 3


def every_file(folder: Path) -> list[Path]:
    return sorted(folder / entry.path for entry in manifest.read(folder).files())


def test_that_verify_finds_one_flipped_bit_in_any_file(written: Path) -> None:
    assert collection.verify(written) == []
    for path in every_file(written):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        mode = path.stat().st_mode
        path.chmod(0o600)
        path.write_bytes(content)
        problems = collection.verify(written)
        assert problems
        assert path.relative_to(written).as_posix() in problems[0]
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        path.chmod(mode)
    assert collection.verify(written) == []


def test_that_a_missing_or_short_file_is_named_at_opening(written: Path) -> None:
    for path in every_file(written):
        content = path.read_bytes()
        path.write_bytes(content[:-1])
        assert path.name in told_at_opening(written)
        path.unlink()
        assert f"{path.name} is missing" in told_at_opening(written)
        path.write_bytes(content)
    collection.open_collection(written).close()


def told_at_opening(folder: Path) -> str:
    """Return what opening a damaged collection says, as an error or a notice."""
    try:
        with collection.open_collection(folder) as opened:
            return opened.notice
    except errors.CollectionDamagedError as error:
        return str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "1"},
        {"segments": [{"number": 1}]},
        {"encoder": {"name": "x"}},
        {"words": [{"path": "../../etc/passwd", "size": 1, "sha256": "0" * 64}]},
        {"words": [{"path": "/etc/passwd", "size": 1, "sha256": "0" * 64}]},
        {"generation": None},
    ],
)
def test_that_a_manifest_that_makes_no_sense_is_damaged(written: Path, change: dict) -> None:
    plain = json.loads((written / "manifest.json").read_text())
    for key in ("sha256", "recipe"):
        del plain[key]
    (written / "manifest.json").write_text(json.dumps(plain | change))
    with pytest.raises(errors.CollectionDamagedError, match=r"manifest\.json"):
        collection.open_collection(written)


def test_that_a_newer_format_is_refused_with_a_sentence(written: Path) -> None:
    plain = json.loads((written / "manifest.json").read_text())
    del plain["sha256"]
    (written / "manifest.json").write_text(json.dumps(plain | {"format": 3}))
    with pytest.raises(errors.CollectionError, match="has format 3"):
        collection.open_collection(written)


def test_that_a_folder_without_a_manifest_is_no_collection(tmp_path: Path) -> None:
    with pytest.raises(errors.CollectionError, match="holds no collection"):
        collection.open_collection(tmp_path)


_AS_NOBODY = """
import os, sys, datetime, sqlite3, faiss, tantivy, numpy
from medsearch_desktop.engine import collection
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
with collection.open_collection(sys.argv[1]) as opened:
    print(len(opened.matching("red fracture", 50)), opened.manifest.counts.cases)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_that_a_read_only_folder_can_be_searched(written: Path) -> None:
    """By another user when run as root, whom no permission stops."""
    for parent in list(written.parents)[:3]:
        if parent.stat().st_uid == os.getuid() and parent != Path("/tmp"):
            parent.chmod(0o755)
    for path in [written, *written.rglob("*")]:
        if path.suffix == ".lock":
            path.unlink()
        else:
            path.chmod(0o555 if path.is_dir() else 0o444)
    done = subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(written)],
        capture_output=True,
        text=True,
        check=False,
    )
    for path in [written, *written.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert done.stdout.split() == ["12", "40"], done.stderr


def test_that_a_collection_can_be_copied_and_moved(written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, tmp_path / "elsewhere")
    shutil.rmtree(written)
    with collection.open_collection(tmp_path / "elsewhere") as opened:
        thumbnail = opened.case(opened.all_places()[0]).images[0].thumbnail
        assert thumbnail is not None
        assert Path(thumbnail.file).is_relative_to(tmp_path / "elsewhere")
    toy_collection.write(tmp_path / "elsewhere", range(40, 45))
    assert collection.verify(tmp_path / "elsewhere") == []


def test_that_the_case_database_holds_no_journal(written: Path) -> None:
    database = sqlite3.connect(written / "segments" / "0001" / "cases.db")
    assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    assert not list(written.rglob("*-wal"))
