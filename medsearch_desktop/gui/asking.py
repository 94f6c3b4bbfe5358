"""Asking: the search box becomes a question, and its answer, progress and faults are shown."""

from __future__ import annotations

import logging

from PySide6.QtCore import QObject

from medsearch_desktop import errors, queries
from medsearch_desktop.gui import (
    bridge,
    keeping,
    library,
    main_window,
    problems,
    searching,
    terms,
)
from medsearch_desktop.worker import messages

_log = logging.getLogger(__name__)


class Asking(QObject):
    """Stands between the search box and the search, and writes what comes back."""

    def __init__(
        self,
        window: main_window.MainWindow,
        search: searching.Searching,
        worker: bridge.Bridge,
        shelf: keeping.Keeping,
        known: library.Library,
        limit: int = 20,
    ) -> None:
        super().__init__(window)
        self._window, self._search, self._worker = window, search, worker
        self._shelf, self._library, self._limit = shelf, known, limit
        self._box = window.search_bar.box
        self._panel = window.results
        self._model = self._panel.view.results_model()
        self._is_asked_later = False
        self._told: set[str] = set()
        self._damage: dict[str, str] = {}  # what was told of a collection's damage, by its path
        self._connect_search()
        self.refresh_recent()

    def ask(self) -> None:
        """Ask what the search box holds."""
        found = self._box.terms()
        if not found:
            self._search.clear()
            self._panel.show_empty()
            self._window.facets.hide()
            return
        searched = self._library.searched
        if not searched:
            self._is_asked_later = True
            self._panel.problems.show_problem(
                problems.Problem(
                    problems.Kind.WARNING,
                    self.tr("There is no collection to search"),
                    self.tr("The search begins as soon as one is there."),
                    self.tr("Choose…"),
                    self._window.search_bar.picker.open_list,
                )
            )
            return
        query = queries.Query(
            terms=found,
            filters=self._box.filters(),
            collections=searched,
            limit=self._limit,
            against=self._window.menus.chosen_against,
        )
        self._search.ask(query)

    def ask_words(self, words: str) -> None:
        """Put words into the search box and ask, as if typed."""
        self._box.set_words(words)
        self._box.ask()

    def ask_again(self, query: queries.Query) -> None:
        """Ask a question of the history, in its own collections where they are there."""
        known = {info.path for info in self._library.known}
        there = tuple(path for path in query.collections if path in known)
        if there and there != self._library.searched:
            self._library.choose(there)
        self._box.set_parts(tuple(terms.part_of(term) for term in query.terms))
        self._box.set_filters(query.filters)
        self.ask()

    def refresh_recent(self) -> None:
        """Read the recent searches for the menu."""

        def fill(found: list[queries.Query]) -> None:
            lines = [(terms.label_of_query(query), query) for query in found]
            self._window.menus.show_recent(lines, self.ask_again)

        self._shelf.run(_recent, fill)

    def collections_changed(self, searched: tuple[str, ...]) -> None:
        """Prepare other collections, and ask in them what was asked before."""
        if not searched:
            return
        self._worker.prepare(searched)
        question = self._search.question
        if self._is_asked_later or (question and question.collections != searched):
            self._is_asked_later = False
            self._panel.problems.remove(problems.Kind.WARNING)
            self.ask()

    def _connect_search(self) -> None:
        self._box.asked.connect(self.ask)
        self._box.changed.connect(self.ask)
        self._window.facets.filters_changed.connect(self._filter)
        self._search.began.connect(self._show_busy)
        self._search.answered.connect(self._show_answer)
        self._search.progressed.connect(self._show_progress)
        self._search.failed.connect(self._show_failure)
        self._worker.lost.connect(self._show_loss)
        self._worker.prepared.connect(self._show_prepared)
        self._library.rebuilt.connect(self._show_rebuilt)

    def _filter(self, filters: tuple[queries.Filter, ...]) -> None:
        self._box.set_filters(filters)
        self.ask()

    def _show_busy(self, query: queries.Query) -> None:
        has_image = any(not isinstance(term, queries.TextTerm) for term in query.terms)
        self._panel.problems.remove(problems.Kind.ERROR)
        self._panel.show_busy(
            self.tr("Reading the image and searching.") if has_image else self.tr("Searching.")
        )

    def _show_progress(self, progress: messages.Progress) -> None:
        share = 100 * progress.done // max(progress.total, 1)
        sentence = self.tr("Refining {share} %: {done} of {total} slices read.").format(
            share=share, done=progress.done, total=progress.total
        )
        self._panel.show_busy(sentence, done=progress.done, total=progress.total)

    def _show_answer(self, answered: searching.Answered) -> None:
        results = answered.results
        self._model.set_verdicts(answered.thumbs)
        is_reranked = answered.before is not None
        self._panel.show_results(results, reranked=is_reranked)
        if results.complete and self._search.can_undo:
            said = self._reranked(answered.thumbs)
            self._panel.show_ribbon(" ".join([said, *results.notices]), ("undo",))
        question = self._search.question
        self._window.facets.show_facets(results, question.filters if question else ())
        self._show_notices(results.notices)
        took = dict(results.took_ms).get("total")
        if took is not None:
            self._window.say_took(self.tr("Search {s} s").format(s=f"{took / 1000:.2f}"))
        _log.debug(
            "answer complete=%s order=%s",
            results.complete,
            " ".join(hit.case.case_id for hit in results.hits),
        )
        if results.complete:
            self.refresh_recent()

    def _reranked(self, thumbs: searching.Thumbs) -> str:
        likes = sum(thumb > 0 for thumb in thumbs.values())
        dislikes = len(thumbs) - likes
        counts = []
        if likes:
            one = self.tr("1 like")
            counts.append(one if likes == 1 else self.tr("{n} likes").format(n=likes))
        if dislikes:
            one = self.tr("1 dislike")
            counts.append(one if dislikes == 1 else self.tr("{n} dislikes").format(n=dislikes))
        if not counts:
            return self.tr("No thumb stands any more.")
        return self.tr("Re-ranked from {counts}.").format(counts=", ".join(counts))

    def _show_failure(self, error: BaseException) -> None:
        self._window.bottom.log.add(self.tr("Search"), str(error))
        search = self._search
        if search.question is not None and search.results is None and not search.is_busy:
            self._panel.show_unanswered()
            self._window.facets.hide()
        if isinstance(error, errors.WorkerLostError):
            self._show_lost_twice(error)
        elif isinstance(error, errors.CollectionDamagedError):
            self._panel.show_stopped()
            self._offer_rebuild(error.path, str(error))
        else:
            self._panel.show_error(error)

    def _show_lost_twice(self, error: errors.WorkerLostError) -> None:
        """Say once that the search stands still; the question stays in its box."""
        shown = self._panel.problems
        shown.remove(problems.Kind.NOTICE)
        self._panel.show_stopped()
        shown.show_problem(
            problems.Problem(
                problems.Kind.ERROR,
                self.tr("The search process ended twice and was not started again"),
                self.tr("Your question, favourites and open studies are as they were."),
                self.tr("Start the search again"),
                self._start_again,
                f"{type(error).__name__}: {error}",
            )
        )

    def _start_again(self) -> None:
        if self._library.searched:
            self._worker.prepare(self._library.searched)
        if self._box.terms():
            self.ask()

    def _show_prepared(self, prepared: messages.Prepared) -> None:
        self._library.set_cases(prepared.collection, prepared.cases)
        picker = self._window.search_bar.picker
        picker.set_collections(self._library.offered, self._library.searched)
        if prepared.notice:
            self._offer_rebuild(prepared.collection, prepared.notice)

    def _offer_rebuild(self, path: str, sentence: str) -> None:
        """Say that a collection is damaged, with the way to build it again."""
        self._told.add(sentence)
        self._damage[path] = sentence
        if self._library.rebuilding.path == path:
            return
        line = self.tr("Copy it again, or build it again.")
        if not self._library.can_rebuild(path):
            line = self._library.rebuilding.other_ways
        self._show_damage(path, errors.with_stop(sentence), line)

    def _show_damage(self, path: str, title: str, line: str) -> None:
        action, act = "", None
        if self._library.can_rebuild(path):
            action = self.tr("Build again")

            def act() -> None:
                self._library.rebuild(path)

        kind, details = problems.Kind.WARNING, f"{title} {line}"
        card = problems.Problem(kind, title, line, action, act, details, about=path)
        self._panel.problems.show_problem(card)

    def _show_rebuilt(self, path: str, problem: str) -> None:
        """Take the card of a collection that is whole again away, or say why it is not."""
        if problem:
            title = self.tr("{name} was not built again.").format(name=self._library.name_of(path))
            self._show_damage(path, title, errors.with_stop(problem))
            return
        self._told.discard(self._damage.pop(path, ""))
        self._panel.problems.remove_about(path)

    def _show_notices(self, notices: tuple[str, ...]) -> None:
        """Show, once each, what an answer had to work around; the ribbon repeats them."""
        new = [sentence for sentence in notices if sentence not in self._told]
        if not new:
            return
        self._told.update(new)
        first, rest = new[0], " ".join(new[1:])
        details = " ".join(new)
        card = problems.Problem(problems.Kind.WARNING, first, rest, details=details)
        self._panel.problems.show_problem(card)

    def _show_loss(self) -> None:
        again = self.tr("Your last search was asked again.") if self._search.is_busy else ""
        title = self.tr("The search process was restarted")
        self._panel.problems.show_problem(problems.Problem(problems.Kind.NOTICE, title, again))
        self._window.bottom.log.add(title, again)
        _log.debug("the worker was lost")


def _recent(shelf: object) -> list[queries.Query]:
    from medsearch_desktop.shelf import history

    return history.recent(shelf)
