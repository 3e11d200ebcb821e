"""An array that grows by rows."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)


class GrowingArray(Generic[Scalar]):
    """Rows that arrive in pieces, kept in one block of memory that grows by half when it is full.

    A list of the pieces would be simpler, but small long-lived pieces between large short-lived blocks of frames
    fragment the heap, and the process would grow by gigabytes per hour.
    """

    def __init__(self) -> None:
        self._rows: NDArray[Scalar] | None = None
        self._count = 0

    def append(self, rows: NDArray[Scalar]) -> None:
        """Appends rows [n, ...]; all pieces have the same type and shape except n."""
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
        """All rows, as a view: memory that was never written to takes no space. Raises ValueError if there are none."""
        if self._rows is None:
            raise ValueError("there are no rows")
        return self._rows[: self._count]
