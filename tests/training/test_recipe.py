"""Recipes: every key known, present and in its range."""

import dataclasses
from pathlib import Path

import pytest

from medsearch_desktop import errors, settings
from medsearch_desktop.training import recipe

_WHOLE = """
name = "small"
data = "films"
out = "model"
sources = ["a", "b"]
[pins]
image_checkpoint = "{pin}"
text_onnx = "{pin}"
tokenizer = "{pin}"
[trunk]
first_block = 12
learning_rate = 1
trim = true
[heads]
width = 32
[figures]
seeds = [4, 5]
""".format(pin="0" * 64)


def _write(folder: Path, text: str = _WHOLE) -> Path:
    (folder / "films").mkdir(exist_ok=True)
    path = folder / "recipe.toml"
    path.write_text(text, "utf-8")
    return path


def test_that_paths_count_from_the_recipe_and_defaults_fill_the_tables(tmp_path: Path):
    plan = recipe.read(_write(tmp_path))
    assert (plan.data, plan.out) == (tmp_path / "films", tmp_path / "model")
    assert (plan.trunk.first_block, plan.trunk.learning_rate, plan.trunk.trim) == (12, 1.0, True)
    assert (plan.heads.width, plan.heads.dropout) == (32, recipe.Heads().dropout)
    assert plan.sources == ("a", "b")
    assert plan.figures.seeds == (4, 5)
    assert plan.losses == recipe.Losses()


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
        ("width = 32", "widht = 32", "heads.widht"),
        ("width = 32", "width = 0", "heads.width"),
        ("width = 32", 'width = "two"', "heads.width"),
        ("width = 32", "width = true", "heads.width"),
        ("trim = true", "trim = 1", "trunk.trim"),
        ("seeds = [4, 5]", "seeds = []", "figures.seeds"),
        ("seeds = [4, 5]", "seeds = [4, -1]", "figures.seeds"),
        ("seeds = [4, 5]", "seeds = 4", "figures.seeds"),
        ("[heads]", "[texts]\ntext_only = 0.5\n[heads]", "texts.captions"),
        ("[heads]", "disturbed = 0.5\n[heads]", "trunk.views"),
        ("[heads]", "[head]", "head"),
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


_TABLES = {
    "trunk": recipe.Trunk,
    "heads": recipe.Heads,
    "texts": recipe.Texts,
    "losses": recipe.Losses,
    "figures": recipe.Figures,
}
_KEYS = [(table, one.name) for table, kind in _TABLES.items() for one in dataclasses.fields(kind)]


@pytest.mark.parametrize(("table", "key"), _KEYS)
def test_that_every_key_refuses_another_kind_and_a_value_out_of_range(
    tmp_path: Path, table: str, key: str
):
    is_number = type(getattr(_TABLES[table](), key)) in (int, float)
    for wrong in ("{}", "-1", "1e12") if is_number else ("{}", "-1"):
        text = _WHOLE.partition("[trunk]")[0] + f"[{table}]\n{key} = {wrong}\n"
        with pytest.raises(errors.QuerySyntaxError, match=rf"{table}\.{key} "):
            recipe.read(_write(tmp_path, text))


@pytest.mark.parametrize("name", ["compact", "prototype"])
def test_that_the_recipes_that_come_with_the_program_are_whole(tmp_path: Path, name: str):
    path = settings.resource(f"models/{name}.toml")
    plan = recipe.read(path, data=tmp_path, out=tmp_path / "model")
    assert plan.name == name
    assert len(plan.figures.seeds) == 3


def test_that_both_recipes_are_measured_on_the_same_folds(tmp_path: Path):
    compact, prototype = (
        recipe.read(settings.resource(f"models/{name}.toml"), data=tmp_path, out=tmp_path / "m")
        for name in ("compact", "prototype")
    )
    assert compact.settings()["figures"] == prototype.settings()["figures"]
    assert compact.sources == prototype.sources
    assert compact.digest() != prototype.digest()
