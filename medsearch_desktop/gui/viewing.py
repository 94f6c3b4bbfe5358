"""What is open: read in the background, first slice first, with small pictures for the strip."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage, QPixmap

from medsearch_desktop import errors
from medsearch_desktop.gui import background, drops, open_case, pictures, study_strip
from medsearch_desktop.imaging import isolated, volume
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import slice_pane

_log = logging.getLogger(__name__)

# A busy main thread holds the reading up no longer than this.
_FIRST_SLICE_S = 0.1
# Volumes read lately stay, so that going back to a series is immediate.
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class Request:
    """One drop: its number, what was dropped and in which zone."""

    number: int
    paths: tuple[Path, ...]
    zone: drops.Zone


@dataclass
class Tally:
    """What has come of a request so far."""

    studies: list[studies.Study] = field(default_factory=list)
    refused: list[studies.Refused] = field(default_factory=list)


class Viewing(QObject):
    """Opens paths and cases, and feeds the pane; never waits on the main thread."""

    began = Signal(object)  # Request
    study_opened = Signal(object, object)  # Request, studies.Study
    ended = Signal(object, object)  # Request, Tally
    shown = Signal(object, object)  # studies.Study, studies.Series: now in the pane
    picture_made = Signal(tuple, QPixmap)  # key of a series
    case_opened = Signal(object, object)  # open_case.Opened, studies.Study
    failed = Signal(object)  # an error of reading

    def __init__(
        self,
        readers: isolated.Readers,
        work: background.Background,
        pane: slice_pane.SlicePane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._readers, self._work, self._pane = readers, work, pane
        self._numbers = itertools.count(1)
        self._load = 0
        self._first_came = 0
        self._case = 0
        self._stopped: set[int] = set()
        self._now: tuple[studies.Study, studies.Series] | None = None
        self._volumes: OrderedDict[study_strip.SeriesKey, volume.Volume] = OrderedDict()
        self._wanted: list[tuple[studies.Study, studies.Series]] = []
        self._is_drawing = False

    @property
    def now(self) -> tuple[studies.Study, studies.Series] | None:
        """The study and series in the pane."""
        return self._now

    def open(self, paths: Sequence[Path], zone: drops.Zone) -> Request:
        """Open files, folders or archives; studies come one by one."""
        request = Request(next(self._numbers), tuple(paths), zone)
        tally = Tally()

        def items() -> Iterator[studies.Study | studies.Refused]:
            return self._readers.open_paths(
                [str(path) for path in paths],
                cancelled=lambda: self._work.is_closing or request.number in self._stopped,
            )

        def each(item: studies.Study | studies.Refused) -> None:
            if isinstance(item, studies.Refused):
                tally.refused.append(item)
            else:
                tally.studies.append(item)
                self.study_opened.emit(request, item)

        def failed(error: BaseException) -> None:
            self.ended.emit(request, tally)
            self._fail(error)

        self.began.emit(request)
        done = lambda _: self.ended.emit(request, tally)  # noqa: E731
        self._work.stream(items, each=each, then=done, failed=failed)
        return request

    def stop(self, request: Request) -> None:
        """Open no more of a request."""
        self._stopped.add(request.number)

    def show(self, study: studies.Study, series: studies.Series, first: int = 0) -> None:
        """Put a series into the pane; the slice `first` is read first, then outward."""
        self._load += 1
        number, key = self._load, study_strip.key_of(study, series)
        self._now = (study, series)
        self._pane.show_series(study, series, first)
        self.shown.emit(study, series)
        if key in self._volumes:
            self._volumes.move_to_end(key)
            self._pane.set_volume(self._volumes[key])
            return

        is_first_shown = threading.Event()

        def came(read: tuple[volume.Volume, int]) -> None:
            if number == self._load:
                self._take_plane(number, *read)
            is_first_shown.set()

        def on_slice(filling: volume.Volume, plane: int) -> None:
            self._work.tell(came, (filling, plane))
            # The first slice goes before all others: this thread gives way until it is shown.
            is_first_shown.wait(_FIRST_SLICE_S)

        def load() -> volume.Volume:
            return self._readers.load(
                series,
                first=first,
                on_slice=on_slice,
                cancelled=lambda: self._work.is_closing or number != self._load,
            )

        def failed(error: BaseException) -> None:
            if number == self._load:
                self._pane.set_message(str(error), is_error=True)
                self._fail(error)

        self._work.run(load, then=lambda read: self._keep(number, key, read), failed=failed)

    def show_case(self, wanted: open_case.Wanted) -> None:
        """Open a case at full size, or its largest stored picture where the original is gone."""
        self._case += 1
        number = self._case

        def then(opened: open_case.Opened) -> None:
            if number != self._case:
                return
            if opened.volume is not None:
                self._hold(study_strip.key_of(opened.study, opened.series), opened.volume)
            self.case_opened.emit(opened, opened.study)
            self.show(opened.study, opened.series, opened.index)

        self._work.run(lambda: open_case.find(wanted, self._readers), then=then, failed=self._fail)

    def draw_pictures(self, study: studies.Study) -> None:
        """Make the small pictures of a study's series, one after another."""
        self._wanted += [(study, series) for series in study.series]
        self._draw_next()

    def close_study(self, study: studies.Study) -> None:
        """Forget what was read of a study."""
        for key in [key for key in self._volumes if key[0] == study.study_uid]:
            del self._volumes[key]

    def clear(self) -> None:
        """Empty the pane."""
        self._load += 1
        self._now = None
        self._pane.clear()

    def _take_plane(self, number: int, filling: volume.Volume, plane: int) -> None:
        if self._first_came != number:
            self._first_came = number
            self._pane.set_volume(filling)
            _log.debug("the first slice is shown")
        self._pane.plane_ready(plane)

    def _keep(self, number: int, key: study_strip.SeriesKey, read: volume.Volume) -> None:
        if number != self._load:
            return
        if self._first_came != number:
            self._first_came = number
            self._pane.set_volume(read)
        if bool(np.all(read.ready)):
            self._hold(key, read)
        _log.debug("all slices are read")

    def _hold(self, key: study_strip.SeriesKey, read: volume.Volume) -> None:
        self._volumes[key] = read
        self._volumes.move_to_end(key)
        while len(self._volumes) > 1 and self._held_bytes() > _KEPT_BYTES:
            self._volumes.popitem(last=False)

    def _held_bytes(self) -> int:
        return sum(held.voxels.nbytes for held in self._volumes.values())

    def _draw_next(self) -> None:
        if self._is_drawing or not self._wanted:
            return
        study, series = self._wanted.pop(0)
        key = study_strip.key_of(study, series)
        self._is_drawing = True

        def then(image: QImage | None) -> None:
            if image is not None:
                self.picture_made.emit(key, QPixmap.fromImage(image))
            self._is_drawing = False
            self._draw_next()

        held = self._volumes.get(key)
        self._work.run(
            lambda: pictures.of_series(series, self._readers, held),
            then=then,
            failed=lambda error: then(None),  # the pane says why when the series is chosen
        )

    def _fail(self, error: BaseException) -> None:
        if not isinstance(error, errors.MedsearchError):
            raise error
        self.failed.emit(error)
