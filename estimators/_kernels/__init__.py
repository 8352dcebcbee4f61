"""Compiled loops: contiguous arrays in, arrays filled in place; no checks, no defaults.

Every kernel releases the interpreter lock and takes a range of rows or leaves, so that callers may share
the work among threads; a result never depends on how the range was cut.
"""

from __future__ import annotations

import logging

from numba.core import event

__all__: list[str] = []

_log = logging.getLogger("estimators")


class _Announcement(event.Listener):
    """Says why the first call takes so long, when a loop is compiled and not taken from the cache."""

    made = False

    def on_start(self, event: event.Event) -> None:
        if self.made or not event.data["dispatcher"].__module__.startswith(__name__):
            return
        self.made = True
        # A level that is shown unless the user decides otherwise: it comes once on a machine.
        _log.warning("compiling the loops of the neighbour search, once on this machine: some seconds")

    def on_end(self, event: event.Event) -> None:
        pass


event.register("numba:compile", _Announcement())
