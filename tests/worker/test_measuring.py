"""How long an encoder takes here: measured in steps, with a real worker and in this process."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_collection
import toy_encoder
from worker import test_worker

from medsearch_desktop import errors, queries, settings
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.worker import measuring, messages


@pytest.fixture
def window(home: Path) -> Iterator[test_worker.Window]:
    made = test_worker.Window(home)
    yield made
    made.client.close()


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    toy_collection.write(tmp_path / "toys", range(40))
    return tmp_path / "toys"


def _measured(message: messages.FromWorker) -> bool:
    return isinstance(message, messages.Measured)


def test_that_an_encoder_is_measured_by_what_it_can_do() -> None:
    encoder = toy_encoder.ToyEncoder()
    last = list(measuring.steps(encoder.card.name, lambda name: encoder))[-1]
    assert last is not None
    assert (last.image_ms or 0) > 0
    assert (last.text_ms or 0) > 0
    assert last.placed == messages.Placed(encoder.card.name, "CPU", "fp32")
    encoder.card = dataclasses.replace(encoder.card, abilities=("images",))
    last = list(measuring.steps(encoder.card.name, lambda name: encoder))[-1]
    assert last is not None
    assert last.image_ms is not None
    assert last.text_ms is None


def test_that_an_encoder_that_cannot_be_loaded_is_a_sentence() -> None:
    def load(name: str) -> toy_encoder.ToyEncoder:
        raise errors.EncoderMissingError(name, "it is not installed")

    (told,) = list(measuring.steps("gone", load))
    assert told is not None
    assert "gone" in told.problem
    assert told.image_ms is None


def test_that_an_encoder_that_left_its_gpu_is_placed_on_the_cpu() -> None:
    encoder = toy_encoder.ToyEncoder()
    encoder.card = dataclasses.replace(encoder.card, device="cuda:0", precision="fp16")
    encoder.has_left_device = True  # type: ignore[attr-defined]
    assert measuring.placed(encoder).words == "CPU, fp32"


def test_that_the_worker_measures_and_answers_questions_meanwhile(
    window: test_worker.Window,
    toys: Path,
) -> None:
    window.client.start()
    window.wait(test_worker.is_ready)
    window.client.send(messages.Measure(toy_encoder.NAME))
    window.client.send(test_worker.search(1, queries.TextTerm("red fracture"), among=toys))
    heard = [window.wait(lambda m: isinstance(m, messages.Answer) or _measured(m))]
    heard.append(window.wait(lambda m: isinstance(m, messages.Answer) or _measured(m)))
    kinds = {type(message) for message in heard}
    assert kinds == {messages.Answer, messages.Measured}
    (told,) = (message for message in heard if isinstance(message, messages.Measured))
    assert (told.encoder, told.problem) == (toy_encoder.NAME, "")


def test_that_what_is_asked_before_the_process_stands_is_measured_once_it_does(
    window: test_worker.Window,
) -> None:
    window.client.send(messages.Measure("not-installed"))
    told = window.wait(_measured)
    assert isinstance(told, messages.Measured)
    assert "not-installed" in told.problem


def test_that_questions_of_two_lanes_are_both_answered_and_none_replaces_the_windows(
    window: test_worker.Window,
    toys: Path,
    tmp_path: Path,
) -> None:
    toy_collection.write(tmp_path / "other", range(20))
    question = queries.Query(terms=(queries.TextTerm("red"),))
    window.client.start()
    window.wait(test_worker.is_ready)
    for ticket, (lane, folder) in enumerate(
        ((0, toys), (1, toys), (2, tmp_path / "other"), (1, tmp_path / "other")), 1
    ):
        asked = dataclasses.replace(question, collections=(str(folder),))
        window.client.send(messages.Search(ticket, asked, lane))
    answered: dict[int, set[str]] = {}
    while not {1, 3, 4} <= set(answered):
        message = window.wait(lambda m: isinstance(m, messages.Answer))
        assert isinstance(message, messages.Answer)
        if message.results.complete:
            places = {hit.collection for hit in message.results.hits}
            answered[message.results.ticket] = places
    assert answered[1] == {str(toys)}
    assert answered[3] == answered[4] == {str(tmp_path / "other")}


def test_that_an_encoder_whose_folder_went_is_not_used_from_memory(
    window: test_worker.Window,
    home: Path,
    tmp_path: Path,
) -> None:
    mine = home / "models" / "mine"
    shutil.copytree(settings.resource("models/compact"), mine)
    card = dataclasses.replace(base.load_folder(mine).card, name="mine", dimension=16)
    toy_collection.write(tmp_path / "mine", range(20), card=card)
    window.client.send(messages.Prepare((str(tmp_path / "mine"),)))
    told = window.wait(lambda m: isinstance(m, messages.Running | messages.Failed))
    assert isinstance(told, messages.Running), told
    shutil.rmtree(mine)
    window.client.send(messages.Prepare((str(tmp_path / "mine"),)))
    told = window.wait(lambda m: isinstance(m, messages.Failed))
    assert isinstance(told, messages.Failed)
    assert isinstance(told.error, errors.EncoderMissingError)


def test_that_the_worker_tells_where_an_encoder_runs(
    window: test_worker.Window,
    toys: Path,
) -> None:
    window.client.send(messages.Prepare((str(toys),)))
    told = window.wait(lambda m: isinstance(m, messages.Running))
    assert isinstance(told, messages.Running)
    assert [one.words for one in told.encoders] == ["CPU, fp32"]
