"""What a log may hold."""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from medsearch_desktop import logs

CANARIES = (
    "/home/reader/Müller_Anna/IM0001.dcm",
    "/home/reader/Müller, Anna (1937)/scan of Anna/IM0001.dcm",
    "~/Anna/IM0001",
    r"C:\Users\reader\Anna\IM1.dcm",
    r"C:\Users\Dr. Anna Müller\CT of Anna\IM0001.dcm",
    "D:/Anna Müller/IM0001",
    r"\\server\share of Anna\Anna Müller\IM0001.dcm",
    "file:///home/reader/M%C3%BCller%20Anna/IM0001.dcm",
    "Müller Anna.dcm",
    "Anna.nii.gz",
    "ANNA IM0001.DCM",
    "アンナ_Anna.zip",
    "1.2.840.113619.2.55.3.604688119",
    "MUELLER^ANNA",
    "müller^Anna maria^^dr.",
    "van der Anna^annA^^",
)


@pytest.fixture
def log(tmp_path: Path):
    levels = {name: logging.getLogger(name).level for name in ("", "medsearch_desktop", "indexer")}
    logs.start(tmp_path / "logs", "test", level="INFO")
    yield tmp_path / "logs" / "test.log"
    logs.stop()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def _names_nobody(text: str) -> bool:
    parts = ("anna", "müller", "mueller", "604688119", "im0001", "アンナ", "van der")
    return not any(part in text.lower() for part in parts)


@pytest.mark.parametrize("canary", CANARIES)
def test_that_what_may_name_a_patient_does_not_reach_the_log(log: Path, canary: str):
    logging.getLogger("medsearch_desktop.tests").info("opened %s in 3 s", canary)
    text = log.read_text("utf-8")
    assert "in 3 s" in text
    assert _names_nobody(text)


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize("words", ["reading {} failed", "no such file: {}", "cannot open '{}'!"])
def test_that_a_sentence_made_before_it_is_logged_names_nobody(log: Path, canary: str, words: str):
    logging.getLogger("medsearch_desktop.tests").warning(words.format(canary))
    text = log.read_text("utf-8")
    assert "WARNING" in text
    assert _names_nobody(text)


def test_that_a_path_is_told_from_another_by_a_digest_of_this_installation(log: Path):
    ours = logging.getLogger("medsearch_desktop.tests")
    for path in (Path("/a/anna.dcm"), Path("/a/anna.dcm"), Path("/b/anna.dcm")):
        ours.info("read %s", path)
    same, again, other = (line.split("read ")[1] for line in log.read_text("utf-8").splitlines())
    assert same == again != other
    salt = log.parent.parent / "log-salt"
    assert stat.S_IMODE(salt.stat().st_mode) == 0o600
    assert len(salt.read_bytes()) == 16
    salt.write_bytes(os.urandom(16))
    logs.start(log.parent, "test", level="INFO")
    ours.info("read %s", Path("/a/anna.dcm"))
    assert same not in log.read_text("utf-8").splitlines()[-1]


def test_that_numbers_and_words_of_ours_stay_readable(log: Path):
    logging.getLogger("medsearch_desktop.tests").info(
        "%s: %d of %.1f on %s, %s", "build", 3, 2.5, "cuda:0", ValueError("Anna")
    )
    assert "build: 3 of 2.5 on cuda:0, ValueError" in log.read_text("utf-8")


@pytest.fixture
def expected_warnings() -> list[str]:
    return ["tests", "some.library", "nobody caught it"]


def test_that_a_warning_of_a_library_is_told_by_its_place_alone(log: Path):
    logging.getLogger("some.library").warning("value Anna is odd in %s", "Müller")
    text = log.read_text("utf-8")
    assert "some.library" in text
    assert "test_logs.py:" in text
    assert _names_nobody(text)


@pytest.fixture
def told(log: Path):
    found: list[str] = []
    before = (sys.excepthook, threading.excepthook)
    logs.watch(found.append)
    yield found
    logs.stop()
    assert (sys.excepthook, threading.excepthook) == before


def _fault() -> None:
    raise ValueError("MUELLER^ANNA")


def test_that_what_nobody_catches_is_logged_by_place_and_told_once_by_type(log, told, capsys):
    for _ in range(3):
        try:
            _fault()
        except ValueError:
            sys.excepthook(*sys.exc_info())
    text = log.read_text("utf-8")
    assert text.count("ValueError at test_logs.py") == 1
    assert told == ["ValueError"]
    assert _names_nobody(text + "".join(capsys.readouterr()))


def test_that_a_thread_that_fails_is_logged_too(log, told):
    thread = threading.Thread(target=_fault)
    thread.start()
    thread.join()
    assert "ValueError at test_logs.py" in log.read_text("utf-8")
    assert _names_nobody(log.read_text("utf-8"))


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
