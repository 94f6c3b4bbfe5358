"""The one error tree: each error is a sentence and an action, and survives pickling."""

from __future__ import annotations


class MedsearchError(Exception):
    """Something a user can be told in one sentence; `action` is one thing to do about it.

    All fields go to `super().__init__`, so that an error survives the pipe
    between processes.
    """

    action = "Try again; if it happens again, copy the details and report it."


def with_stop(sentence: str) -> str:
    """Return a sentence that another may follow: with a full stop, if it has no end yet."""
    sentence = sentence.rstrip()
    # What ends a sentence may stand before a closing quote or bracket.
    ends = sentence.rstrip("\"'”’)]").endswith((".", "!", "?", "…", ":"))
    return sentence if ends or not sentence else sentence + "."


def told(error: MedsearchError) -> str:
    """Return an error's sentence and, after it, what to do about it."""
    return f"{with_stop(str(error))} {error.action}"


class InputError(MedsearchError):
    """The user's file or words cannot be used as they are."""

    action = "Check the input and try again."


class UnreadableFileError(InputError):
    """One file could not be opened, parsed or decoded."""

    action = "Check that the file is complete, or export it again from its source."

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path} cannot be read: {self.reason}"


class NotAnImageError(UnreadableFileError):
    """A sound file that holds no image; `what` names its kind ("a structured report")."""

    action = "Open it with the program it was made for."

    def __init__(self, path: str, reason: str, what: str) -> None:
        super().__init__(path, reason)
        self.args = (path, reason, what)
        self.what = what


class TooLargeError(InputError):
    """The pixels asked for take more memory than is spent without asking first."""

    action = "Load a part of the slices, or confirm that all of them shall be loaded."

    def __init__(self, path: str, needed_bytes: int, allowed_bytes: int) -> None:
        super().__init__(path, needed_bytes, allowed_bytes)
        self.path, self.needed_bytes, self.allowed_bytes = path, needed_bytes, allowed_bytes

    def __str__(self) -> str:
        needed, allowed = self.needed_bytes / 2**30, self.allowed_bytes / 2**30
        return (
            f"The pixels of {self.path} need {needed:.1f} GB of memory; "
            f"more than {allowed:.1f} GB are loaded only when asked for."
        )


class QuerySyntaxError(InputError):
    """A query, filter or table could not be understood."""

    action = "Correct the words named in the sentence."

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class TableError(InputError):
    """A table of inputs cannot be used as a whole."""

    action = "Correct the table, or name its columns with --columns."

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"The table {self.path} cannot be used: {self.reason}"


class FolderNameError(InputError):
    """A name for something on the shelf is empty, taken or not there."""

    action = "Choose another name."

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"“{self.name}” cannot be used as a name: {self.reason}"


class CollectionError(MedsearchError):
    """A collection cannot be used."""

    action = "Choose another collection, or build it again."


class CollectionDamagedError(CollectionError):
    """A file of the collection is missing or differs from its checksum."""

    action = "Run `medsearch-index verify` on it, then rebuild it or copy it again."

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"The collection {self.path} is damaged: {self.reason}"


class CollectionBusyError(CollectionError):
    """Another program is writing to the collection."""

    action = "Wait until the other build has ended."

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"Another program is writing to the collection {self.path}."


class DiskFullError(CollectionError):
    """There is no room for the collection; `needed` is 0 where nobody can say how much."""

    action = "Make room on the disk, then run the same command again with --resume."

    def __init__(self, path: str, free: int, needed: int = 0) -> None:
        super().__init__(path, free, needed)
        self.path, self.free, self.needed = path, free, needed

    def __str__(self) -> str:
        needs = f"about {self.needed / 1e6:,.0f} MB are needed and " if self.needed else ""
        return (
            f"The disk is full: for the collection {self.path} {needs}{self.free / 1e6:,.0f} MB "
            "are free. What was there before is whole."
        )


class EncoderMismatchError(CollectionError):
    """The collection was built by another encoder than the one loaded."""

    action = "Choose the collection's own encoder, or rebuild the collection."

    def __init__(self, built_with: str, loaded: str) -> None:
        super().__init__(built_with, loaded)
        self.built_with, self.loaded = built_with, loaded

    def __str__(self) -> str:
        return f"The collection was built with {self.built_with}, but {self.loaded} is loaded."


class EncoderError(MedsearchError):
    """An encoder cannot do what was asked of it."""

    action = "Choose another encoder."

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name, self.reason = name, reason

    def __str__(self) -> str:
        return f"The encoder {self.name} cannot be used: {self.reason}"


class EncoderMissingError(EncoderError):
    """No encoder of that name or folder is installed."""

    action = "Import the model folder, or choose an installed encoder."


class WeightsMissingError(EncoderError):
    """A file of the model folder is missing or is not the one its checksum names."""

    action = "Copy the model folder again, with all its files."


class DeviceMemoryError(EncoderError):
    """The device ran out of memory with the smallest batch."""

    action = "Close other programs that use the GPU, or choose the CPU."


class WorkerLostError(MedsearchError):
    """The search process ended without an answer."""

    action = "Search again: the search process has been started anew."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"The search process was lost: {self.reason}"


class ShelfError(MedsearchError):
    """Favourites and verdicts cannot be read or written."""

    action = "Check that the disk is not full and the data folder may be written."

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"The shelf {self.path} cannot be used: {self.reason}"
