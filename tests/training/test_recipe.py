"""Recipes: every key known, present and in its range."""

from pathlib import Path

import pytest

from medsearch_desktop import errors, settings
from medsearch_desktop.training import recipe

_WHOLE = """
name = "small"
data = "films"
out = "model"
sources = ["a", "b"]
folds = 2
[pins]
image_checkpoint = "{pin}"
text_onnx = "{pin}"
tokenizer = "{pin}"
[heads]
members = 2
learning_rate = 1
""".format(pin="0" * 64)


def _write(folder: Path, text: str = _WHOLE) -> Path:
    (folder / "films").mkdir(exist_ok=True)
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def test_that_paths_count_from_the_recipe_and_defaults_fill_the_heads(tmp_path: Path):
    plan = recipe.read(_write(tmp_path))
    assert (plan.data, plan.out) == (tmp_path / "films", tmp_path / "model")
    assert (plan.heads.members, plan.heads.learning_rate) == (2, 1.0)
    assert plan.heads.width == 128
    assert plan.sources == ("a", "b")


def test_that_given_folders_go_before_those_of_the_recipe(tmp_path: Path):
    (tmp_path / "other").mkdir()
    plan = recipe.read(_write(tmp_path), data=tmp_path / "other", out=tmp_path / "there")
    assert (plan.data, plan.out) == (tmp_path / "other", tmp_path / "there")


def test_that_a_path_may_name_a_variable_which_must_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = _write(tmp_path, _WHOLE.replace('"films"', '"$FILMS_FOLDER"'))
    monkeypatch.delenv("FILMS_FOLDER", raising=False)
    with pytest.raises(errors.QuerySyntaxError, match="FILMS_FOLDER"):
        recipe.read(path)
    monkeypatch.setenv("FILMS_FOLDER", str(tmp_path / "films"))
    assert recipe.read(path).data == tmp_path / "films"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("members = 2", "membres = 2", "heads.membres"),
        ("members = 2", "members = 0", "heads.members"),
        ("members = 2", 'members = "two"', "heads.members"),
        ("members = 2", "members = true", "heads.members"),
        ("folds = 2", "fold = 2", "fold"),
        ('name = "small"', "", "name"),
        ("tokenizer = ", "tokeniser = ", "pins.tokenizer"),
        ("0" * 64, "0" * 63, "pins.image_checkpoint"),
        ('sources = ["a", "b"]', "sources = []", "sources"),
        ('sources = ["a", "b"]', "sources = [1]", "sources"),
        ('data = "films"', 'data = "nowhere"', "nowhere"),
        ("[heads]", "[heads", "recipe.toml"),
    ],
)
def test_that_a_wrong_key_is_refused_by_its_name(tmp_path: Path, old: str, new: str, named: str):
    with pytest.raises(errors.QuerySyntaxError) as refused:
        recipe.read(_write(tmp_path, _WHOLE.replace(old, new, 1)))
    assert named in str(refused.value)


def test_that_the_recipe_of_the_built_in_encoder_is_whole(tmp_path: Path):
    plan = recipe.read(
        settings.resource("models/compact.toml"), data=tmp_path, out=tmp_path / "model"
    )
    assert plan.name == "compact"
    assert plan.folds >= 2
