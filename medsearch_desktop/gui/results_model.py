"""The hits as Qt's model: order, verdicts, kept stars and changes of rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from medsearch_desktop import queries
from medsearch_desktop.gui import card_texts

Key = tuple[str, str]  # (collection, case_id)
Index = QModelIndex | QPersistentModelIndex


def key_of(hit: queries.Hit) -> Key:
    """Return what names a case over re-rankings: (collection, case_id)."""
    return hit.collection, hit.case.case_id


class Role(IntEnum):
    """What the delegate asks of the model beside the texts."""

    HIT = Qt.ItemDataRole.UserRole + 1
    VERDICT = Qt.ItemDataRole.UserRole + 2
    KEPT = Qt.ItemDataRole.UserRole + 3
    CHANGE = Qt.ItemDataRole.UserRole + 4
    OPENED = Qt.ItemDataRole.UserRole + 5


class ResultsModel(QAbstractListModel):
    """Hits in order, with the reader's verdicts, kept stars and changes of rank.

    Verdicts and stars belong to cases and outlive a new order.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._hits: tuple[queries.Hit, ...] = ()
        self._rows: dict[Key, int] = {}
        self._before: dict[Key, int] = {}
        self._verdicts: dict[Key, int] = {}
        self._kept: frozenset[Key] = frozenset()
        self._opened: Key | None = None
        self._ticket: int | None = None

    def hits(self) -> tuple[queries.Hit, ...]:
        """Return what is listed, in order."""
        return self._hits

    def row_of(self, key: Key) -> int | None:
        """Return the row of a case, None where it is not listed."""
        return self._rows.get(key)

    def set_hits(
        self,
        hits: Iterable[queries.Hit],
        *,
        reranked: bool = False,
        ticket: int | None = None,
    ) -> None:
        """List other hits. With `reranked`, cards say how their rank changed.

        Answers to one `ticket` are compared with the order before the first of them.
        """
        if not reranked:
            self._before = {}
        elif ticket is None or ticket != self._ticket:
            self._before = {key_of(hit): hit.rank for hit in self._hits}
        self._ticket = ticket
        self.beginResetModel()
        self._hits = tuple(hits)
        self._rows = {key_of(hit): row for row, hit in enumerate(self._hits)}
        self.endResetModel()

    def set_verdicts(self, standing: Mapping[Key, int]) -> None:
        """Show these thumbs (+1, -1) and no others."""
        self._verdicts = dict(standing)
        self._changed_everywhere()

    def set_verdict(self, hit: queries.Hit, thumb: int) -> None:
        """Show a thumb on one case: +1, -1, or 0 for none."""
        self._verdicts[key_of(hit)] = thumb
        self._changed(hit)

    def set_kept(self, kept: Iterable[Key]) -> None:
        """Show a filled star on these cases and no others."""
        self._kept = frozenset(kept)
        self._changed_everywhere()

    def set_is_kept(self, hit: queries.Hit, kept: bool) -> None:
        """Fill or empty the star of one case."""
        key = {key_of(hit)}
        self._kept = self._kept | key if kept else self._kept - key
        self._changed(hit)

    def set_opened(self, key: Key | None) -> None:
        """Mark the case that is open in the viewer."""
        self._opened = key
        self._changed_everywhere()

    def verdict(self, hit: queries.Hit) -> int:
        """Return +1, -1 or 0."""
        return self._verdicts.get(key_of(hit), 0)

    def is_kept(self, hit: queries.Hit) -> bool:
        """Return whether the star is filled."""
        return key_of(hit) in self._kept

    def opened(self) -> Key | None:
        """Return the case that is open in the viewer."""
        return self._opened

    def change(self, hit: queries.Hit) -> int:
        """Return by how many ranks a case rose (negative: fell) in the last re-ranking."""
        return self._before.get(key_of(hit), hit.rank) - hit.rank

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._hits)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid() or index.row() >= len(self._hits):
            return None
        hit = self._hits[index.row()]
        answers = {
            Role.HIT: lambda: hit,
            Role.VERDICT: lambda: self.verdict(hit),
            Role.KEPT: lambda: self.is_kept(hit),
            Role.CHANGE: lambda: self.change(hit),
            Role.OPENED: lambda: key_of(hit) == self._opened,
            Qt.ItemDataRole.DisplayRole: lambda: card_texts.title(hit),
            Qt.ItemDataRole.ToolTipRole: lambda: card_texts.tooltip(hit),
            Qt.ItemDataRole.AccessibleTextRole: lambda: card_texts.spoken(
                hit, self.verdict(hit), self.is_kept(hit)
            ),
            Qt.ItemDataRole.AccessibleDescriptionRole: lambda: card_texts.body(hit),
        }
        return answers[role]() if role in answers else None

    def _changed(self, hit: queries.Hit) -> None:
        row = self._rows.get(key_of(hit))
        if row is not None:
            self.dataChanged.emit(self.index(row), self.index(row))

    def _changed_everywhere(self) -> None:
        if self._hits:
            self.dataChanged.emit(self.index(0), self.index(len(self._hits) - 1))
