"""Building a damaged collection again: beside it, checked, then put into its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from medsearch_desktop.gui import background, collection_list, demo_build, jobs


def beside(folder: Path) -> Path:
    """Return where the new collection is built."""
    return folder.with_name(folder.name + collection_list.REBUILT)


def aside(folder: Path) -> Path:
    """Return where the damaged one lies while the new one takes its place."""
    return folder.with_name(folder.name + collection_list.SET_ASIDE)


def swap(folder: Path) -> None:
    """Put the checked new collection into the place of the damaged one, which is removed.

    Two renames; what a kill between them leaves `finish` puts right. Raises OSError.
    """
    os.rename(folder, aside(folder))
    os.rename(beside(folder), folder)
    shutil.rmtree(aside(folder), ignore_errors=True)


def finish(folders: Iterable[Path]) -> None:
    """Go on with swaps that were broken off; raises OSError."""
    for folder in folders:
        if not aside(folder).exists():
            continue
        if not folder.exists() and (beside(folder) / collection_list.MANIFEST).exists():
            os.rename(beside(folder), folder)
        if (folder / collection_list.MANIFEST).exists():
            shutil.rmtree(aside(folder), ignore_errors=True)
        elif not folder.exists():
            os.rename(aside(folder), folder)


def words(info: collection_list.CollectionInfo, *, is_demo: bool) -> list[list[str]]:
    """Return the indexer's commands that build a collection again, in order.

    The first builds, each other adds a part. There are none when its sources are gone.
    """
    new = str(beside(Path(info.path)))
    if is_demo:
        return [["demo", "--out", new]]
    if not all(part.is_there for part in info.parts):
        return []
    # Out of a file, so each as one word: none of them can become an option of its own.
    named = [f"--name={info.name}", f"--encoder={info.encoder}"]
    commands = []
    for number, part in enumerate(info.parts):
        start = ["add", "--resume"] if number else ["build", "--out", new, "--resume", *named]
        into = [new] if number else []
        commands.append([*start, *_options(part), "--", *into, *part.inputs])
    return commands


def _options(part: collection_list.Part) -> list[str]:
    options = [f"--input-format={part.input_format}", f"--columns={part.columns}"]
    if part.limit is not None:
        options.append(f"--limit={part.limit}")
    if part.slices_per_volume is not None:
        options.append(f"--slices-per-volume={part.slices_per_volume}")
    return options


class Rebuilding(QObject):
    """Builds one collection again at a time, shown among the jobs."""

    ended = Signal(str, str)  # the path, "" when it is whole again, else what went wrong

    def __init__(
        self,
        home: Path,
        work: background.Background,
        jobs_pane: jobs.JobsPane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._work, self._jobs, self._job = work, jobs_pane, 0
        self._folder: Path | None = None
        self._commands: list[list[str]] = []
        self._next = 0
        self._is_afresh = False
        self._build = demo_build.Child(home, self)
        self._check = demo_build.Child(home, self)
        self._build.progressed.connect(self._show)
        self._build.ended.connect(self._go_on)
        self._check.ended.connect(self._put_in_place)

    @property
    def is_running(self) -> bool:
        """Say whether a collection is being built again."""
        return self._folder is not None

    @property
    def path(self) -> str:
        """The path of the collection that is being built again, or ""."""
        return "" if self._folder is None else str(self._folder)

    @property
    def other_ways(self) -> str:
        """A sentence on what can be done with a collection that cannot be built again."""
        return self.tr(
            "The files it was built from are not known or no longer there. Copy the "
            "collection again, run `medsearch-index repair` on its folder, or build it anew."
        )

    def start(self, info: collection_list.CollectionInfo, *, is_demo: bool) -> str:
        """Begin; returns "" or a sentence that says why it cannot be."""
        if self._folder is not None:
            return self.tr("Another collection is being built again. Wait until it is done.")
        self._commands, self._next = words(info, is_demo=is_demo), 0
        if not self._commands:
            return self.other_ways
        self._folder = Path(info.path)
        # What lies beside was built by an earlier try and is gone on with, unless it is damaged.
        self._is_afresh = not beside(self._folder).exists()
        title = self.tr("Building {name} again").format(name=info.name)
        sentence = self.tr("The damaged one stays until the new one is checked.")
        self._job = self._jobs.add(
            jobs.Job(title, line=self.tr("Reading"), sentence=sentence, stop=self._build.stop)
        )
        self._go_on("")
        return ""

    def close(self) -> None:
        """End what runs; what was built so far is taken up next time."""
        self._build.close()
        self._check.close()

    def _show(self, said: dict) -> None:
        self._jobs.change(
            self._job,
            line=demo_build.line_of(said),
            done=int(said.get("done") or 0),
            total=int(said.get("total") or 0),
        )

    def _go_on(self, problem: str) -> None:
        """Start the next command after one that ended; after the last, check what was built."""
        if problem and self._build.has_met_damage:
            self._renew(problem)
        elif problem or self._folder is None:
            self._end(problem)
        elif self._next < len(self._commands):
            self._next += 1
            self._build.start(self._commands[self._next - 1])
        else:
            self._jobs.change(self._job, line=self.tr("Checking"), stop=None)
            self._check.start(["verify", str(beside(self._folder))])

    def _put_in_place(self, problem: str) -> None:
        folder = self._folder
        if problem and self._check.has_met_damage:
            self._renew(self.tr("What was built did not pass its check; it is not used."))
            return
        if problem or folder is None:
            self._end(problem)
            return
        self._work.run(
            lambda: swap(folder),
            then=lambda _: self._end(""),
            failed=lambda error: self._end(str(error)),
        )

    def _renew(self, problem: str) -> None:
        """Remove what an earlier try left damaged beside and build afresh, once."""
        folder = self._folder
        if folder is None or self._is_afresh:
            self._end(problem)
            return
        self._is_afresh, self._next = True, 0
        self._jobs.change(self._job, line=self.tr("Reading"), stop=self._build.stop)
        self._work.run(
            lambda: shutil.rmtree(beside(folder)),
            then=lambda _: self._go_on(""),
            failed=lambda error: self._end(str(error)),
        )

    def _end(self, problem: str) -> None:
        path, self._folder = self.path, None
        state = jobs.State.FAILED if problem else jobs.State.DONE
        sentence = problem or self.tr("It is whole again and searched.")
        self._jobs.change(self._job, state=state, sentence=sentence, stop=None)
        self.ended.emit(path, problem)
