"""Reading JSON from files that nobody vouches for, compressed or not."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any

from tal_cli.extractors.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # one of two; without the other it cannot be written anywhere
LARGEST = 2 << 30  # bytes after decompression; the largest published annotation file has 40 MB


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, decompressed where it is gzip (told by its content, not by its name).

    Raises:
        InputError: the file cannot be read, is damaged, too large or not UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
        if raw[:2] == GZIP_MAGIC:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                raw = packed.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise InputError(path, f"larger than {LARGEST >> 30} GiB")
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, getattr(error, "strerror", None) or str(error)) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not UTF-8 text") from error


def read_json(path: str | Path) -> Any:
    """What a JSON file holds; see `read_text`.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    return parse_json(path, read_text(path))


def parse_json(path: str | Path, text: str) -> Any:
    """What a JSON text holds; `path` is where it comes from.

    Raises:
        InputError: it is not JSON.
    """
    try:
        content = json.loads(text)
        if HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(path, "not JSON: half a character, as by \\ud800 alone") from error
    except RecursionError as error:
        raise InputError(path, "not JSON: nested too deeply") from error
    except ValueError as error:
        raise InputError(path, f"not JSON: {error}") from error
    return content
