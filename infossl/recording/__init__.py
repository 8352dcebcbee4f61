"""Recording: temporary hooks, pools and schedules."""

from infossl.recording.pools import POOLS
from infossl.recording.record import Recording, record
from infossl.recording.schedules import SCHEDULES, Schedule, at, every, log_spaced
from infossl.recording.taps import Layers, Tap, taps_of

__all__ = [
    "POOLS",
    "SCHEDULES",
    "Layers",
    "Recording",
    "Schedule",
    "Tap",
    "at",
    "every",
    "log_spaced",
    "record",
    "taps_of",
]
