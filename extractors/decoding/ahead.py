"""Decoding ahead of scaling, in a thread of the child: both run in C without the interpreter's lock, so two cores
share what one would do in turn."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Queue
from typing import TypeVar

Item = TypeVar("Item")

# A queue's lock costs as much as a small picture takes to scale; groups share it.
GROUP = 8


def ahead(items: Iterable[Item], depth: int) -> Iterator[Item]:
    """The same items in the same order, up to about `depth` of them taken before they are asked for.

    What taking them raises is raised here, after the items that came before.
    """
    group = max(1, min(GROUP, depth // 2))
    waiting: Queue[list[Item] | None] = Queue(max(1, depth // group - 1))
    failure: list[BaseException] = []

    def take() -> None:
        some: list[Item] = []
        try:
            for item in items:
                some.append(item)
                if len(some) == group:
                    waiting.put(some)
                    some = []
        except BaseException as error:
            failure.append(error)
        waiting.put(some)
        waiting.put(None)

    threading.Thread(target=take, daemon=True).start()
    while (some := waiting.get()) is not None:
        yield from some
    if failure:
        raise failure[0]
