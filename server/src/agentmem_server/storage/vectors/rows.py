"""float32 rows by number, in memory, or past a size in a file that is mapped.

The file is derived like all the rest, and has no name: it is gone with the process. Rows are
written to it as to any file, so that a full disk is an error and not a signal, and read where it is
mapped. It grows by being mapped anew, while those who still read see the same bytes where they are.
"""

import mmap
import os
import sys
import tempfile
import weakref
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .measures import Slots, Vectors

FILES = sys.platform != "win32"
"""Whether files can be mapped as it is done here."""


class Rows(Protocol):
    """So many rows of float32.

    Attributes:
        array: all of them, (n, d), to be read.
    """

    array: Vectors

    def write(self, places: Slots, values: Vectors) -> None:
        """Set rows; zeros where nothing was set yet.

        Raises:
            OSError: they can't be kept; some of them may have been set.
        """

    def resized(self, capacity: int) -> "Rows":
        """More rows, that begin with these; nobody writes to these any more.

        Raises:
            OSError: there is no room for so many.
        """


class MemoryRows:
    """Rows in memory; resizing copies them."""

    def __init__(self, capacity: int, dimension: int) -> None:
        self.array: Vectors = np.zeros((capacity, dimension), dtype=np.float32)

    def write(self, places: Slots, values: Vectors) -> None:
        """Set rows."""
        self.array[places] = values

    def resized(self, capacity: int) -> "MemoryRows":
        """More rows, that begin with these."""
        grown = MemoryRows(capacity, self.array.shape[1])
        grown.array[: len(self.array)] = self.array
        return grown


class FileRows:
    """Rows in a file; resizing copies nothing.

    Args:
        capacity: how many there are room for. A row takes none of the disk until it is set.
        dimension: how many numbers each has.
        folder: where the file is.

    Raises:
        OSError: there can't be one.
    """

    def __init__(self, capacity: int, dimension: int, folder: Path) -> None:
        self._map(_File(folder), capacity, dimension)

    def _map(self, file: "_File", capacity: int, dimension: int) -> None:
        self._file = file
        os.truncate(file.descriptor, capacity * dimension * 4)
        mapped = mmap.mmap(file.descriptor, capacity * dimension * 4, access=mmap.ACCESS_READ)
        self.array: Vectors = np.frombuffer(mapped, np.float32).reshape(capacity, dimension)

    def write(self, places: Slots, values: Vectors) -> None:
        """Set rows, those side by side at once."""
        size = 4 * values.shape[1]
        values = np.ascontiguousarray(values, np.float32)
        for first, end in _runs(places):
            data = values[first:end].data.cast("B")
            offset = int(places[first]) * size
            while data:
                written = os.pwrite(self._file.descriptor, data, offset)
                data, offset = data[written:], offset + written

    def resized(self, capacity: int) -> "FileRows":
        """More rows, that begin with these, in the same file."""
        grown = FileRows.__new__(FileRows)
        grown._map(self._file, capacity, self.array.shape[1])
        return grown


class _File:
    """A file without a name, closed when nobody has rows in it any more."""

    def __init__(self, folder: Path) -> None:
        self.descriptor, name = tempfile.mkstemp(prefix=".vectors-", dir=folder)
        weakref.finalize(self, os.close, self.descriptor)
        Path(name).unlink()


def _runs(places: Slots) -> NDArray[np.int64]:
    """Where numbers that count up begin, and end: (runs, 2)."""
    edges = np.flatnonzero(np.diff(places, prepend=-2, append=-2) != 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)
