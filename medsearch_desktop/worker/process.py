"""The loop: newest query first, refinement in small batches."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from medsearch_desktop import errors, logs, queries, settings
from medsearch_desktop.engine import asking, damage, devices, generations, search, snapshot
from medsearch_desktop.engine.encoders import base
from medsearch_desktop.imaging import isolated
from medsearch_desktop.worker import checking, messages

_log = logging.getLogger(__name__)

# What is done first: a stop, a new question, opening collections, then batches of old questions.
_STOP, _ASK, _PREPARE, _REFINE = range(4)
# The process ends by itself when it does not get out of a batch this long after its window went.
_LAST_WAIT_S = 5.0

_Steps = Iterator[queries.Results | search.Step]


@dataclass(frozen=True)
class _Damaged:
    """Told by the checker to the working thread: a file of an opened collection is damaged."""

    path: str
    problem: damage.Problem


_Message = messages.FromWindow | _Damaged


@dataclass(order=True)
class _Job:
    """One thing to do; jobs of one priority are done newest ticket first."""

    priority: int
    newest_first: int
    order: int
    message: _Message = field(compare=False)
    steps: _Steps | None = field(compare=False, default=None)


class _Queue:
    """Jobs by priority. A question is dropped as soon as a newer one has come."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._count = itertools.count()
        self._is_there = threading.Condition()
        self._newest = -1

    def put(self, message: _Message, steps: _Steps | None = None) -> None:
        """Add a message, or what is left of one that has begun."""
        ticket = message.ticket if isinstance(message, messages.Search) else 0
        priority = _REFINE
        if steps is None:
            priority = _PREPARE
            if isinstance(message, messages.Search):
                priority = _ASK
            elif isinstance(message, messages.Stop):
                priority = _STOP
        with self._is_there:
            if isinstance(message, messages.Search):
                self._newest = max(self._newest, ticket)
            job = _Job(priority, -ticket, next(self._count), message, steps)
            heapq.heappush(self._jobs, job)
            self._is_there.notify()

    def get(self) -> _Job:
        """Return the next job; waits for one."""
        with self._is_there:
            while True:
                while self._jobs:
                    job = heapq.heappop(self._jobs)
                    if not self.is_old(job.message):
                        return job
                self._is_there.wait()

    def is_old(self, message: _Message) -> bool:
        """Tell whether a message is a question that a newer one has replaced."""
        return isinstance(message, messages.Search) and message.ticket < self._newest


