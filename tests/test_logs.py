"""What a log may hold."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from medsearch_desktop import logs

CANARIES = (
    "/home/reader/Müller_Anna/IM0001.dcm",
    r"C:\Users\reader\Anna\IM1.dcm",
    "1.2.840.113619.2.55.3.604688119",
    "MUELLER^ANNA",
)


@pytest.fixture
def log(tmp_path: Path):
    levels = {name: logging.getLogger(name).level for name in ("", "medsearch_desktop", "indexer")}
    logs.start(tmp_path / "logs", "test", level="INFO")
    yield tmp_path / "logs" / "test.log"
    logs.stop()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("canary", CANARIES)
def test_that_what_may_name_a_patient_does_not_reach_the_log(log: Path, canary: str):
    logging.getLogger("medsearch_desktop.tests").info("opened %s in 3 s", canary)
    text = log.read_text("utf-8")
    assert "in 3 s" in text
    assert not any(part in text for part in ("Anna", "ANNA", "604688119", "IM0001"))


def test_that_a_traceback_keeps_places_and_drops_values(log: Path):
    try:
        raise ValueError("MUELLER^ANNA is not a number")
    except ValueError:
        logging.getLogger("medsearch_desktop.tests").info("reading failed", exc_info=True)
    text = log.read_text("utf-8")
    assert "ValueError at test_logs.py" in text
    assert "MUELLER" not in text


def test_that_a_log_belongs_to_its_user_alone(log: Path):
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_that_a_folder_that_cannot_be_written_leaves_a_program_that_runs(tmp_path: Path):
    (tmp_path / "file").write_text("")
    logs.start(tmp_path / "file" / "logs", "test")
    logging.getLogger("medsearch_desktop.tests").info("still here")
    logs.stop()


def test_that_libraries_tell_the_log_nothing_below_a_warning(log: Path):
    logging.getLogger("some.library").info("opened a file")
    assert log.read_text("utf-8") == ""
