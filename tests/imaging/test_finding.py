"""One opening over several readers: what is given when many files end the reader."""

from __future__ import annotations

from pathlib import Path

import phantoms
import pytest

from medsearch_desktop.imaging import finding, opening, reader_process, study

NOT_TRIED = "It was not tried: too many others ended the reader."


def _is_killer(path: str) -> bool:
    return Path(path.rpartition("/")[2]).name.startswith("b")


class _KilledError(Exception):
    """A reader ended."""


def _replies(job: reader_process.Open, killed: list[str], after: int | None = None):
    """Give what a reader says to a job; it ends at files whose names begin with b."""
    told: list[str] = []

    def announce(path: str) -> None:
        told.append(path)

    found = opening.open_paths(
        job.paths, announce=announce, skip=job.skip, grow=job.grow, only=job.only
    )
    known = 0
    while True:
        each = next(found, None)
        for place in told[known:]:
            yield "at", place
            if place and _is_killer(place):
                killed.append(place)
                raise _KilledError
        known = len(told)
        if each is None:
            yield "done", None
            return
        yield "found", each


def _opened(*paths: Path) -> tuple[list[study.Study], dict[str, str], int]:
    """Return the studies, the reasons by path (each once), and how many readers were lost."""
    search = finding.Finding([str(path) for path in paths], grow=False)
    studies, refused, killed = [], {}, []
    while not search.is_over:
        given = []
        try:
            for reply in _replies(search.job(), killed):
                given += search.take(reply)
        except _KilledError:
            given += search.lost("It ended the reader.")
        for each in given:
            if isinstance(each, study.Refused):
                assert each.path not in refused, "each file is told once"
                refused[each.path] = each.reason
            else:
                studies.append(each)
    return studies, refused, len(killed)


def _folder(folder: Path, sound: int, killers: int, more: int) -> Path:
    for path in phantoms.write_ct_series(folder, sound, (8, 8)):
        path.rename(folder / f"a{path.name}")
    for path in phantoms.write_ct_series(folder / "more", more, (8, 8)):
        path.rename(folder / f"c{path.name}")
    (folder / "more").rmdir()
    for k in range(killers):
        (folder / f"b{k:03}.dcm").write_bytes(b"kills")
    return folder


def test_that_what_was_read_before_too_many_losses_is_given_and_every_file_is_told(tmp_path):
    folder = _folder(tmp_path / "drop", 10, 30, 10)
    (only,), refused, losses = _opened(folder)
    shown = {Path(ref.path).name for series in only.series for ref in series.slices}
    assert shown == {f"aIM{k:04}.dcm" for k in range(1, 11)}
    assert losses == finding.MOST_LOSSES
    names = {Path(path).name for path in refused}
    assert names | shown == {path.name for path in folder.iterdir()}
    reasons = [refused[path] for path in sorted(refused)]
    assert reasons == ["It ended the reader."] * 25 + [NOT_TRIED] * 15


def test_that_a_folder_of_which_most_files_are_sound_is_read_to_its_end(tmp_path):
    folder = _folder(tmp_path / "drop", 620, 30, 10)
    (only,), refused, losses = _opened(folder)
    assert losses == 30
    assert set(refused.values()) == {"It ended the reader."}
    assert sum(len(series.slices) for series in only.series) == 630


def test_that_the_members_read_of_an_archive_are_given_after_too_many_losses(tmp_path):
    folder = _folder(tmp_path / "drop", 5, 27, 3)
    archive = phantoms.zip_folder(folder, tmp_path / "packed.zip")
    (only,), refused, _ = _opened(archive, tmp_path / "gone")
    assert sum(len(series.slices) for series in only.series) == 5
    assert list(refused.values()).count(NOT_TRIED) == 5
    assert len(refused) == 27 + 3 + 1


@pytest.mark.parametrize("last", [1, finding.MOST_LAST_LOSSES])
def test_that_a_last_job_that_is_lost_too_comes_to_an_end(tmp_path, last):
    search = finding.Finding(["/drop"], grow=False)
    given = []
    for k in range(finding.MOST_LOSSES):
        for j in range(5):
            given += search.take(("at", f"/drop/a{j}"))
        given += search.take(("at", f"/drop/b{k:02}"))
        given += search.lost("It ended the reader.")
    for k in range(last):
        assert search.job().only == {f"/drop/a{j}" for j in range(k, 5)}
        given += search.take(("at", f"/drop/a{k}"))
        given += search.lost("It ended the reader.")
    left = 5 - last if last < finding.MOST_LAST_LOSSES else 0
    assert len(search.job().only or ()) == left
    given += search.take(("done", None))
    assert search.is_over
    assert len({each.path for each in given}) == len(given) == finding.MOST_LOSSES + last
