"""Text and JSON from untrusted files, compressed or not."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.bounds import FREE, RATIO
from tal_cli.extractors.files.error_text import HEAD, stand_in

GZIP_MAGIC = b"\x1f\x8b"
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
FEWEST_ZEROS = 0.2  # share of upper bytes: blanks, digits and signs, whatever the language
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # half of a surrogate pair; alone it cannot be encoded
LARGEST = 2 << 30  # bytes after decompression; the largest published annotation file has 40 MB
# Bytes of the objects that a text becomes: as many in any case, and so many for each of the file's own.
FREE_OBJECTS, OBJECTS_PER_BYTE = 2 << 30, 20
# What characters cost in JSON, in XML and in tables: they begin or end lists, objects, numbers, elements and rows.
COSTS = {"{": {"[": 72, "{": 190, ",": 32, '"': 15}, "<": {"<": 100, "=": 60}, "": {"\n": 400, "\r": 400}}


class NotText(InputError):
    """A file in another encoding than UTF-8."""

    def __init__(self, path: str | Path, raw: bytes) -> None:
        super().__init__(path, "not UTF-8 text", "save it again as UTF-8; in Excel as CSV UTF-8")
        self._raw = raw

    @property
    def as_windows(self) -> str:
        """The text in the code page of Western Windows."""
        return self._raw.decode("cp1252", "replace")


def read_text(path: str | Path) -> str:
    """The text of a UTF-8 file, or of UTF-16 as spreadsheets write it, decompressed if it is gzip (detected by content,
    not by name).

    Raises:
        InputError: the file cannot be read, is empty, damaged, too large or in another encoding.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
        stored = len(raw)
        if raw[:2] == GZIP_MAGIC:
            with gzip.GzipFile(fileobj=io.BytesIO(raw)) as packed:
                raw = packed.read(min(LARGEST, FREE + RATIO * stored) + 1)
                if len(raw) > FREE + RATIO * stored:
                    raise InputError(path, f"it unpacks to more than {RATIO} times its length")
        if len(raw) > LARGEST:
            raise InputError(path, f"larger than {LARGEST >> 30} GiB")
        reason = stand_in(raw[:HEAD])
        if reason is not None:
            raise InputError(path, reason)
        text = raw.decode(_encoding(raw))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, getattr(error, "strerror", None) or str(error)) from error
    except UnicodeDecodeError as error:
        raise NotText(path, raw) from error
    if (cost := cost_of(text)) > FREE_OBJECTS + OBJECTS_PER_BYTE * stored:
        raise InputError(path, f"its content would take {cost / 1e9:.1f} GB of memory", "split it into smaller files")
    return text


def _encoding(raw: bytes) -> str:
    """The encoding of a text. Without a byte order mark, UTF-16 is known by zeros at every other byte."""
    if raw.startswith(UTF_16_MARKS):
        return "utf-16"
    low, high = raw[0:HEAD:2], raw[1:HEAD:2]
    for encoding, zeros, others in (("utf-16-le", high, low), ("utf-16-be", low, high)):
        if 0 not in others and zeros.count(0) > len(zeros) * FEWEST_ZEROS:
            return encoding
    return "utf-8-sig"


def cost_of(text: str) -> int:
    """About how many bytes of memory the objects take that a text is read into."""
    first = text[:HEAD].lstrip()[:1].replace("[", "{")
    return sum(cost * text.count(character) for character, cost in COSTS.get(first, COSTS[""]).items())


def read_json(path: str | Path) -> Any:
    """The content of a JSON file; see `read_text`.

    Raises:
        InputError: the file cannot be read or is not JSON.
    """
    return parse_json(path, read_text(path))


def parse_json(path: str | Path, text: str) -> Any:
    """The content of a JSON text; `path` names its source in errors.

    Raises:
        InputError: it is not JSON.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object)
        if HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError(path, "not JSON: an unpaired surrogate such as \\ud800") from error
    except RecursionError as error:
        raise InputError(path, "not JSON: nested too deeply") from error
    except _TwiceError as error:
        raise InputError(path, f"the key {error.key!r} occurs twice in one object; one value would be lost") from error
    except ValueError as error:
        raise InputError(path, f"not JSON: {error}") from error
    return content


class _TwiceError(Exception):
    """A key that occurs twice in one object."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _TwiceError(Counter(key for key, _ in pairs).most_common(1)[0][0])
    return content
