"""What is open: read in the background, first slice first, with small pictures for the strip."""

from __future__ import annotations

import logging
from collections import OrderedDict

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QImage, QPixmap

from medsearch_desktop import cases, errors
from medsearch_desktop.gui import background, feeding, open_case, pictures, study_strip
from medsearch_desktop.imaging import blocks, isolated, volume
from medsearch_desktop.imaging import study as studies
from medsearch_desktop.viewer import plain, slice_pane

_log = logging.getLogger(__name__)

# Volumes read lately stay up to this size, so that going back to a series is immediate.
_KEPT_BYTES = 1 << 30
# Reading all of a large series is offered where it leaves this part of the free memory.
_LEFT_FREE = 0.25


class Viewing(QObject):
    """Opens cases, and feeds the pane with series; never waits on the main thread."""

    shown = Signal(object, object)  # studies.Study, studies.Series: now in the pane
    picture_made = Signal(tuple, QPixmap)  # key of a series
    case_opened = Signal(object, object)  # open_case.Opened, studies.Study
    fault_met = Signal(object, int, str)  # studies.Series, slice, why it cannot be read
    large_met = Signal(object, bool)  # studies.Series; whether all of it may be read at once
    failed = Signal(object)  # an error of opening a case

    def __init__(
        self,
        readers: isolated.Readers,
        work: background.Background,
        pane: slice_pane.SlicePane,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._readers, self._work, self._pane = readers, work, pane
        self._case = 0
        self._now: tuple[studies.Study, studies.Series] | None = None
        self._feed: feeding.Feed | None = None
        self._volumes: OrderedDict[study_strip.SeriesKey, volume.Volume] = OrderedDict()
        self._wanted: OrderedDict[study_strip.SeriesKey, studies.Series] = OrderedDict()
        self._drawn: dict[study_strip.SeriesKey, cases.ImageRef] = {}
        self._is_drawing = False

    @property
    def now(self) -> tuple[studies.Study, studies.Series] | None:
        """The study and series in the pane."""
        return self._now

    @property
    def is_near(self) -> bool:
        """Say whether only slices around the place shown are kept of the series in the pane."""
        return self._feed is not None and self._feed.is_near

    @property
    def kept(self) -> tuple[study_strip.SeriesKey, ...]:
        """The series whose pixels are kept whole, the oldest first."""
        return tuple(self._volumes)

    def show(self, study: studies.Study, series: studies.Series, first: int = 0) -> None:
        """Put a series into the pane; the slice `first` is read first, then outward."""
        self._stop_feed()
        key = study_strip.key_of(study, series)
        self._now = (study, series)
        self._pane.show_series(study, series, first)
        self.shown.emit(study, series)
        held = self._volumes.get(key)
        if held is not None and held.series.slices == series.slices:
            self._volumes.move_to_end(key)
            self._pane.set_volume(held)
            return
        self._volumes.pop(key, None)
        self._begin_feed()

    def grow(self, study: studies.Study) -> None:
        """Take a study's newer self; what is shown of it keeps its place, window and zoom."""
        if self._now is None or self._now[0].study_uid != study.study_uid:
            return
        before, index = self._now[1], self._pane.current_index
        place = feeding.moved_place(before, index, study)
        if place is None:
            self.show(study, study_strip.largest(study))
            return
        series = study.series[place[0]]
        self._stop_feed()
        self._now = (study, series)
        read = feeding.moved(self._pane.volumes, before, series)
        faults = feeding.moved_faults(self._pane.faults, before, series)
        self._pane.grow_series(study, series, place[1], read, faults)
        self.shown.emit(study, series)
        known = int(np.count_nonzero(self._pane.ready)) + len(self._pane.faults)
        if known < len(series.slices) or not study.is_complete:
            self._begin_feed()
        elif len(self._pane.volumes) == 1:
            self._hold(study_strip.key_of(study, series), self._pane.volumes[0])

    @property
    def can_read_all(self) -> bool:
        """Say whether a large series is in the pane, and memory is free for all of it."""
        if self._now is None or not self.is_near or not self._now[0].is_complete:
            return False
        return _has_room(self._now[1].decoded_bytes)

    def read_all(self) -> None:
        """Read all of a large series into memory, as the reader has asked."""
        if self._now is not None and self.is_near and self._now[0].is_complete:
            self._stop_feed()
            self._make_room(self._now[1].decoded_bytes)
            self._feed_pane(near_bytes=0)

    def show_case(self, wanted: open_case.Wanted) -> None:
        """Open a case at full size, or its largest stored picture where the original is gone."""
        self._case += 1
        number = self._case

        def then(opened: open_case.Opened) -> None:
            if number != self._case:
                return
            study = plain.study(opened.study)
            series = study.series[opened.study.series.index(opened.series)]
            if opened.volume is not None:
                self._hold(study_strip.key_of(study, series), opened.volume)
            self.case_opened.emit(opened, study)
            self.show(study, series, opened.index)

        def failed(error: BaseException) -> None:
            if not isinstance(error, errors.MedsearchError):
                raise error
            self.failed.emit(error)

        self._work.run(lambda: open_case.find(wanted, self._readers), then=then, failed=failed)

    def draw_pictures(self, study: studies.Study) -> None:
        """Make the small pictures of a study's series, one after another."""
        for series in study.series:
            key = study_strip.key_of(study, series)
            middle = series.slices[len(series.slices) // 2]
            if key not in self._drawn or (study.is_complete and self._drawn[key] != middle):
                self._drawn[key] = middle
                self._wanted[key] = series
        self._draw_next()

    def close_study(self, study: studies.Study) -> None:
        """Forget what was read of a study."""
        for held in (self._volumes, self._drawn, self._wanted):
            for key in [key for key in held if key[0] == study.study_uid]:
                del held[key]

    def clear(self) -> None:
        """Close everything and empty the pane."""
        self._stop_feed()
        self._now = None
        for held in (self._volumes, self._drawn, self._wanted):
            held.clear()
        self._pane.clear()

    # reading

    def _begin_feed(self) -> None:
        study, series = self._now
        size = series.decoded_bytes
        if not study.is_complete:
            self._feed_pane(near_bytes=feeding.GROWING_BYTES)
        elif size > isolated.ASK_ABOVE_BYTES and len(series.slices) > 1:
            self._feed_pane(near_bytes=feeding.NEAR_BYTES)
            self.large_met.emit(series, _has_room(size))
        else:
            self._make_room(size)
            self._feed_pane(near_bytes=0)

    def _feed_pane(self, *, near_bytes: int) -> None:
        study, series = self._now
        key = study_strip.key_of(study, series)
        feed = feeding.Feed(
            self._readers, self._work, self._pane, series, near_bytes=near_bytes, parent=self
        )
        feed.fault_met.connect(self.fault_met)
        feed.failed.connect(self._fail)
        feed.finished.connect(lambda read: self._finish(key, read))
        self._feed = feed
        feed.start()

    def _stop_feed(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.stop()

    def _finish(self, key: study_strip.SeriesKey, read: volume.Volume) -> None:
        if int(np.count_nonzero(read.ready)) + len(read.faults) == len(read.indices):
            self._hold(key, read)
        _log.debug("all slices are read")

    def _fail(self, error: BaseException) -> None:
        """Say in the pane why a series cannot be read, unless each of its slices says it."""
        if not isinstance(error, errors.MedsearchError):
            raise error
        series = self._now[1]
        if len(self._pane.faults) == len(series.slices):
            return
        self._pane.set_message(plain.line(str(error)), is_error=True)
        reason = getattr(error, "reason", str(error))
        for index in range(len(series.slices)):
            self.fault_met.emit(series, index, reason)

    def _hold(self, key: study_strip.SeriesKey, read: volume.Volume) -> None:
        self._volumes[key] = read
        self._volumes.move_to_end(key)
        self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Let the oldest volumes go until what is kept, and `size` more, keeps to the limit."""
        least = 0 if size else 1
        while len(self._volumes) > least and self._held_bytes() + size > _KEPT_BYTES:
            self._volumes.popitem(last=False)

    def _held_bytes(self) -> int:
        return sum(held.voxels.nbytes for held in self._volumes.values())

    def _draw_next(self) -> None:
        if self._is_drawing or not self._wanted:
            return
        key, series = self._wanted.popitem(last=False)
        self._is_drawing = True

        def then(image: QImage | None) -> None:
            if image is not None and key in self._drawn:
                self.picture_made.emit(key, QPixmap.fromImage(image))
            self._is_drawing = False
            self._draw_next()

        held = self._volumes.get(key)
        self._work.run(
            lambda: pictures.of_series(series, self._readers, held),
            then=then,
            failed=lambda error: then(None),  # the pane says why when the series is chosen
        )


def _has_room(size: int) -> bool:
    return size < blocks.free_bytes() * (1 - _LEFT_FREE)
