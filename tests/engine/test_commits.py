"""Commits that are killed, and a collection against a dictionary."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import toy_collection
import toy_encoder
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from medsearch_desktop import errors
from medsearch_desktop.engine import collection, manifest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks to kill for good")

# Each of these may be the last thing a killed process gets to.
_CALLS = ("fsync", "replace", "rename", "link", "unlink", "rmdir", "mkdir")
_KILLED = 9


def run_killed(work: Callable[[], object], at: int) -> bool:
    """Do `work` in a forked process that dies before its `at`-th call; tell whether it died."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            count = 0

            def dying(call: Callable[..., object]) -> Callable[..., object]:
                def called(*args: object, **kwargs: object) -> object:
                    nonlocal count
                    count += 1
                    if count == at:
                        os._exit(_KILLED)
                    return call(*args, **kwargs)

                return called

            for name in _CALLS:
                setattr(os, name, dying(getattr(os, name)))
            work()
            status = 0
        finally:
            os._exit(status)
    _, result = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(result) in (0, _KILLED)
    return os.waitstatus_to_exitcode(result) == _KILLED


def ids(path: Path) -> list[str]:
    with collection.open_collection(path) as opened:
        assert len(opened.matching("square", 200)) == opened.manifest.counts.cases
        return [case.case_id for case in opened.all_cases()]


def names(numbers: range) -> list[str]:
    return [f"case-{number}" for number in numbers]


def commit_more(path: Path, *, resume: bool = False) -> None:
    card = toy_encoder.ToyEncoder().card
    with collection.CollectionWriter(path, name="Toys", card=card, resume=resume) as writer:
        toy_collection.add_studies(writer, range(10 + writer.resumed, 15))
        writer.commit()


@pytest.mark.slow
def test_that_a_kill_at_any_write_leaves_the_old_or_the_new_generation(tmp_path: Path) -> None:
    toy_collection.write(tmp_path / "start", range(6))
    toy_collection.write(tmp_path / "start", range(6, 10))
    seen, at = [], 0
    while True:
        at += 1
        path = tmp_path / f"killed-{at}"
        shutil.copytree(tmp_path / "start", path)
        if not run_killed(lambda path=path: commit_more(path), at):
            break
        found = ids(path)
        assert found in (names(range(10)), names(range(15)))
        assert collection.verify(path) == []
        seen.append(len(found))
        # And the next writer puts everything right, from the checkpoint or anew.
        if len(found) == 10:
            commit_more(path, resume=at % 2 == 0)
            assert ids(path) == names(range(15))
            assert collection.verify(path) == []
        shutil.rmtree(path)
    assert seen == sorted(seen)
    assert {10, 15} == set(seen)
    assert len(seen) > 20


@pytest.mark.slow
def test_that_a_kill_of_the_first_commit_leaves_no_half_collection(tmp_path: Path) -> None:
    at = 0
    while True:
        at += 1
        path = tmp_path / f"killed-{at}"
        if not run_killed(lambda path=path: toy_collection.write(path, range(5)), at):
            break
        if not (path / manifest.NAME).exists():
            toy_collection.write(path, range(5))
        assert ids(path) == names(range(5))


def test_that_a_full_disk_leaves_the_old_generation_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_collection.write(tmp_path / "c", range(5))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.DiskFullError, match="The disk is full"):
        toy_collection.write(tmp_path / "c", range(5, 9))
    monkeypatch.undo()
    assert ids(tmp_path / "c") == names(range(5))
    toy_collection.write(tmp_path / "c", range(5, 9))
    assert ids(tmp_path / "c") == names(range(9))


