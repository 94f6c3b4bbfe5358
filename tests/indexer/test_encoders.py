"""The encoders of an installation: listed as they would run, checked, removed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import phantoms
import pytest
import toy_collection
import toy_encoder

from indexer import cli, inspection
from medsearch_desktop import settings


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command with --json and return (status, object)."""

    def call(*words: object) -> tuple[int, dict[str, Any]]:
        status = cli.main([*map(str, words), "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def mine(home: Path) -> str:
    """The encoder that comes with the program, put among the imported ones as "mine"."""
    folder = home / "models" / "mine"
    shutil.copytree(settings.resource("models/compact"), folder)
    about = (folder / "model.toml").read_text("utf-8")
    (folder / "model.toml").write_text(about.replace('name = "compact"', 'name = "mine"'), "utf-8")
    digest = hashlib.sha256((folder / "model.toml").read_bytes()).hexdigest()
    sums = (folder / "SHA256SUMS").read_text("utf-8")
    (folder / "SHA256SUMS").write_text(
        re.sub(r"\w+(?=  model\.toml)", digest, sums, count=1), "utf-8"
    )
    return "mine"


def test_that_encoders_are_listed_with_licence_limits_and_how_they_would_run(run: Any, mine: str):
    status, report = run("encoders", "list")
    listed = {one["name"]: one for one in report["encoders"]}
    assert status == 0
    assert {name: one["built_in"] for name, one in listed.items()} == {"compact": True, mine: False}
    for one in listed.values():
        assert "not trained for diagnosis" in one["limits"].replace("Not", "not")
        assert one["licence"]
        assert (one["device"], one["runtime"]) == ("cpu", "onnxruntime")
        assert one["precision"] in ("fp32", "int8")


def test_that_a_removed_encoder_is_gone_and_what_was_built_with_it_is_named(
    run: Any, mine: str, home: Path
):
    phantoms.write_picture(home / "in" / "red.png", toy_collection.picture("red", 64))
    out = home / "collections" / "pictures"
    assert run("build", home / "in", "--out", out, "--encoder", mine)[0] == 0
    status, report = run("encoders", "remove", mine)
    assert (status, report["needed_by"]) == (0, [str(out)])
    assert not (home / "models" / mine).exists()
    status, report = run("encoders", "check", mine)
    assert (status, report["error"]["type"]) == (1, "EncoderMissingError")


def test_that_what_comes_with_the_program_and_what_is_not_there_is_not_removed(run: Any):
    status, said = run("encoders", "remove", "compact")
    assert (status, "comes with the program" in said["error"]["message"]) == (1, True)
    status, said = run("encoders", "remove", "nowhere")
    assert (status, said["error"]["type"]) == (1, "EncoderMissingError")


def test_that_a_check_of_the_installation_says_where_each_encoder_would_run(run: Any, mine: str):
    status, report = run("check")
    assert (status, report["encoders"]) == (0, ["compact", mine])
    assert {one["device"] for one in report["running"]} == {"cpu"}
    (Path(report["folders"]["models"]["path"]) / mine / "image.onnx").unlink()
    status, report = run("check")
    assert status == 1
    assert [mine in problem for problem in report["problems"]] == [True]


def test_that_stats_name_precision_recipe_and_effective_dimension(run: Any, tmp_path: Path):
    for colour in toy_collection.COLOURS:
        picture = toy_collection.picture(colour, 32)
        phantoms.write_picture(tmp_path / "in" / f"{colour}.png", picture)
    out = tmp_path / "c"
    assert run("build", tmp_path / "in", "--out", out, "--encoder", toy_encoder.NAME)[0] == 0
    _, report = run("stats", out)
    assert report["views"].startswith("slices-")
    assert 1 < report["effective_dimension"] <= report["encoder"]["dimension"]
    assert report["encoder"]["precision"]
    assert {"pooled", "joined"} <= set(report["counts"])


def test_that_a_collection_is_told_whose_encoder_is_another_now(tmp_path: Path):
    toy_collection.write(tmp_path / "now", range(3))
    older = toy_encoder.ToyEncoder(salt="older").card
    toy_collection.write(tmp_path / "before", range(3), card=older)
    models = tmp_path / "models"
    assert inspection.outdated(tmp_path / "now", models) == []
    (told,) = inspection.outdated(tmp_path / "before", models)
    assert older.digest[:12] in told
    assert "words find only" in told
