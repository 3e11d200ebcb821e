"""An array that grows by rows."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class GrowingArray(Generic[Scalar]):
    """Rows that come in pieces, kept in one block of memory that is half as large again when it is full.

    A list of the pieces would be simpler, but each small piece that stays is a splinter in the heap between large
    ones that come and go, and with a block of frames per piece the process grows by gigabytes an hour.
    """

    def __init__(self) -> None:
        self._rows: NDArray[Scalar] | None = None
        self._count = 0

    def append(self, rows: NDArray[Scalar]) -> None:
        """Copy rows [n, ...] to the end; all pieces agree in everything but n."""
        needed = self._count + len(rows)
        if self._rows is None or needed > len(self._rows):
            larger = np.empty((max(1024, needed * 3 // 2), *rows.shape[1:]), rows.dtype)
            if self._rows is not None:
                larger[: self._count] = self._rows[: self._count]
            self._rows = larger
        self._rows[self._count : needed] = rows
        self._count = needed

    def __len__(self) -> int:
        return self._count

    def finish(self) -> NDArray[Scalar]:
        """All rows, a view: memory that was never written to takes no room. Raises ValueError when there are none."""
        if self._rows is None:
            raise ValueError("there are no rows")
        return self._rows[: self._count]