def test_that_every_file_is_synced_before_the_manifest_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy_collection.write(tmp_path / "c", range(5))
    synced: set[int] = set()
    fsync, replace = os.fsync, os.replace
    checked = []

    def noting(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checking(source: Path, target: Path) -> None:
        if Path(target).name == "manifest.json":
            listed = manifest.parse(Path(source).read_text(), "c")
            new = [*listed.segments[-1].files, *listed.words]
            missing = [e.path for e in new if (tmp_path / "c" / e.path).stat().st_ino not in synced]
            assert missing == []
            folders = ("", "segments", "segments/0002", "words", "words/2", "generations")
            assert all((tmp_path / "c" / name).stat().st_ino in synced for name in folders)
            assert Path(source).stat().st_ino in synced
            synced.clear()
            checked.append(target)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "replace", checking)
    toy_collection.write(tmp_path / "c", range(5, 9))
    assert len(checked) == 1
    assert (tmp_path / "c").stat().st_ino in synced


class Collections(RuleBasedStateMachine):
    """A writer is opened, fed, checkpointed, killed, committed; a dictionary says what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(os.environ["MEDSEARCH_STATES"]) / str(id(self))
        self.committed: list[int] = []
        self.checkpointed: list[int] = []
        self.added: list[int] = []
        self.studies: set[int] = set()
        self.next = 0
        self.writer: collection.CollectionWriter | None = None

    @precondition(lambda self: self.writer is None)
    @rule(resume=st.booleans())
    def open_writer(self, resume: bool) -> None:
        card = toy_encoder.ToyEncoder().card
        self.writer = collection.CollectionWriter(
            self.folder, name="Toys", card=card, resume=resume
        )
        self.added = list(self.checkpointed) if resume else []
        self.checkpointed = list(self.added)
        assert self.writer.resumed == len(self.added)

    @precondition(lambda self: self.writer is not None)
    @rule(count=st.integers(1, 3), are_studies=st.booleans())
    def add(self, count: int, are_studies: bool) -> None:
        numbers = range(self.next, self.next + count)
        if are_studies:
            toy_collection.add_studies(self.writer, numbers)
            self.studies.update(numbers)
        else:
            toy_collection.add(self.writer, numbers)
        self.next += count
        self.added += numbers

    @precondition(lambda self: self.writer is not None)
    @rule()
    def checkpoint(self) -> None:
        self.writer.checkpoint()
        self.checkpointed = list(self.added)

    @precondition(lambda self: self.writer is not None)
    @rule()
    def commit(self) -> None:
        self.writer.commit()
        self.writer.close()
        self.writer = None
        self.committed += self.added
        self.added, self.checkpointed = [], []

    @precondition(lambda self: self.writer is not None)
    @rule()
    def abandon(self) -> None:
        self.writer.close()
        self.writer = None
        self.added = []

    @precondition(lambda self: self.writer is not None)
    @rule(at=st.integers(1, 60))
    def kill_while_committing(self, at: int) -> None:
        """The writer that is killed is one that resumes: SQLite does not survive a fork."""
        self.writer.checkpoint()
        self.writer.close()
        self.writer = None
        expected = self.committed + self.added
        run_killed(self._commit_resumed, at)
        if self._found() == names(expected):
            self.committed, self.added = expected, []
        self.checkpointed, self.added = self.added, []

    def _commit_resumed(self) -> None:
        with self._resumed() as writer:
            writer.commit()

    def _resumed(self) -> collection.CollectionWriter:
        card = toy_encoder.ToyEncoder().card
        return collection.CollectionWriter(self.folder, name="Toys", card=card, resume=True)

    def _found(self) -> list[str]:
        if not (self.folder / manifest.NAME).exists():
            return []
        return ids(self.folder)

    @invariant()
    def readers_see_what_was_committed(self) -> None:
        assert self._found() == names(self.committed)
        if self.committed:
            counts = manifest.read(self.folder).counts
            assert counts.pooled == len(self.studies.intersection(self.committed))
            assert counts.joined == counts.cases

    def teardown(self) -> None:
        if self.writer is not None:
            self.writer.close()
        if (self.folder / manifest.NAME).exists():
            assert collection.verify(self.folder) == []
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.mark.slow
def test_that_a_collection_behaves_like_a_dictionary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setenv("MEDSEARCH_STATES", str(tmp_path))
    run_state_machine_as_test(
        Collections,
        settings=settings(
            max_examples=60,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
