"""`parquet`: the columns of `csv`, for queries over millions of segments. Needs the extra `parquet`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo

# Rows buffered in memory: one row group of the file.
GROUP = 100_000
COLUMNS = {
    "video": pa.string(),
    "label": pa.string(),
    "start": pa.float64(),
    "end": pa.float64(),
    "score": pa.float64(),
}


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write rows in the order of the videos, best segment first; the file's metadata describe the model and its run."""
    facts = {"tal.version": run.version, "tal.model": run.model, "tal.weights_sha256": run.weights_sha256}
    if run.run_videos is not None:
        facts["tal.run_videos"] = json.dumps(run.run_videos.as_json())
    columns = COLUMNS | {"kind": pa.string()} if run.points else COLUMNS
    schema = pa.schema(columns, metadata=facts)
    rows: list[tuple[Any, ...]] = []
    with parquet.ParquetWriter(_Counting(file), schema, compression="zstd") as table:
        for found in detections:
            rows += [(found.video, s.label, s.start, s.end, s.score, s.kind)[: len(columns)] for s in found.segments]
            if len(rows) >= GROUP:
                table.write_table(_table(rows, schema))
                rows.clear()
        if rows:
            table.write_table(_table(rows, schema))


def _table(rows: list[tuple[Any, ...]], schema: Any) -> Any:
    arrays = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


class _Counting(io.RawIOBase):
    """A file that counts written bytes, for pipes, which have no position."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        self._position += len(data)
        self._file.write(data)
        return len(data)