class Worker:
    """Answers questions one step at a time, on the thread that calls `run`."""

    def __init__(self, connection: Connection, folders: settings.Folders) -> None:
        self._connection, self._folders = connection, folders
        self._queue = _Queue()
        self._readers = isolated.Readers(1)
        self._collections: dict[str, snapshot.Collection] = {}
        self._encoders: dict[str, base.Encoder] = {}
        # What the checker found, by the folder's stamp: copied anew, it is looked at anew.
        self._damages: dict[tuple[str, tuple[int, ...]], list[damage.Problem]] = {}
        self._checker = checking.Checker(lambda *found: self._queue.put(_Damaged(*found)))
        self._memory = asking.Memory()
        self._device = _wanted_device(folders)
        self._told_device = ""

    def run(self) -> None:
        """Work until told to stop or until the window is gone."""
        listener = threading.Thread(target=self._listen, name="worker-listener", daemon=True)
        listener.start()
        try:
            self._readers.warm()
            self._tell_device(devices.described(self._device))
            while not isinstance((job := self._queue.get()).message, messages.Stop):
                self._do(job)
        finally:
            self._checker.close()
            self._readers.close()
            for collection in self._collections.values():
                collection.close()

    def _listen(self) -> None:
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                self._queue.put(messages.Stop())
                # A step that never ends must not outlive the window.
                last = threading.Timer(_LAST_WAIT_S, os._exit, (1,))
                last.daemon = True
                last.start()
                return
            self._queue.put(message)
            if isinstance(message, messages.Stop):
                return

    def _send(self, message: messages.FromWorker) -> None:
        with contextlib.suppress(OSError):
            self._connection.send(message)

    def _tell_device(self, described: str) -> None:
        """Tell what questions run on, when it is another device than was told last."""
        if described != self._told_device:
            self._told_device = described
            self._send(messages.Ready(described))

    def _do(self, job: _Job) -> None:
        try:
            if isinstance(job.message, messages.Search):
                self._search(job.message, job.steps)
            elif isinstance(job.message, messages.Prepare):
                for path in job.message.collections:
                    self._prepare(path)
            elif isinstance(job.message, _Damaged):
                self._leave_damaged(job.message)
        except errors.MedsearchError as error:
            self._fail(job, error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of a Rust library is no Exception
            _log.exception("a step of the worker failed")
            what = f"The search failed: {type(error).__name__}. Details are in the log."
            self._fail(job, errors.MedsearchError(what))

    def _fail(self, job: _Job, error: errors.MedsearchError) -> None:
        if self._queue.is_old(job.message):
            return
        ticket = job.message.ticket if isinstance(job.message, messages.Search) else None
        self._send(messages.Failed(ticket, error))

    def _search(self, message: messages.Search, steps: _Steps | None) -> None:
        """Do one step of a question and queue what is left of it."""
        if steps is None:
            opened, notices = search.opened(message.query.collections, self._opened)
            steps = search.steps(
                message.query,
                opened,
                self._encoder,
                self._readers,
                ticket=message.ticket,
                memory=self._memory,
                cancelled=lambda: self._queue.is_old(message),
            )
            steps = search.with_notices(steps, notices)
        step = next(steps, None)
        if any(self._has_left(encoder) for encoder in self._encoders.values()):
            self._tell_device("CPU")
        if step is None:
            return
        if isinstance(step, search.Step):
            self._send(messages.Progress(message.ticket, step.done, step.total))
        else:
            self._send(messages.Answer(step))
            if step.complete:
                return
        self._queue.put(message, steps)

    def _prepare(self, path: str) -> None:
        """Open a collection and load its encoder; both are told of one by one."""
        try:
            opened = self._opened(path)
        except errors.MedsearchError as error:
            self._send(messages.Failed(None, error, path))
            return
        described = opened.manifest
        card, device, problem = described.encoder, "", None
        try:
            encoder = self._encoder(card)
            base.check_fits(card, encoder.card)
            _warm_up(encoder)
            card, device = encoder.card, encoder.card.device
        except errors.MedsearchError as error:
            problem = error
        self._send(
            messages.Prepared(
                collection=path,
                name=described.name,
                cases=described.counts.cases,
                encoder=card.name,
                encoder_digest=described.encoder.digest,
                encoder_limits=card.limits,
                device=device,
                notice=opened.notice,
            )
        )
        if problem is not None:
            self._send(messages.Failed(None, problem, path))
        self._checker.check(path, described)

    def _leave_damaged(self, found: _Damaged) -> None:
        """Tell of damage that the checker found, and open what is sound in its place."""
        known = self._collections.pop(found.path, None)
        if known is None:
            return
        known.close()
        key = (found.path, snapshot.stamp(Path(found.path)))
        self._damages.setdefault(key, []).append(found.problem)
        error = errors.CollectionDamagedError(found.path, str(found.problem))
        self._send(messages.Failed(None, error, found.path))
        self._prepare(found.path)

    def _has_left(self, encoder: base.Encoder) -> bool:
        """Tell whether an encoder that began on a GPU has gone over to the CPU."""
        return getattr(encoder, "has_left_device", False) is True

    def _opened(self, path: str) -> snapshot.Collection:
        """Return the newest generation of a collection, opened once."""
        known = self._collections.get(path)
        if known is not None:
            if known.is_current():
                return known
            known.close()
            del self._collections[path]
        damages = self._damages.get((path, snapshot.stamp(Path(path))), ())
        self._collections[path] = generations.open_collection(path, damages)
        return self._collections[path]

    def _encoder(self, card: base.EncoderCard) -> base.Encoder:
        """Return the encoder a collection was built with, loaded once."""
        if card.digest not in self._encoders:
            if not base.is_plain_name(card.name):
                # A name out of a manifest is not trusted as a path.
                raise errors.EncoderMissingError(card.name, "it is not the name of an encoder")
            found = base.find(card.name, models=self._folders.models, device=self._device)
            self._encoders[found.card.digest] = found
            return found
        return self._encoders[card.digest]


def _wanted_device(folders: settings.Folders) -> str:
    chosen = os.environ.get("MEDSEARCH_DEVICE")
    return chosen or settings.load(folders.settings)[0].search.device


def _warm_up(encoder: base.Encoder) -> None:
    """Let the encoder allocate what its first question would wait for."""
    import numpy as np

    if "texts" in encoder.card.abilities:
        encoder.encode_texts(["chest"])
    if "images" in encoder.card.abilities:
        encoder.encode_images(np.zeros((1, 64, 64, 3), np.uint8))


def main(connection: Any, home: str) -> None:
    """Run in a process of its own, at the other end of `connection`."""
    # Ctrl-C in a terminal reaches us too: the window ends us when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings.private()
    settings.offline()
    folders = settings.folders(home)
    logs.start(Path(folders.logs), "worker")
    logs.watch()
    try:
        Worker(connection, folders).run()
    finally:
        connection.close()
        logs.stop()
