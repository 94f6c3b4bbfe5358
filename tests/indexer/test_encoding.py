"""Batches come back in their order, and nothing is encoded twice."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import toy_encoder

from indexer import encoding, rendering
from medsearch_desktop import cases, errors
from medsearch_desktop.engine.encoders import base


class _Counting(toy_encoder.ToyEncoder):
    """The toy encoder, as one of onnxruntime, which notes what it is given."""

    def __init__(self, runtime: str = "onnxruntime", abilities: str = "images texts") -> None:
        super().__init__()
        self.card = dataclasses.replace(
            self.card, runtime=runtime, abilities=tuple(abilities.split())
        )
        self.seen: Counter[bytes] = Counter()
        self.read: Counter[str] = Counter()
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def encode_images(self, images: np.ndarray) -> np.ndarray:
        with self._lock:
            self.seen.update(image.tobytes() for image in images)
            self.threads.add(threading.current_thread().name)
        return super().encode_images(images)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        with self._lock:
            self.read.update(texts)
        return super().encode_texts(texts)


def _prepared(number: int, path: str, text: str = "") -> rendering.Prepared:
    case = cases.Case(
        str(number),
        text=text,
        facets=cases.Facets(modality="CT", body_part="chest"),
        images=(cases.CaseImage(cases.ImageRef(path)),),
    )
    value = int.from_bytes(path.encode()[-2:], "big") % 250
    return rendering.Prepared(case, (np.full((4, 4, 3), value, np.uint8),), (b"",))


def _all(
    encoder: base.Encoder, batches: Sequence[Sequence[rendering.Prepared]]
) -> Iterator[encoding.Encoded]:
    encoded = encoding.Encoding(encoder)
    try:
        for batch in batches:
            encoded.give(batch)
            while encoded.is_full:
                yield from encoded.take()
        while found := encoded.take():
            yield from found
    finally:
        encoded.close()


def test_that_cases_come_back_in_order_with_their_own_vectors() -> None:
    given = [[_prepared(10 * b + k, f"{b}{k}", f"text {b}{k}") for k in range(5)] for b in range(9)]
    plain = toy_encoder.ToyEncoder()
    found = list(_all(_Counting(), given))
    assert [one.prepared for one in found] == [one for batch in given for one in batch]
    for one in found:
        (picture,) = one.prepared.pictures
        assert np.array_equal(one.images, plain.encode_images(picture[None]))
        assert np.array_equal(one.text, plain.encode_texts([one.prepared.case.text])[0])
        assert np.array_equal(one.tags, plain.encode_texts(["CT, chest"])[0])


def test_that_no_picture_text_or_phrase_is_encoded_twice() -> None:
    encoder = _Counting()
    given = [[_prepared(10 * b + k, f"0{k}", "one caption") for k in range(5)] for b in range(9)]
    assert len(list(_all(encoder, given))) == 45
    assert set(encoder.seen.values()) == {1}
    assert encoder.read == {"one caption": 1, "CT, chest": 1}


def test_that_what_was_forgotten_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_REMEMBERED", 3)
    encoder = _Counting()
    given = [[_prepared(10 * b + k, f"{b % 4}{k}") for k in range(3)] for b in range(12)]
    found = list(_all(encoder, given))
    plain = toy_encoder.ToyEncoder()
    for one in found:
        assert np.array_equal(one.images, plain.encode_images(one.prepared.pictures[0][None]))


def test_that_only_encoders_of_onnxruntime_on_a_cpu_are_called_by_several_threads() -> None:
    card = toy_encoder.ToyEncoder().card
    assert encoding.threads(card) == 1
    assert encoding.threads(dataclasses.replace(card, runtime="torch")) == 1
    onnx = dataclasses.replace(card, runtime="onnxruntime")
    assert encoding.threads(dataclasses.replace(onnx, device="cuda:0")) == 1
    assert encoding.threads(onnx) >= 1
    one = _Counting(runtime="torch")
    list(_all(one, [[_prepared(b, f"{b}0")] for b in range(9)]))
    assert len(one.threads) == 1


def test_that_a_gpu_is_given_more_pictures_than_one_of_its_batches_holds() -> None:
    card = toy_encoder.ToyEncoder().card
    assert encoding.batch_size(card) == 32
    assert encoding.batch_size(dataclasses.replace(card, device="cuda:0")) >= 4 * 64


def test_that_an_encoder_that_fails_says_so_when_its_batch_is_taken() -> None:
    class Failing(_Counting):
        def encode_images(self, images: np.ndarray) -> np.ndarray:
            raise errors.EncoderError("toy", "it is out of order")

    with pytest.raises(errors.EncoderError, match="out of order"):
        list(_all(Failing(), [[_prepared(0, "00")]]))


def test_that_an_encoder_that_reads_nothing_is_given_no_words() -> None:
    encoder = _Counting(abilities="images")
    (one,) = _all(encoder, [[_prepared(0, "00", "some text")]])
    assert one.text is None
    assert one.tags is None
    assert not encoder.read
