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
from medsearch_desktop.worker import checking, measuring, messages

_log = logging.getLogger(__name__)

# What is done first: a stop, a new question, opening collections, batches of old questions, and
# measuring last.
_STOP, _ASK, _PREPARE, _REFINE, _MEASURE = range(5)
# The process ends by itself when it does not get out of a batch this long after its window went.
_LAST_WAIT_S = 5.0

_Steps = Iterator[queries.Results | search.Step]
_Measuring = Iterator[messages.Measured | None]
_Stamp = tuple[int, int] | None


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
    steps: Any = field(compare=False, default=None)  # _Steps or _Measuring, by the message


class _Queue:
    """Jobs by priority. A question is dropped as soon as a newer one of its lane has come."""

    def __init__(self) -> None:
        self._jobs: list[_Job] = []
        self._count = itertools.count()
        self._is_there = threading.Condition()
        self._newest: dict[int, int] = {}  # lane -> ticket

    def put(self, message: _Message, steps: _Steps | _Measuring | None = None) -> None:
        """Add a message, or what is left of one that has begun."""
        ticket = message.ticket if isinstance(message, messages.Search) else 0
        with self._is_there:
            if isinstance(message, messages.Search):
                newest = self._newest.get(message.lane, ticket)
                self._newest[message.lane] = max(newest, ticket)
            priority = _priority(message, has_begun=steps is not None)
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
        if not isinstance(message, messages.Search):
            return False
        return message.ticket < self._newest.get(message.lane, message.ticket)


def _priority(message: _Message, *, has_begun: bool) -> int:
    if isinstance(message, messages.Measure):
        return _MEASURE
    if has_begun:
        return _REFINE
    if isinstance(message, messages.Search):
        return _ASK
    return _STOP if isinstance(message, messages.Stop) else _PREPARE


class Worker:
    """Answers questions one step at a time, on the thread that calls `run`."""

    def __init__(self, connection: Connection, folders: settings.Folders) -> None:
        self._connection, self._folders = connection, folders
        self._queue = _Queue()
        self._readers = isolated.Readers(1)
        self._collections: dict[str, snapshot.Collection] = {}
        # By the name they were asked for; each with the stamp of its folder when it was loaded.
        self._encoders: dict[str, base.Encoder] = {}
        self._stamps: dict[str, _Stamp] = {}
        # What the checker found, by the folder's stamp: copied anew, it is looked at anew.
        self._damages: dict[tuple[str, tuple[int, ...]], list[damage.Problem]] = {}
        self._checker = checking.Checker(lambda *found: self._queue.put(_Damaged(*found)))
        self._memory = asking.Memory()
        self._device = _wanted_device(folders)
        self._told_running: tuple[messages.Placed, ...] = ()

    def run(self) -> None:
        """Work until told to stop or until the window is gone."""
        listener = threading.Thread(target=self._listen, name="worker-listener", daemon=True)
        listener.start()
        try:
            self._readers.warm()
            self._send(messages.Ready(devices.described(self._device)))
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

    def _tell_running(self) -> None:
        """Tell where the encoders run, when that is another place than was told last."""
        running = tuple(measuring.placed(one) for one in self._encoders.values())
        if running != self._told_running:
            self._told_running = running
            self._send(messages.Running(running))

    def _do(self, job: _Job) -> None:
        try:
            if isinstance(job.message, messages.Search):
                self._search(job.message, job.steps)
            elif isinstance(job.message, messages.Measure):
                self._measure(job.message, job.steps)
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
        if isinstance(job.message, messages.Measure):
            told = errors.told(error)
            self._send(messages.Measured(job.message.encoder, problem=told))
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
        self._tell_running()
        if step is None:
            return
        if isinstance(step, search.Step):
            self._send(messages.Progress(message.ticket, step.done, step.total))
        else:
            self._send(messages.Answer(step))
            if step.complete:
                return
        self._queue.put(message, steps)

    def _measure(self, message: messages.Measure, steps: _Measuring | None) -> None:
        """Do one step of measuring an encoder and queue what is left of it."""
        if steps is None:
            steps = measuring.steps(message.encoder, self._loaded)
        done = next(steps, None)
        if done is None:
            self._queue.put(message, steps)
        else:
            self._send(done)

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
        self._tell_running()
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
        """Return the encoder a collection was built with, else the installed one of its name.

        Each is loaded once, and anew after its folder was removed or imported again.
        """
        self._forget_changed()
        same = (one for one in self._encoders.values() if one.card.digest == card.digest)
        if (fitting := next(same, None)) is not None:
            return fitting
        if card.name not in self._encoders:
            stamp = self._stamp(card.name)
            self._encoders[card.name] = self._found(card.name)
            self._stamps[card.name] = stamp
        return self._encoders[card.name]

    def _forget_changed(self) -> None:
        """Let go of the encoders whose folders are no longer those they were loaded from."""
        for name in [n for n, stamp in self._stamps.items() if self._stamp(n) != stamp]:
            del self._encoders[name], self._stamps[name]

    def _stamp(self, name: str) -> _Stamp:
        """Return what changes when a model is removed or imported again; None for no folder."""
        try:
            found = (self._folders.models / name).stat()
        except (OSError, ValueError):
            return None
        return found.st_ino, found.st_mtime_ns

    def _loaded(self, name: str) -> base.Encoder:
        """Return the encoder of a name: one that is in use, else one that nothing else keeps."""
        self._forget_changed()
        in_use = (one for one in self._encoders.values() if one.card.name == name)
        return next(in_use, None) or self._found(name)

    def _found(self, name: str) -> base.Encoder:
        if not base.is_plain_name(name):
            # A name out of a manifest is not trusted as a path.
            raise errors.EncoderMissingError(name, "it is not the name of an encoder")
        return base.find(name, models=self._folders.models, device=self._device)


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
