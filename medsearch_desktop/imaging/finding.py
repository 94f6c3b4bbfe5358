"""One opening of paths over several readers: what is dealt with already, and what is said once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medsearch_desktop.imaging import reader_process, study

# So many files that each end a reader are no accident, unless most of the drop is sound: then
# it goes on until so many more, for each costs a deadline and a new reading of the headers.
MOST_LOSSES, MOST_AMONG_SOUND = 25, 100
_SOUND_FOR_EACH = 20
# What was sound before may still be lost when it is read at last; then no study is given.
MOST_LAST_LOSSES = 3


class Finding:
    """Keeps what was found so far, so that a new reader goes on where the last one was lost.

    `paths` are absolute. DICOM files are read again by a new reader, for the
    headers died with the old one; nothing is given twice, and no study that
    grows becomes smaller. After too many losses a last job gives the studies
    of the files that were read before, and an answer for each of the others.
    """

    def __init__(self, paths: Sequence[str], *, grow: bool) -> None:
        self._paths, self._grow = tuple(paths), grow
        self._done: set[str] = set()
        self._grown: dict[str, int] = {}
        self._place = ""
        self._losses, self._unexplained = 0, 0
        # What was read since the first loss, which is all that there was before it, too.
        self._sound: set[str] = set()
        self._last_losses = -1
        self.is_over = False

    def job(self) -> reader_process.Open:
        """Return what is still to be found as a job."""
        self._place = ""
        only = frozenset(self._sound) if self._is_last_job() else None
        return reader_process.Open(self._paths, frozenset(self._done), self._grow, only)

    def take(self, reply: reader_process.Reply) -> Iterator[study.Study | study.Refused]:
        """Give what one reply of a reader brings."""
        kind, value = reply
        if kind == "at":
            self._leave(value)
        elif kind == "done":
            self.is_over = True
        elif kind == "failed":
            yield from self.lost(value[1])
        elif kind == "found" and isinstance(value, study.Refused):
            self._done.add(value.path)
            self._leave("")
            yield value
        elif kind == "found" and self._is_news(value):
            if value.is_complete:
                self._done.add(self._place)
                self._place = ""
            yield value

    def lost(self, sentence: str, *, is_last: bool = False) -> Iterator[study.Refused]:
        """Give the answer for the file at which a reader was lost."""
        self._losses += 1
        if self._place:
            self._done.add(self._place)
            self._sound.discard(self._place)
            self._count()
            yield study.Refused(self._place, sentence)
        elif self._unexplained or is_last:
            self.is_over = True
            yield study.Refused(self._paths[0], sentence)
        else:
            self._unexplained += 1

    def _leave(self, place: str) -> None:
        """Go to another file; the one before it has not ended the reader."""
        if self._losses and self._place and self._place not in self._done:
            self._sound.add(self._place)
        self._place = place

    def _count(self) -> None:
        """Decide whether what was not tried yet shall be tried, and what was read be read again."""
        if self._is_last_job():
            self._last_losses += 1
            if self._last_losses >= MOST_LAST_LOSSES:
                self._sound.clear()
        elif self._losses >= MOST_AMONG_SOUND or (
            self._losses >= MOST_LOSSES and self._losses * _SOUND_FOR_EACH > len(self._sound)
        ):
            self._last_losses = 0

    def _is_last_job(self) -> bool:
        return self._last_losses >= 0

    def _is_news(self, found: study.Study) -> bool:
        """Return False for a study of many files that was given before, as large or whole."""
        if found.is_complete and self._place:
            return True
        count = sum(len(series.slices) for series in found.series)
        size = count if not found.is_complete else 1 << 62
        if size <= self._grown.get(found.study_uid, -1):
            return False
        self._grown[found.study_uid] = size
        return True
