"""Prefetching of items in a thread, for work in C that releases the GIL: two cores, or a core and an accelerator, then
work at the same time."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Empty, Full, Queue
from typing import TypeVar

Item = TypeVar("Item")

# A queue operation costs as much as scaling a small image, so items are queued in groups.
GROUP = 8


def prefetch(items: Iterable[Item], depth: int) -> Generator[Item, None, None]:
    """The same items in the same order, with about `depth` of them prefetched.

    Exceptions of the source are raised here, after the items that came before. Closing this iterator stops prefetching.
    """
    group = max(1, min(GROUP, depth // 2))
    waiting: Queue[list[Item] | None] = Queue(max(1, depth // group - 1))
    ended = threading.Event()
    failure: list[BaseException] = []

    def put(some: list[Item] | None) -> bool:
        while not ended.is_set():
            try:
                waiting.put(some, timeout=0.1)
                return True
            except Full:
                continue
        return False

    def take() -> None:
        some: list[Item] = []
        try:
            for item in items:
                some.append(item)
                if len(some) == group:
                    if not put(some):
                        return
                    some = []
        except BaseException as error:
            failure.append(error)
        put(some)
        put(None)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        while (some := waiting.get()) is not None:
            yield from some
        if failure:
            raise failure[0]
    finally:
        ended.set()
        while True:  # release the prefetched items
            try:
                waiting.get_nowait()
            except Empty:
                break
