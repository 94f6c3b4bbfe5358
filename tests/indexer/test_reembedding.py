"""A collection embedded again: what stays, what is read anew, and how it goes on."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import phantoms
import pytest
import toy_collection
import toy_encoder

from indexer import build, cli, progress, reembedding, stored_thumbnails
from medsearch_desktop import cases
from medsearch_desktop.engine import collection, manifest
from medsearch_desktop.engine.encoders import base

COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command with --json and return (status, object)."""

    def call(*words: object) -> tuple[int, dict[str, Any]]:
        status = cli.main([*map(str, words), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def built(run: Any, tmp_path: Path) -> Path:
    """A collection of four pictures and a text, by the encoder that comes with the program."""
    lines = ["path,item_id,patient_id,text,labels,modality,licence,extra"]
    for name in COLOURS:
        phantoms.write_picture(tmp_path / "in" / f"{name}.png", toy_collection.picture(name, 64))
        lines.append(f"{name}.png,{name},p-{name},A {name} effusion.,{name}|drawn,CT,CC0-1.0,x")
    lines.append(",report,p-0,Normal chest.,,MRI,CC0-1.0,y")
    (tmp_path / "in" / "t.csv").write_text("\n".join(lines), "utf-8")
    out = tmp_path / "colours"
    assert run("build", tmp_path / "in" / "t.csv", "--out", out)[0] == 0
    return out


def _held(path: Path) -> list[tuple[cases.Case, list[bytes]]]:
    """Return every case, without the places of its thumbnails, and what those hold."""
    held = []
    with collection.open_collection(path) as opened:
        for case in opened.all_cases():
            contents = [stored_thumbnails.content(image) for image in case.images]
            bare = tuple(dataclasses.replace(image, thumbnail=None) for image in case.images)
            held.append((dataclasses.replace(case, images=bare), contents))
    return held


def test_that_cases_words_and_thumbnails_stay_and_the_vectors_are_the_other_encoders(
    run: Any, built: Path
):
    status, report = run("reembed", built, "--encoder", toy_encoder.NAME)
    assert (status, report["added"], report["stored"]) == (0, 5, 0)
    out = built.with_name(f"colours@{toy_encoder.NAME}")
    assert report["out"] == str(out)
    assert _held(out) == _held(built)
    before, after = manifest.read(built), manifest.read(out)
    assert (after.name, after.sources, after.recipe) == (before.name, before.sources, before.recipe)
    assert after.encoder.name == toy_encoder.NAME
    assert run("verify", out)[0] == 0
    _, found = run("search", out, "--text", "blue", "--against", "images")
    assert found["hits"][0]["case_id"] == "blue"


def test_that_an_image_whose_original_is_gone_is_encoded_from_its_thumbnail_and_counted(
    run: Any, built: Path
):
    (built.parent / "in" / "red.png").unlink()
    (built.parent / "in" / "green.png").write_bytes(b"no picture any more")
    status, report = run("reembed", built, "--encoder", toy_encoder.NAME)
    assert (status, report["added"], report["images"], report["stored"]) == (0, 5, 4, 2)
    out = Path(report["out"])
    assert _held(out) == _held(built)
    red = toy_encoder.ToyEncoder().encode_images(toy_collection.picture("red")[None])
    with collection.open_collection(out) as opened:
        (near, *_) = opened.near(red, "images", 1)
        assert opened.case(near.place).case_id == "red"
        assert near.score == pytest.approx(1, abs=0.01)


def test_that_an_embedding_is_not_written_over_its_source_or_into_it(run: Any, built: Path):
    for out in (built, built / "inside"):
        status, said = run("reembed", built, "--encoder", toy_encoder.NAME, "--out", out)
        assert (status, said["error"]["type"]) == (1, "CollectionError")
    assert manifest.read(built).encoder.name == "compact"


def test_that_an_embedding_that_is_there_is_kept_unless_it_shall_go_on(run: Any, built: Path):
    words = ("reembed", built, "--encoder", toy_encoder.NAME)
    assert run(*words)[0] == 0
    status, said = run(*words)
    assert (status, said["error"]["type"]) == (1, "CollectionError")
    assert "--resume" in said["error"]["message"]
    status, report = run(*words, "--resume")
    assert (status, report["added"], report["cases"]) == (0, 0, 5)


def test_that_going_on_takes_in_what_the_source_got_since(run: Any, built: Path):
    words = ("reembed", built, "--encoder", toy_encoder.NAME)
    assert run(*words)[0] == 0
    phantoms.write_picture(built.parent / "more" / "white.png", np.full((32, 32, 3), 255, np.uint8))
    assert run("add", built, built.parent / "more")[0] == 0
    status, report = run(*words, "--resume")
    assert (status, report["added"], report["cases"]) == (0, 1, 6)


def test_that_what_was_embedded_before_an_interruption_is_not_embedded_again(
    run: Any, tmp_path: Path
):
    folder = toy_collection.write_pictures(tmp_path / "pictures")
    toy_collection.write(tmp_path / "toys", range(160), folder=folder)
    stop, out = threading.Event(), tmp_path / "other"
    encoder = base.find(toy_encoder.NAME, models=tmp_path)

    class Stopping(progress.Progress):
        """A reader who asks to stop as soon as something is done."""

        def step(self, *given: Any, **named: Any) -> None:
            stop.set()

    shown = Stopping("none", io.StringIO())
    options = build.Options(out=out, batch_size=1)
    report = reembedding.write(tmp_path / "toys", encoder, options, shown, stop=stop)
    assert report.interrupted
    assert 0 < report.added < 160
    words = ("reembed", tmp_path / "toys", "--encoder", toy_encoder.NAME, "--out", out)
    status, rest = run(*words, "--resume")
    assert (status, rest["resumed"], rest["added"]) == (0, report.added, 160 - report.added)
    assert _held(out) == _held(tmp_path / "toys")


def test_that_a_folder_without_a_collection_is_refused_before_an_encoder_is_loaded(
    run: Any, tmp_path: Path
):
    status, said = run("reembed", tmp_path, "--encoder", "not-there")
    assert (status, said["error"]["type"]) == (1, "CollectionError")
