"""The built-in encoder on real images: 3,007 cases, through the whole search."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer import cli
from medsearch_desktop import queries
from medsearch_desktop.engine import generations, search, snapshot
from medsearch_desktop.engine.encoders import base, compact
from medsearch_desktop.imaging import isolated

pytestmark = [pytest.mark.pack, pytest.mark.slow]

_SOURCES = ("vqa-med-2019", "covid-chestxray", "mednist")


@pytest.fixture(scope="module")
def encoder() -> compact.Compact:
    return compact.Compact()


@pytest.fixture(scope="module")
def collection(
    pack: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[snapshot.Collection]:
    """The three sources as one collection, built by the command of the program."""
    folder = tmp_path_factory.mktemp("built")
    manifests = [str(pack / source / "manifest.csv") for source in _SOURCES]
    quiet = ["--quiet", "--home", str(folder / "home")]
    assert cli.main(["build", *manifests, "--out", str(folder / "three"), *quiet]) == 0
    with generations.open_collection(folder / "three") as opened:
        yield opened


@pytest.fixture
def readers() -> Iterator[isolated.Readers]:
    made = isolated.Readers(1)
    yield made
    made.close()


def _found(
    query: queries.Query,
    opened: snapshot.Collection,
    encoder: base.Encoder,
    readers: isolated.Readers,
) -> tuple[queries.Hit, ...]:
    *_, last = search.search(query, [opened], lambda card: encoder, readers)
    assert last.complete
    assert not last.notices
    return last.hits


def test_that_words_find_the_known_case_in_the_first_ten_for_16_of_20_queries(
    collection: snapshot.Collection, encoder: compact.Compact, readers: isolated.Readers
):
    listed = Path(__file__).with_name("text_queries.toml").read_text("utf-8")
    asked = tomllib.loads(listed)["query"]
    assert (collection.manifest.counts.cases, len(asked)) == (3007, 20)
    missed = []
    for one in asked:
        query = queries.Query(terms=(queries.TextTerm(one["words"]),), limit=10)
        hits = _found(query, collection, encoder, readers)
        if one["case"] not in [hit.case.case_id for hit in hits]:
            missed.append(one["words"])
    assert len(asked) - len(missed) >= 16, missed


def test_that_15_of_the_first_20_cases_like_a_chest_ct_are_ct(
    pack: Path,
    collection: snapshot.Collection,
    encoder: compact.Compact,
    readers: isolated.Readers,
):
    volume = queries.VolumeTerm(str(pack / "dicom-series" / "ct_chest_lidc0314"))
    hits = _found(queries.Query(terms=(volume,), limit=20), collection, encoder, readers)
    assert sum(hit.case.facets.modality == "CT" for hit in hits) >= 15


def test_that_an_image_of_the_collection_finds_its_own_vector(
    collection: snapshot.Collection,
    encoder: compact.Compact,
    readers: isolated.Readers,
):
    places = collection.all_places()
    for number in (3, 1000, 2500):
        case = collection.case(places[number])
        asked = queries.ImageTerm(case.images[0].ref)
        query = queries.Query(terms=(asked,), limit=3)
        first = _found(query, collection, encoder, readers)[0]
        assert first.evidence.images[0].score > 0.999
