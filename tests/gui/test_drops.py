"""What is dropped or pasted is read right, and the zones say what will become of it."""

from __future__ import annotations

import hashlib
import time

import pytest
from PySide6.QtCore import QMimeData, QUrl
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from medsearch_desktop.gui import drops


def mime_of(*paths, text="", image=None) -> QMimeData:
    mime = QMimeData()
    if paths:
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    if text:
        mime.setText(text)
    if image is not None:
        mime.setImageData(image)
    return mime


@pytest.fixture
def red(qapp) -> QImage:
    image = QImage(20, 10, QImage.Format.Format_RGB32)
    image.fill(0xFFFF0000)
    return image


def test_that_files_come_before_a_picture_and_a_picture_before_words(red, tmp_path):
    file = tmp_path / "Ä b.dcm"
    assert drops.read(mime_of(file, text="words", image=red)).paths == (file,)
    found = drops.read(mime_of(text="words", image=red))
    assert found.picture is not None
    assert found.words == ""
    assert drops.read(mime_of(text=" two\n words ")).words == "two words"


def test_that_an_address_on_the_network_is_not_taken(qapp):
    mime = QMimeData()
    mime.setUrls([QUrl("https://example.org/a.png")])
    assert drops.read(mime) is None


def test_that_a_pasted_picture_is_kept_once_under_its_digest(red, tmp_path):
    first = drops.keep_picture(red, tmp_path)
    again = drops.keep_picture(red.copy(), tmp_path)
    assert first == again
    assert first.stem == hashlib.sha256(first.read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert QImage(str(first)).pixelColor(3, 3).red() == 255


def test_that_files_in_folders_are_counted(tmp_path):
    for number in range(5):
        (tmp_path / "a" / "b").mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / "b" / str(number)).touch()
    (tmp_path / "single").touch()
    assert drops.count_files((tmp_path / "a", tmp_path / "single")) == 6


def test_that_the_zones_stand_within_50_ms_of_the_drag_entering(program, toys, tmp_path):
    started = program(size=(1920, 1080))
    started.wait_for_collections()
    zones = started.parts.zones
    began = time.thread_time()  # of this thread alone: other processes' load does not count
    zones.offer(drops.Dropped(paths=(tmp_path,)))
    QApplication.processEvents()
    assert time.thread_time() - began < 0.05
    assert zones.isVisible()
    zones.close_zones()


def test_that_words_cannot_be_dropped_on_only_open(program, drop, toys):
    started = program()
    assert not drop(started.window, mime_of(text="nodule"), drops.Zone.OPEN)
    assert drop(started.window, mime_of(text="nodule"), drops.Zone.ADD)
    assert [part.label for part in started.box.parts] == ["nodule"]
