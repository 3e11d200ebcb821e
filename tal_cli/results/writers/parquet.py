"""`parquet`: the columns of `csv` for millions of segments, to be queried where they lie. Needs the extra `parquet`."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo

# Rows that wait in memory; one row group of the file.
GROUP = 100_000


class Outbox(io.RawIOBase):
    """A file that is only written to; what was written is taken away piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._position += len(self._parts[-1])
        return len(self._parts[-1])

    def take(self) -> bytes:
        """Everything written since the last time."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ParquetWriter:
    """Row by row in the order of the videos, best segment first; model and version are the file's metadata."""

    def __init__(self, run: RunInfo) -> None:
        facts = {"tal.version": run.version, "tal.model": run.model, "tal.weights_sha256": run.weights_sha256}
        text, number = pa.string(), pa.float64()
        columns = [("video", text), ("label", text), ("start", number), ("end", number), ("score", number)]
        self._schema = pa.schema(columns, metadata=facts)
        self._outbox = Outbox()
        self._file: Any = None
        self._columns: tuple[list[Any], ...] = tuple([] for _ in columns)

    def start(self) -> bytes:
        self._file = parquet.ParquetWriter(self._outbox, self._schema, compression="zstd")
        return self._outbox.take()

    def add(self, detections: Detections) -> bytes:
        for s in detections.segments:
            row = (detections.video, s.label, s.start, s.end, s.score)
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
        if len(self._columns[0]) >= GROUP:
            self._flush()
        return self._outbox.take()

    def finish(self) -> bytes:
        if self._columns[0]:
            self._flush()
        self._file.close()
        return self._outbox.take()

    def _flush(self) -> None:
        arrays = [pa.array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        for column in self._columns:
            column.clear()
