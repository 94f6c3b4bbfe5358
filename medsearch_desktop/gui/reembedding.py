"""Embedding a collection again by another encoder: an edition beside it, among the jobs."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal

from medsearch_desktop.gui import collection_list, demo_build, editions, jobs
from medsearch_desktop.viewer import plain


def words(base: str, encoder: str, out: str = "") -> list[str]:
    """Return the indexer's command; one that was broken off goes on where it stopped."""
    out = out or editions.path_of(base, encoder)
    # As one word each: neither a name nor a folder can become an option of its own.
    return ["reembed", "--resume", f"--encoder={encoder}", f"--out={out}", "--", base]


class Reembedding(QObject):
    """Embeds one collection at a time by another encoder."""

    ended = Signal(str)  # "" when the edition is there, else what went wrong

    def __init__(self, home: Path, jobs_pane: jobs.JobsPane, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._jobs, self._job, self._skipped = jobs_pane, 0, 0
        self._now: tuple[str, str] | None = None
        self._last: tuple[collection_list.CollectionInfo, str, str] | None = None
        self._child = demo_build.Child(home, self, reads_report=True)
        self._child.progressed.connect(self._show)
        self._child.ended.connect(self._end)

    @property
    def running(self) -> tuple[str, str] | None:
        """The path of the collection that is embedded again and the encoder, or None."""
        return self._now

    def start(self, info: collection_list.CollectionInfo, encoder: str, out: str = "") -> str:
        """Begin, or go on; returns "" or a sentence that says why it cannot be.

        `out` is the folder of the new edition, "" the one named by the encoder.
        """
        if self._now is not None:
            return self.tr("Another collection is being embedded again. Wait until it is done.")
        title = self.tr("Embedding {name} again with {encoder}")
        job = jobs.Job(
            title.format(name=info.name, encoder=encoder),
            line=self.tr("Loading the encoder"),
            sentence=self.tr("You can go on working meanwhile."),
            stop=self._child.stop,
        )
        self._now, self._skipped = (info.path, encoder), 0
        self._job = self._jobs.add(job)
        self._last = (info, encoder, out)
        self._child.start(words(info.path, encoder, out))
        return ""

    def close(self) -> None:
        """End what runs; what was embedded so far is taken up next time."""
        self._child.close()

    def _go_on(self) -> None:
        if self._now is None and self._last is not None:
            self._jobs.remove(self._job)
            self.start(*self._last)

    def _show(self, said: dict) -> None:
        self._skipped = int(said.get("skipped") or 0)
        self._jobs.change(
            self._job,
            line=demo_build.line_of(said),
            done=int(said.get("done") or 0),
            total=int(said.get("total") or 0),
        )

    def _end(self, problem: str) -> None:
        self._now = None
        state = jobs.State.SKIPS if self._skipped else jobs.State.DONE
        sentence = self.tr("Ready. Choose under Tools, Models which edition is searched.")
        if problem:
            state, sentence = jobs.State.FAILED, problem
        elif told := self._notices(self._child.report):
            sentence = " ".join([sentence, *told])
        again = self._go_on if problem else None
        self._jobs.change(self._job, state=state, sentence=sentence, stop=None, again=again)
        self.ended.emit(problem)

    def _notices(self, report: dict) -> list[str]:
        """Return what the indexer had to work around, in sentences."""
        told, stored = report.get("notices"), report.get("stored")
        found = [plain.line(str(one)) for one in told] if isinstance(told, list) else []
        if isinstance(stored, int) and stored:
            words = self.tr("{n} images were taken from their thumbnails: their files are gone.")
            found.append(words.format(n=f"{stored:,}"))
        return found
