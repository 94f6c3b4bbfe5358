"""Collections of this session: which are there, which are searched, and building them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from medsearch_desktop import settings
from medsearch_desktop.gui import (
    background,
    collection_list,
    demo_build,
    editions,
    jobs,
    rebuilding,
    reembedding,
)

Known = tuple[collection_list.CollectionInfo, ...]


class Library(QObject):
    """Knows the collections and remembers the reader's choice."""

    changed = Signal(object, tuple)  # what is offered, the paths that are searched
    failed = Signal(object)  # OSError
    refused = Signal(str, str)  # the folder's name, a sentence
    rebuilt = Signal(str, str)  # the path, "" or why it could not be built again

    def __init__(
        self,
        folders: settings.Folders,
        work: background.Background,
        jobs_pane: jobs.JobsPane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._folders, self._work, self._jobs = folders, work, jobs_pane
        self._file = folders.collections / "choice.json"
        self._choice = collection_list.Choice()
        self._known: Known = ()
        self.demo = demo_build.DemoBuild(folders.home, self)
        self.demo.progressed.connect(self._show_progress)
        self.demo.ended.connect(self._end_demo)
        self._job = 0
        self._skipped = 0
        self.rebuilding = rebuilding.Rebuilding(folders.home, work, jobs_pane, self)
        self.rebuilding.ended.connect(self._end_rebuild)
        self.reembedding = reembedding.Reembedding(folders.home, jobs_pane, self)
        self.reembedding.ended.connect(lambda _: self._reload())

    @property
    def known(self) -> Known:
        """The collections that were found, with all their editions."""
        return self._known

    @property
    def groups(self) -> tuple[editions.Group, ...]:
        """The collections, each with its editions."""
        choice = self._choice
        return editions.grouped(self._known, choice.chosen, dict(choice.editions))

    @property
    def offered(self) -> Known:
        """The collections a reader chooses from: of each, the edition that is searched."""
        return tuple(group.shown for group in self.groups)

    @property
    def demo_folder(self) -> Path:
        """Where the demo collection lies once it is built."""
        return self._folders.collections / "demo"

    @property
    def searched(self) -> tuple[str, ...]:
        """The collections that are searched: those chosen, else the first that can be."""
        usable = [info.path for info in self.offered if not info.problem]
        chosen = tuple(path for path in self._choice.chosen if path in usable)
        return chosen or tuple(usable[:1])

    def load(self, given: tuple[Path, ...] = ()) -> None:
        """Look for collections; `given` folders are added and searched."""

        def read() -> tuple[collection_list.Choice, Known]:
            choice = collection_list.load_choice(self._file)
            if given:
                paths = tuple(str(path.absolute()) for path in given)
                added = tuple(dict.fromkeys((*choice.added, *paths)))
                choice = dataclasses.replace(choice, added=added, chosen=paths)
            self._finish_swaps(choice)
            return choice, collection_list.available(self._folders.collections, choice)

        self._work.run(read, then=self._take, failed=self.failed.emit)

    def choose(self, paths: tuple[str, ...]) -> None:
        """Search these collections from now on."""
        self._choice = dataclasses.replace(self._choice, chosen=paths)
        self._save()
        self.changed.emit(self.offered, self.searched)

    def choose_edition(self, base: str, path: str) -> None:
        """Search, of the collection whose first edition lies in `base`, the one in `path`."""
        others = {one.path for group in self.groups if group.path == base for one in group.members}
        chosen = tuple(path if one in others else one for one in self._choice.chosen)
        kept = {**dict(self._choice.editions), base: path}
        self._choice = dataclasses.replace(
            self._choice, chosen=tuple(dict.fromkeys(chosen)), editions=tuple(kept.items())
        )
        self._save()
        self.changed.emit(self.offered, self.searched)

    def add(self, folder: Path) -> None:
        """Take a folder into the list and search it, if it is a collection."""

        def then(info: collection_list.CollectionInfo) -> None:
            if info.problem:
                self.refused.emit(folder.name, info.problem)
                return
            added = tuple(dict.fromkeys((*self._choice.added, info.path)))
            chosen = (*self.searched, info.path)
            self._choice = dataclasses.replace(self._choice, added=added, chosen=chosen)
            self._save()
            self._reload()

        work = lambda: collection_list.read_info(folder.absolute())  # noqa: E731
        self._work.run(work, then=then, failed=self.failed.emit)

    def build_demo(self) -> None:
        """Build the demo collection, shown among the jobs."""
        if self.demo.is_running:
            return
        job = jobs.Job(
            title=self.tr("Building the demo collection"),
            line=self.tr("Reading images"),
            sentence=self.tr("You can go on working meanwhile."),
            stop=self.demo.stop,
        )
        self._job, self._skipped = self._jobs.add(job), 0
        self.demo.start()

    def rebuild(self, path: str) -> None:
        """Build a damaged collection again from what it was built from."""
        for info in self._known:
            if info.path == path:
                is_demo = path == str(self.demo_folder)
                if problem := self.rebuilding.start(info, is_demo=is_demo):
                    self.refused.emit(info.name, problem)

    def can_rebuild(self, path: str) -> bool:
        """Say whether what a collection was built from is known and was there when it was read."""
        is_demo = path == str(self.demo_folder)
        return any(info.path == path and (is_demo or info.has_sources) for info in self._known)

    def name_of(self, path: str) -> str:
        """Return the name of a collection, or of its folder where it is not known."""
        return next((info.name for info in self._known if info.path == path), Path(path).name)

    def set_cases(self, path: str, cases: int) -> None:
        """Take how many cases are searched: fewer than the newest state has, if that is damaged."""
        self._known = tuple(
            dataclasses.replace(info, cases=cases) if info.path == path else info
            for info in self._known
        )

    def info(self, path: str) -> collection_list.CollectionInfo | None:
        """Return what is known of a collection, None where it is not known."""
        return next((info for info in self._known if info.path == path), None)

    def close(self) -> None:
        """End a build that runs."""
        self.demo.close()
        self.rebuilding.close()
        self.reembedding.close()

    def _end_rebuild(self, path: str, problem: str) -> None:
        self.rebuilt.emit(path, problem)
        self._reload()

    def _finish_swaps(self, choice: collection_list.Choice) -> None:
        found = self._folders.collections.glob("*" + collection_list.SET_ASIDE)
        inside = [path.with_name(path.stem) for path in found]
        try:
            rebuilding.finish([*inside, *map(Path, choice.added)])
        except OSError:
            # On a disk that cannot be written now it is done another time.
            return

    def _reload(self) -> None:
        choice = self._choice
        self._work.run(
            lambda: collection_list.available(self._folders.collections, choice),
            # With the choice of then: what was chosen meanwhile stays.
            then=lambda found: self._take((self._choice, found)),
            failed=self.failed.emit,
        )

    def _take(self, read: tuple[collection_list.Choice, Known]) -> None:
        self._choice, self._known = read
        self.changed.emit(self.offered, self.searched)

    def _save(self) -> None:
        choice = self._choice
        self._work.run(
            lambda: collection_list.save_choice(self._file, choice),
            then=lambda _: None,
            failed=self.failed.emit,
        )

    def _show_progress(self, said: dict) -> None:
        done, total = int(said.get("done") or 0), int(said.get("total") or 0)
        self._skipped = int(said.get("skipped") or 0)
        self._jobs.change(self._job, line=demo_build.line_of(said), done=done, total=total)

    def _end_demo(self, problem: str) -> None:
        state = jobs.State.SKIPS if self._skipped else jobs.State.DONE
        sentence = self.tr("Ready to be searched.")
        if self._skipped:
            sentence = self.tr("Ready; {n} inputs were skipped.").format(n=self._skipped)
        if problem:
            state, sentence = jobs.State.FAILED, problem
        self._jobs.change(self._job, state=state, sentence=sentence, stop=None)
        self._reload()
