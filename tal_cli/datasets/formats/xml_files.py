"""XML from untrusted files."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tal_cli.extractors.errors import AnnotationError


def parse_xml(path: Path, text: str) -> Element:
    """The root of a document.

    Raises:
        AnnotationError: it is not XML, or has a document type declaration: programs write none, and it could declare
            entities that grow without bound or read other files.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError(path, "XML with a document type declaration is not read")
    try:
        # Encoded again as UTF-8: the declared encoding is that of the file, not of the decoded text.
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text).encode())
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise AnnotationError(path, f"not XML: {error}") from error
