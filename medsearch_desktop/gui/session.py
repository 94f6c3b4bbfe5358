"""One reader's session: ties what the window reports to the search, the shelf and the viewer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QCursor, QKeySequence, QPixmap, QShortcut

from medsearch_desktop import queries, settings
from medsearch_desktop.gui import (
    asking,
    background,
    bottom_dock,
    bridge,
    chips,
    choosing,
    dialogs,
    drop_reader,
    drop_zones,
    drops,
    installed,
    intake,
    keeping,
    keys,
    library,
    main_window,
    open_case,
    placing,
    problems,
    results_model,
    search_box,
    searching,
    study_strip,
    terms,
    theme,
    viewing,
)
from medsearch_desktop.imaging import isolated
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import plain, slice_pane

# What the card about a series too large to be kept whole is about.
_LARGE = "large series"


@dataclass(frozen=True)
class Parts:
    """What the session ties together; built and closed by `app`."""

    window: main_window.MainWindow
    work: background.Background
    shelf: keeping.Keeping
    worker: bridge.Bridge
    viewing: viewing.Viewing
    intake: intake.Intake
    library: library.Library
    searching: searching.Searching
    asking: asking.Asking
    installed: installed.Installed
    choosing: choosing.Choosing
    readers: isolated.Readers
    zones: drop_zones.DropZones


class Session(QObject):
    """Connects the parts; holds only which chip stands for which open series."""

    def __init__(self, parts: Parts, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._parts = parts
        self._window, self._search, self._asking = parts.window, parts.searching, parts.asking
        self._box = parts.window.search_bar.box
        self._panel = parts.window.results
        self._model = self._panel.view.results_model()
        self._chip_of: dict[study_strip.SeriesKey, queries.Term] = {}
        self._connect_results()
        self._connect_opening()
        parts.choosing.open_requested.connect(self._open_hit)
        self._connect_menus()

    # results

    def _connect_results(self) -> None:
        view, panel = self._panel.view, self._panel
        view.open_requested.connect(self._open_hit)
        view.star_toggled.connect(self._toggle_star)
        view.thumb_given.connect(self._give_thumb)
        view.more_like_requested.connect(
            lambda hit: self._more_like(hit.case.case_id, hit.collection, hit.case.title)
        )
        panel.undo_requested.connect(self._search.undo)
        panel.stop_requested.connect(self._stop)
        panel.retry_requested.connect(self._asking.ask)
        panel.open_files_requested.connect(self._open_files)
        panel.recent_requested.connect(lambda: self._window.menus.recent.popup(QCursor.pos()))
        favourites = self._window.bottom.favourites
        favourites.kept_changed.connect(self._model.set_kept)
        favourites.open_requested.connect(self._open_favourite)
        favourites.more_like_requested.connect(
            lambda kept: self._more_like(kept.case_id, kept.collection, kept.title)
        )
        self._parts.shelf.failed.connect(self._panel.problems.show_error)
        self._parts.shelf.noticed.connect(self._say_of_shelf)
        favourites.reload()

    def _say_of_shelf(self, line: str) -> None:
        is_grave = "damaged" in line
        self._say(problems.Kind.WARNING if is_grave else problems.Kind.NOTICE, line)

    def _stop(self) -> None:
        self._search.stop()
        self._panel.show_stopped(self.tr("Stopped."))

    def _give_thumb(self, hit: queries.Hit, thumb: int) -> None:
        self._model.set_verdict(hit, thumb)
        self._search.thumb(hit, thumb)

    def _toggle_star(self, hit: queries.Hit) -> None:
        favourites = self._window.bottom.favourites
        if self._model.is_kept(hit):
            self._model.set_is_kept(hit, False)
            favourites.let_go(hit.case.case_id, hit.collection)
            return
        self._model.set_is_kept(hit, True)

        def read() -> bytes:
            return open_case.stored_bytes(hit.thumbnail) if hit.thumbnail else b""

        self._parts.work.run(
            read,
            then=lambda content: favourites.keep(hit, content),
            failed=self._panel.problems.show_error,
        )

    def _open_hit(self, hit: queries.Hit) -> None:
        self._model.set_opened(results_model.key_of(hit))
        self._parts.viewing.show_case(open_case.wanted_from_hit(hit))

    def _open_favourite(self, kept: object) -> None:
        refs = (kept.image,) if kept.image is not None else ()
        self._parts.viewing.show_case(open_case.Wanted(kept.title, refs, (), kept.thumbnail))

    def _more_like(self, case_id: str, collection: str, title: str) -> None:
        part = chips.Part(queries.CaseTerm(case_id, collection), plain.line(title or case_id))
        self._box.set_parts((part,))
        self._asking.ask()

    # opening

    def _connect_opening(self) -> None:
        parts, window = self._parts, self._window
        window.dropped.connect(parts.intake.take)
        parts.zones.pasted.connect(lambda found: parts.intake.take(found, _paste_zone(found)))
        parts.zones.drag_entered.connect(self._count_dragged)
        self._box.pasted.connect(parts.zones.paste)
        parts.intake.found.connect(self._take_part)
        parts.intake.problem_met.connect(self._panel.problems.show_problem)
        parts.intake.failed.connect(self._panel.problems.show_error)
        parts.intake.report_requested.connect(self._show_report)
        window.bottom.imported.failed.connect(self._panel.problems.show_error)
        parts.viewing.large_met.connect(self._say_large)
        parts.viewing.shown.connect(self._show_open)
        parts.viewing.failed.connect(self._show_unreadable)
        parts.viewing.picture_made.connect(self._take_picture)
        window.strip.open_requested.connect(self._open_files)
        window.viewer.find_requested.connect(lambda: self._find_shown(None))
        window.viewer.find_slice_requested.connect(
            lambda: self._find_shown(window.pane.current_index)
        )
        key = QShortcut(QKeySequence(keys.FIND_SIMILAR.sequence), window.pane)
        key.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        key.activated.connect(lambda: self._find_shown(None))

    def _count_dragged(self, offered: drops.Dropped) -> None:
        if offered.paths:
            self._parts.work.run(
                lambda: drops.count_files(offered.paths),
                then=self._parts.zones.set_count,
                failed=lambda error: None,  # the name alone says enough while dragging
            )

    def _find_shown(self, index: int | None) -> None:
        found = self._parts.intake.part_of_shown(index)
        if found is not None:
            self._take_part(found)

    def _show_report(self, number: int) -> None:
        self._window.bottom.imported.show_drop(number)
        self._window.bottom.show_page(bottom_dock.IMPORT)

    def _say_large(self, series: studies.Series, has_room: bool) -> None:
        """Say that slices of a large series are read as needed, and offer the other way."""
        self._say(
            problems.Kind.NOTICE,
            self.tr("This series needs {size} of memory; slices are read as you scroll.").format(
                size=terms.size_in_words(series.decoded_bytes)
            ),
            action=self.tr("Read all into memory") if has_room else "",
            act=self._parts.viewing.read_all if has_room else None,
            about=_LARGE,
        )
        self._allow_read_all()

    def _allow_read_all(self) -> None:
        self._window.menus.action("read_all").setEnabled(self._parts.viewing.can_read_all)

    def _read_all(self) -> None:
        self._panel.problems.remove_about(_LARGE)
        self._parts.viewing.read_all()

    def _exchange_part(self, found: intake.Found) -> None:
        """Put a part into the place of another, if the question still has that."""
        parts = list(self._box.parts)
        for place, part in enumerate(parts):
            weight = part.term.weight
            if dataclasses.replace(part.term, weight=1.0) == found.instead_of:
                picture = self._window.strip.model.picture_of(found.key)
                small = part.picture if picture is None else _small(picture)
                exchanged = chips.Part(found.part.term, found.part.label, small)
                parts[place] = exchanged.weighted(weight)
                self._chip_of[found.key] = found.part.term
                self._box.set_parts(tuple(parts))
                self._asking.ask()
                return

    def _take_part(self, found: intake.Found) -> None:
        part = found.part
        if found.instead_of is not None:
            self._exchange_part(found)
            return
        if found.key is not None:
            self._chip_of[found.key] = part.term
            picture = self._window.strip.model.picture_of(found.key)
            if picture is not None:
                part = chips.Part(part.term, part.label, _small(picture))
        if found.zone is drops.Zone.FIND:
            self._box.set_filters(())
            self._box.set_parts((part,))
        else:
            self._box.add_part(part)
        self._asking.ask()

    def _take_picture(self, key: study_strip.SeriesKey, picture: QPixmap) -> None:
        self._window.strip.model.set_picture(key, picture)
        if key in self._chip_of:
            self._box.set_picture(self._chip_of[key], _small(picture))

    def _show_open(self, study: object, series: object) -> None:
        self._panel.problems.remove_about(_LARGE)
        self._allow_read_all()
        self._window.viewer.show_first_run(False)
        self._window.strip.model.set_open(study_strip.key_of(study, series))
        self._window.viewer.set_content(slices=len(series.slices))
        self._window.set_title(terms.title_of(study, series))

    def _show_unreadable(self, error: BaseException) -> None:
        self._panel.problems.show_error(error)
        self._window.bottom.log.add(self.tr("Opening"), str(error))

    # menus

    def _connect_menus(self) -> None:
        window, view = self._window, self._panel.view
        window.menus.connect_all(
            {
                "open_files": self._open_files,
                "open_folder": self._open_folder,
                "paste": self._parts.zones.paste,
                "close_all": self._close_all,
                "quit": window.close,
                "focus_viewer": window.pane.setFocus,
                "focus_results": view.setFocus,
                "focus_shelf": lambda: window.bottom.show_page(bottom_dock.FAVOURITES),
                "show_report": lambda: window.bottom.show_page(bottom_dock.IMPORT),
                "read_all": self._read_all,
                "cards_small": lambda: view.set_card_size("S"),
                "cards_medium": lambda: view.set_card_size("M"),
                "cards_large": lambda: view.set_card_size("L"),
                "search": self._box.ask,
                "focus_search": self._box.words.setFocus,
                "new_search": self._new_search,
                "undo": self._search.undo,
                "choose_collections": window.search_bar.picker.open_list,
                "add_collection": self._parts.choosing.add_collection,
                "build_demo": self._parts.choosing.build_demo,
                "models": self._parts.choosing.show_models,
                "compare_encoders": self._parts.choosing.show_comparison,
                "show_keys": lambda: dialogs.show_keys(window),
                "about": lambda: dialogs.show_about(window),
            }
        )
        window.menus.on_view(self._allow_read_all)
        self._allow_read_all()
        window.menus.on_against(self._asking.ask)

    def _open_files(self) -> None:
        if paths := dialogs.choose_files(self._window):
            self._parts.intake.open(paths)

    def _open_folder(self) -> None:
        folder = dialogs.choose_folder(self._window, self.tr("Open a folder"))
        if folder is not None:
            self._parts.intake.open([folder])

    def _close_all(self) -> None:
        self._parts.viewing.clear()
        self._window.strip.model.clear()
        self._window.viewer.set_content(slices=0)
        self._window.pane.set_message(self.tr("Drop a study or an image here, or open a case."))
        self._window.set_title("")

    def _new_search(self) -> None:
        self._box.words.clear()
        self._box.set_filters(())
        self._box.set_parts(())
        self._box.set_mode(search_box.Mode.BOTH)
        self._asking.ask()

    def _say(self, kind: problems.Kind, title: str, line: str = "", **more: Any) -> None:
        self._panel.problems.show_problem(problems.Problem(kind, title, line, **more))


def furnish(
    window: main_window.MainWindow,
    work: background.Background,
    shelf: keeping.Keeping,
    folders: settings.Folders,
    chosen: settings.Settings,
) -> Parts:
    """Put the pane into the window and everything behind it, and tie it together."""
    pane = slice_pane.SlicePane(theme.overlay_colours())
    pane.set_overlays_hidden(chosen.viewer.hide_overlays)
    window.furnish(pane, shelf)
    pane.set_message(window.tr("Drop a study or an image here, or open a case."))
    readers = isolated.Readers(2)
    worker = bridge.Bridge(folders.home, window)
    view = viewing.Viewing(readers, work, pane, window)
    opener = drop_reader.DropReader(readers, work, window)
    taken = intake.Intake(view, opener, work, window.strip, window.bottom, window)
    taken.set_scratch(folders.scratch)
    known = library.Library(folders, work, window.bottom.jobs, window)
    search = searching.Searching(worker, shelf, window)
    asks = asking.Asking(window, search, worker, shelf, known, chosen.search.limit)
    placing.Placing(window, worker, known)
    encoders = installed.Installed(folders.home, worker, window)
    chooses = choosing.Choosing(window, known, encoders, asks, search, view)
    zones = drop_zones.DropZones(window)
    parts = Parts(
        window=window,
        work=work,
        shelf=shelf,
        worker=worker,
        viewing=view,
        intake=taken,
        library=known,
        searching=search,
        asking=asks,
        installed=encoders,
        choosing=chooses,
        readers=readers,
        zones=zones,
    )
    Session(parts, window)
    return parts


def _paste_zone(found: drops.Dropped) -> drops.Zone:
    """Pasted words are added to the question; what can be opened begins a new one."""
    return drops.Zone.FIND if found.has_pixels else drops.Zone.ADD


def _small(picture: QPixmap) -> QPixmap:
    side = theme.px(24)
    mode = Qt.TransformationMode.SmoothTransformation
    return picture.scaled(side, side, Qt.AspectRatioMode.KeepAspectRatio, mode)
