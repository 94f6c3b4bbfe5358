"""Settings, folders and resources."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from medsearch_desktop import settings


def test_that_a_missing_file_gives_the_defaults(tmp_path: Path):
    assert settings.load(tmp_path / "none.toml") == (settings.Settings(), ())


def test_that_a_wrong_value_names_its_key_and_is_ignored(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('[search]\nlimit = 500\nmin_cosine = 0\n[viewer]\nscale_percent = "big"\n')
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings(search=settings.SearchSettings(min_cosine=0.0))
    assert [n.split(" ")[1] for n in notices] == ["search.limit", "viewer.scale_percent"]


def test_that_unknown_keys_and_tables_are_told(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text("search = 3\n[vewer]\nx = 1\n[viewer]\nzoom = 2\n")
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings()
    assert len(notices) == 3


def test_that_a_file_that_is_no_toml_is_ignored_with_a_notice(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xff\xfe[")
    loaded, notices = settings.load(file)
    assert loaded == settings.Settings()
    assert "ignored" in notices[0]


def test_that_the_home_of_the_environment_holds_everything_and_is_private(home: Path):
    folders = settings.folders().make()
    assert folders.home == home
    for folder in (folders.collections, folders.models, folders.logs, folders.scratch):
        assert folder.parent == home
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folders.shelf == home / "shelf.db"


def test_that_a_given_home_beats_the_environment(home: Path, tmp_path: Path):
    assert settings.folders(tmp_path / "other").home == tmp_path / "other"


def test_that_a_resource_we_do_not_ship_is_missed_by_name():
    with pytest.raises(FileNotFoundError, match="nothing-like-this"):
        settings.resource("nothing-like-this")
