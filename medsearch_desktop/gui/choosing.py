"""Choosing what is searched: picker, first-run page and menu, and the dialogs on encoders."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

from medsearch_desktop.gui import (
    asking,
    bottom_dock,
    collection_list,
    dialogs,
    installed,
    library,
    main_window,
    problems,
    searching,
    viewing,
)
from medsearch_desktop.viewer import plain


class Choosing(QObject):
    """Ties what offers collections and encoders to the library."""

    open_requested = Signal(object)  # queries.Hit, of a comparison

    def __init__(
        self,
        window: main_window.MainWindow,
        known: library.Library,
        encoders: installed.Installed,
        asks: asking.Asking,
        search: searching.Searching,
        view: viewing.Viewing,
    ) -> None:
        super().__init__(window)
        self._window, self._library, self._installed = window, known, encoders
        self._asking, self._search, self._viewing = asks, search, view
        self._models: Any = None
        self._comparison: Any = None
        self._connect()

    def show_models(self) -> None:
        """Open the dialog on encoders, or bring it to the front."""
        from medsearch_desktop.gui import models_dialog

        if self._models is None:
            self._models = models_dialog.ModelsDialog(self._installed, self._library, self._window)
            self._models.compare_requested.connect(self.show_comparison)
            self._models.jobs_requested.connect(
                lambda: self._window.bottom.show_page(bottom_dock.JOBS)
            )
        self._models.show_page()

    def show_comparison(self, base: str = "") -> None:
        """Open the comparison of a collection's editions; "" takes the first that has two."""
        from medsearch_desktop.gui import compare_dialog

        groups = [one for one in self._library.groups if len(one.members) > 1]
        group = next((one for one in groups if one.path == base), groups[0] if groups else None)
        if group is None:
            self._say(
                problems.Kind.NOTICE,
                self.tr("No collection is embedded by two encoders yet."),
                self.tr("Embed one again with another encoder; then both can be compared."),
                action=self.tr("Models…"),
                act=self.show_models,
            )
            return
        if self._comparison is None:
            self._comparison = compare_dialog.CompareDialog(self._search.worker, self._window)
            self._comparison.open_requested.connect(self.open_requested)
        self._comparison.show_group(group, self._search.question)

    def add_collection(self) -> None:
        """Ask for a folder with a collection and search it."""
        folder = dialogs.choose_folder(self._window, self.tr("Add a collection folder"))
        if folder is not None:
            self._library.add(folder)

    def build_demo(self) -> None:
        """Build the demo collection, shown among the jobs."""
        self._library.build_demo()
        self._window.bottom.show_page(bottom_dock.JOBS)
        self._window.viewer.first_run.set_building(self.tr("Building the demo collection…"))

    def _connect(self) -> None:
        known, picker = self._library, self._window.search_bar.picker
        first_run = self._window.viewer.first_run
        known.changed.connect(self._show_collections)
        known.refused.connect(lambda name, reason: self._say(problems.Kind.WARNING, name, reason))
        known.failed.connect(self._window.results.problems.show_error)
        known.demo.progressed.connect(self._show_demo)
        known.demo.ended.connect(lambda _: first_run.set_building(""))
        for source in (picker, first_run):
            source.demo_requested.connect(self.build_demo)
            source.add_requested.connect(self.add_collection)
        picker.models_requested.connect(self.show_models)
        picker.chosen.connect(known.choose)
        self._window.bottom.jobs.count_changed.connect(self._show_jobs)

    def _show_collections(
        self, offered: tuple[collection_list.CollectionInfo, ...], searched: tuple[str, ...]
    ) -> None:
        picker = self._window.search_bar.picker
        picker.set_collections(offered, searched)
        demo = str(self._library.demo_folder)
        picker.set_demo_offered(all(info.path != demo for info in self._library.known))
        self._window.viewer.show_first_run(not searched and self._viewing.now is None)
        self._asking.collections_changed(searched)

    def _show_demo(self, said: dict) -> None:
        done, total = said.get("done"), said.get("total")
        line = self.tr("Building the demo collection: {done} of {total}")
        if total:
            self._window.viewer.first_run.set_building(line.format(done=done, total=total))

    def _show_jobs(self, running: int) -> None:
        now = self._window.bottom.jobs.running()
        self._window.say_job(plain.line(f"{now[0].title} · {now[0].line}") if running else "")

    def _say(self, kind: problems.Kind, title: str, line: str = "", **more: Any) -> None:
        shown = self._window.results.problems
        shown.show_problem(problems.Problem(kind, title, line, **more))
