"""Collections that break while they are searched and encoders that fail: what the window hears."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_collection
import toy_encoder
from worker import test_worker

from medsearch_desktop import errors, queries, settings
from medsearch_desktop.engine import damage
from medsearch_desktop.worker import messages, process

WORDS = queries.TextTerm("red square")


@pytest.fixture
def window(home: Path) -> Iterator[test_worker.Window]:
    made = test_worker.Window(home)
    yield made
    made.client.close()


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    toy_collection.write(tmp_path / "toys", range(3000), name="Toys")
    return tmp_path / "toys"


def ask(window: test_worker.Window, ticket: int, *among: Path) -> queries.Results:
    paths = tuple(str(path) for path in among)
    window.client.send(messages.Search(ticket, queries.Query(terms=(WORDS,), collections=paths)))
    return window.answer(ticket)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a mapped file as it is")
def test_that_a_file_cut_while_it_is_mapped_is_told_of_and_words_still_answer(
    window: test_worker.Window, toys: Path
) -> None:
    assert not ask(window, 1, toys).notices
    os.truncate(toys / "segments/0001/images.faiss", 81)
    os.truncate(toys / "segments/0001/texts.faiss", 81)
    results = ask(window, 2, toys)
    assert results.hits[0].case.title == "red square"
    assert "Toys is damaged" in results.notices[0]
    assert "by words only" in results.notices[0]
    assert window.losses <= 1
    assert ask(window, 3, toys).hits
    assert window.losses <= 1


def test_that_a_removed_folder_is_named_and_the_others_go_on(
    window: test_worker.Window, toys: Path, tmp_path: Path
) -> None:
    toy_collection.write(tmp_path / "far", range(10), name="Far")
    assert not ask(window, 1, toys, tmp_path / "far").notices
    shutil.rmtree(tmp_path / "far")
    (notice,) = ask(window, 2, toys, tmp_path / "far").notices
    assert f"{tmp_path / 'far'} holds no collection: the folder is not there" in notice
    with pytest.raises(errors.CollectionError, match="its drive is gone"):
        ask(window, 3, tmp_path / "far")
    assert window.losses == 0


class Alone:
    """A worker on a thread of this process, and what it says."""

    def __init__(self, home: Path) -> None:
        self._ours, theirs = multiprocessing.Pipe()
        self._worker = process.Worker(theirs, settings.folders(str(home)))
        self._thread = threading.Thread(target=self._worker.run)
        self._thread.start()

    def send(self, message: messages.FromWindow) -> None:
        self._ours.send(message)

    def hear(self, kind: type) -> messages.FromWorker:
        while not isinstance(message := self._heard(), kind):
            pass
        return message

    def _heard(self) -> messages.FromWorker:
        assert self._ours.poll(30), "nothing more was said"
        message: messages.FromWorker = self._ours.recv()
        return message

    def close(self) -> None:
        self.send(messages.Stop())
        self._thread.join()
        self._ours.close()


@pytest.fixture
def alone(home: Path) -> Iterator[Alone]:
    made = Alone(home)
    yield made
    made.close()


def test_that_what_opening_left_is_checked_in_the_background_and_told_once(
    alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(damage, "WHOLE_BYTES", 0)
    monkeypatch.setattr(damage, "SMALL_BYTES", 0)
    folder = tmp_path / "large"
    toy_collection.write(folder, range(10))
    path = folder / "segments/0001/thumbs.bin"
    path.write_bytes(path.read_bytes().replace(b"thumbnail 3", b"thumbnail 4"))
    alone.send(messages.Prepare((str(folder),)))
    first = alone.hear(messages.Prepared)
    assert isinstance(first, messages.Prepared)
    assert first.notice == ""
    failed = alone.hear(messages.Failed)
    assert isinstance(failed, messages.Failed)
    assert (failed.ticket, failed.subject) == (None, str(folder))
    assert isinstance(failed.error, errors.CollectionDamagedError)
    assert "thumbs.bin differs from its checksum" in str(failed.error)
    again = alone.hear(messages.Prepared)
    assert isinstance(again, messages.Prepared)
    assert "with fewer pictures shown" in again.notice
    alone.send(messages.Search(1, queries.Query(terms=(WORDS,), collections=(str(folder),))))
    answer = alone.hear(messages.Answer)
    assert isinstance(answer, messages.Answer)
    assert answer.results.notices == (again.notice,)


def test_that_an_encoder_that_fails_leaves_the_words_and_pictures_their_sentence(
    alone: Alone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise errors.DeviceMemoryError("toy", "the GPU is full")

    pictures = toy_collection.write_pictures(tmp_path / "pictures")
    toy_collection.write(tmp_path / "c", range(10), folder=pictures)
    monkeypatch.setattr(toy_encoder.ToyEncoder, "encode_texts", full)
    monkeypatch.setattr(toy_encoder.ToyEncoder, "encode_images", full)
    among = (str(tmp_path / "c"),)
    alone.send(messages.Search(1, queries.Query(terms=(WORDS,), collections=among)))
    answer = alone.hear(messages.Answer)
    assert isinstance(answer, messages.Answer)
    assert answer.results.hits[0].case.title == "red square"
    (notice,) = answer.results.notices
    assert notice.startswith("Toys: searched by words only. The encoder toy cannot be used")
    assert notice.endswith(errors.DeviceMemoryError.action)
    red = queries.ImageTerm(toy_collection.case(4, pictures).images[0].ref)
    alone.send(messages.Search(2, queries.Query(terms=(red,), collections=among)))
    failed = alone.hear(messages.Failed)
    assert isinstance(failed, messages.Failed)
    assert isinstance(failed.error, errors.DeviceMemoryError)
    alone.send(messages.Search(3, queries.Query(terms=(red, WORDS), collections=among)))
    answer = alone.hear(messages.Answer)
    assert isinstance(answer, messages.Answer)
    assert answer.results.hits[0].case.title == "red square"
