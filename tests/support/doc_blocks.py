"""Code blocks of Markdown pages, and what an HTML comment before one says of it."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
COMMENT = re.compile(r"<!--\s*((?:(?!-->).)*?)\s*-->\s*\Z", re.S)
EXIT = re.compile(r"exits with (\d+): ")
UNRUN = re.compile(r"not run: ")
LABELLED = "labelled by a script"


@dataclass(frozen=True)
class Block:
    """One block: its language, text, line in the page (from 1), the exit code it should have, whether it is run, and
    whether a script stands in for the person in front of the page."""

    page: str
    line: int
    language: str
    text: str
    code: int
    runs: bool
    labelled: bool = False


def blocks(path: Path, root: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = path.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        comment = COMMENT.search(text[: match.start()])
        note = comment[1] if comment else ""
        code = EXIT.match(note)
        found.append(
            Block(
                page=str(path.relative_to(root)),
                line=text[: match.start()].count("\n") + 1,
                language=match[1],
                text=match[2],
                code=int(code[1]) if code else 0,
                runs=not UNRUN.match(note),
                labelled=note == LABELLED,
            )
        )
    return found


def commands(script: str) -> list[list[str]]:
    """The words of every simple command of a shell script; comments and redirections are left out."""
    found = []
    lines = script.replace("\\\n", " ").replace("|\n", "| ").splitlines()
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        skip = False
        for word in lexer:
            if set(word) <= set("<>"):
                skip = True
            elif set(word) <= set("|&;()"):
                found.append(words)
                words = []
            elif skip:
                skip = False
            else:
                words.append(word)
        found.append(words)
    return [words for words in found if words]
