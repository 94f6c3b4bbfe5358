"""The search process as the window knows it: a real one, with the toy encoder."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import phantoms
import psutil
import pytest
import toy_collection
import toy_encoder

from medsearch_desktop import cases, errors, queries
from medsearch_desktop.worker import client, messages

_PATIENCE_S = 60.0


class Window:
    """What the window's end hears, in order."""

    def __init__(self, home: Path) -> None:
        self.heard: queue.Queue[messages.FromWorker] = queue.Queue()
        self.losses = 0
        self.client = client.WorkerClient(home, self.heard.put, on_lost=self._lost)

    def _lost(self) -> None:
        self.losses += 1

    def wait(self, wanted: Callable[[messages.FromWorker], bool]) -> messages.FromWorker:
        """Return the first message that is wanted; those before it are dropped."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            message = self.heard.get(timeout=max(0.01, deadline - time.monotonic()))
            if wanted(message):
                return message

    def answer(self, ticket: int) -> queries.Results:
        """Return the complete answer to a ticket."""

        def is_it(message: messages.FromWorker) -> bool:
            if isinstance(message, messages.Failed):
                raise message.error
            is_answer = isinstance(message, messages.Answer)
            return is_answer and message.results.complete and message.results.ticket == ticket

        found = self.wait(is_it)
        assert isinstance(found, messages.Answer)
        return found.results


@pytest.fixture
def window(home: Path) -> Iterator[Window]:
    made = Window(home)
    yield made
    made.client.close()


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    pictures = toy_collection.write_pictures(tmp_path / "pictures")
    toy_collection.write(tmp_path / "toys", range(40), folder=pictures)
    return tmp_path / "toys"


def search(ticket: int, *terms: queries.Term, among: Path) -> messages.Search:
    return messages.Search(ticket, queries.Query(terms=terms, collections=(str(among),)))


def is_ready(message: messages.FromWorker) -> bool:
    return isinstance(message, messages.Ready)


def test_that_a_prepared_collection_tells_its_encoder_and_device(
    window: Window, toys: Path
) -> None:
    window.client.start()
    assert isinstance(window.wait(is_ready), messages.Ready)
    window.client.send(messages.Prepare((str(toys),)))
    told = window.wait(lambda m: isinstance(m, messages.Prepared))
    card = toy_encoder.ToyEncoder().card
    assert told == messages.Prepared(
        str(toys), "Toys", 40, card.name, card.digest, card.limits, "cpu"
    )


def test_that_words_and_pictures_are_answered(window: Window, toys: Path) -> None:
    window.client.send(search(1, queries.TextTerm("red fracture"), among=toys))
    assert window.answer(1).hits[0].case.title == "red square"
    ref = cases.ImageRef(str(toys.parent / "pictures" / "blue.png"))
    window.client.send(search(2, queries.ImageTerm(ref), among=toys))
    assert window.answer(2).hits[0].case.title == "blue square"


def test_that_bad_input_fails_its_ticket_and_the_process_goes_on(
    window: Window, toys: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    bad = [
        search(1, queries.ImageTerm(cases.ImageRef(str(tmp_path / "broken.png"))), among=toys),
        search(2, queries.TextTerm("x"), among=tmp_path / "no collection"),
        messages.Search(
            3,
            queries.Query(filters=(queries.Filter("colour", "red"),), collections=(str(toys),)),
        ),
    ]
    kinds = (errors.UnreadableFileError, errors.CollectionError, errors.QuerySyntaxError)
    window.client.start()
    window.wait(is_ready)
    process_id = window.client.process_id
    for message, kind in zip(bad, kinds, strict=True):
        window.client.send(message)
        failed = window.wait(lambda m: isinstance(m, messages.Failed))
        assert isinstance(failed, messages.Failed)
        assert failed.ticket == message.ticket
        assert isinstance(failed.error, kind)
    window.client.send(search(4, queries.TextTerm("red"), among=toys))
    assert window.answer(4).hits
    assert window.client.process_id == process_id
    assert window.losses == 0


def test_that_a_collection_that_cannot_be_prepared_is_named(window: Window, tmp_path: Path) -> None:
    window.client.send(messages.Prepare((str(tmp_path / "none"),)))
    failed = window.wait(lambda m: isinstance(m, messages.Failed))
    assert isinstance(failed, messages.Failed)
    assert (failed.ticket, failed.subject) == (None, str(tmp_path / "none"))


def test_that_a_collection_whose_encoder_is_missing_is_searched_by_words(
    window: Window, tmp_path: Path
) -> None:
    import dataclasses

    card = dataclasses.replace(toy_encoder.ToyEncoder().card, name="not-installed")
    toy_collection.write(tmp_path / "c", range(10), card=card)
    window.client.send(messages.Prepare((str(tmp_path / "c"),)))
    told = window.wait(lambda m: isinstance(m, messages.Prepared))
    assert isinstance(told, messages.Prepared)
    assert told.device == ""
    failed = window.wait(lambda m: isinstance(m, messages.Failed))
    assert isinstance(failed, messages.Failed)
    assert isinstance(failed.error, errors.EncoderMissingError)
    window.client.send(search(1, queries.TextTerm("fracture"), among=tmp_path / "c"))
    results = window.answer(1)
    assert results.hits
    assert results.notices


def test_that_a_new_generation_is_seen_by_the_next_question(window: Window, toys: Path) -> None:
    window.client.send(search(1, queries.TextTerm("number 41"), among=toys))
    assert window.answer(1).total == 40
    toy_collection.write(toys, range(40, 50))
    window.client.send(search(2, queries.TextTerm("number 41"), among=toys))
    results = window.answer(2)
    assert results.total == 50
    assert "case-41" in {hit.case.case_id for hit in results.hits}


def test_that_the_newest_question_is_answered_and_older_ones_are_dropped(
    window: Window, toys: Path, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=60, size=(256, 256))
    window.client.start()
    window.wait(is_ready)
    window.client.send(search(1, queries.VolumeTerm(str(tmp_path / "ct")), among=toys))
    window.wait(lambda m: isinstance(m, messages.Progress))
    for ticket in range(2, 12):
        window.client.send(search(ticket, queries.TextTerm("red"), among=toys))
    heard: list[messages.FromWorker] = []

    def is_last(message: messages.FromWorker) -> bool:
        heard.append(message)
        return isinstance(message, messages.Answer) and message.results.ticket == 11

    window.wait(is_last)
    time.sleep(0.3)
    while not window.heard.empty():
        heard.append(window.heard.get())
    answered = [m.results.ticket for m in heard if isinstance(m, messages.Answer)]
    assert answered == sorted(answered)
    assert answered[-1] == 11
    assert not any(
        isinstance(m, messages.Answer) and m.results.ticket == 1 and m.results.complete
        for m in heard
    )


def test_that_a_volume_is_answered_quickly_and_then_completely(
    window: Window, toys: Path, tmp_path: Path
) -> None:
    phantoms.write_ct_series(tmp_path / "ct", slices=30)
    window.client.send(search(1, queries.VolumeTerm(str(tmp_path / "ct")), among=toys))
    first = window.wait(lambda m: isinstance(m, messages.Answer))
    assert isinstance(first, messages.Answer)
    assert not first.results.complete
    assert window.answer(1).complete


def test_that_a_killed_process_is_started_again_and_answers_the_last_question(
    window: Window, toys: Path
) -> None:
    window.client.send(messages.Prepare((str(toys),)))
    window.wait(lambda m: isinstance(m, messages.Prepared))
    first = window.client.process_id
    assert first is not None
    readers = psutil.Process(first).children(recursive=True)
    # Stopped, so that the question is certainly not answered before the kill.
    os.kill(first, signal.SIGSTOP)
    window.client.send(search(1, queries.TextTerm("red fracture"), among=toys))
    os.kill(first, signal.SIGKILL)
    assert isinstance(window.wait(is_ready), messages.Ready)
    assert window.answer(1).hits[0].case.title == "red square"
    window.wait(lambda m: isinstance(m, messages.Prepared))
    assert window.losses == 1
    assert psutil.wait_procs(readers, timeout=10)[1] == []
    assert window.client.process_id not in (None, first)


def test_that_a_process_that_is_lost_twice_is_given_up_until_the_next_question(
    window: Window, toys: Path
) -> None:
    window.client.start()
    window.wait(is_ready)
    for _ in range(2):
        process_id = window.client.process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGSTOP)
        if window.losses == 0:
            window.client.send(search(1, queries.TextTerm("red"), among=toys))
        os.kill(process_id, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE_S
        while window.client.process_id in (process_id, None) and time.monotonic() < deadline:
            time.sleep(0.005)
            if window.losses == 2:
                break
    failed = window.wait(lambda m: isinstance(m, messages.Failed))
    assert isinstance(failed, messages.Failed)
    assert failed.ticket == 1
    assert isinstance(failed.error, errors.WorkerLostError)
    window.client.send(search(2, queries.TextTerm("red"), among=toys))
    assert window.answer(2).hits


def test_that_closing_ends_the_process_and_its_readers_and_closing_twice_is_allowed(
    home: Path, toys: Path
) -> None:
    window = Window(home)
    window.client.send(search(1, queries.TextTerm("red"), among=toys))
    window.answer(1)
    process = psutil.Process(window.client.process_id)
    children = process.children(recursive=True)
    window.client.close()
    window.client.close()
    _, alive = psutil.wait_procs([process, *children], timeout=_PATIENCE_S)
    assert alive == []
    window.client.send(search(2, queries.TextTerm("red"), among=toys))
    assert window.client.process_id is None


def test_that_a_hanging_process_is_killed_on_closing(home: Path) -> None:
    window = Window(home)
    window.client.start()
    window.wait(is_ready)
    process_id = window.client.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGSTOP)
    window.client.close()
    assert not psutil.pid_exists(process_id)


def test_that_closing_before_the_start_is_over_leaves_nothing(home: Path) -> None:
    window = Window(home)
    window.client.start()
    window.client.close()
    assert window.client.process_id is None


_WINDOW_THAT_DIES = """
import sys, os, time
from pathlib import Path
from medsearch_desktop.worker import client

def heard(message):
    print(it.process_id, flush=True)
    os._exit(3)

if __name__ == "__main__":
    it = client.WorkerClient(Path(sys.argv[1]), heard, on_lost=lambda: None)
    it.start()
    time.sleep(60)
"""


def test_that_the_process_ends_when_its_window_is_gone(home: Path, tmp_path: Path) -> None:
    (tmp_path / "window.py").write_text(_WINDOW_THAT_DIES)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "window.py"), str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    worker = int(done.stdout)
    deadline = time.monotonic() + _PATIENCE_S
    while psutil.pid_exists(worker) and time.monotonic() < deadline:
        try:
            if psutil.Process(worker).status() == psutil.STATUS_ZOMBIE:
                break
        except psutil.NoSuchProcess:
            break
        time.sleep(0.05)
    else:
        assert not psutil.pid_exists(worker)


def test_that_the_client_loads_no_part_of_the_engine() -> None:
    code = (
        "import sys; import medsearch_desktop.worker.client; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'numpy', 'torch', 'faiss', 'tantivy', 'onnxruntime', 'open_clip', 'PySide6'}),"
        "[m for m in sys.modules if m.startswith('medsearch_desktop.engine')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
