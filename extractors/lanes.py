"""Several blocks in flight at once on the CPU.

Backbones on small frames are many short operations; splitting each over the cores costs more waiting than it saves,
the more so while the decoder wants a core too. Whole blocks side by side, one core each, wait for nothing, and the
result does not depend on how many cores there are.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Block = TypeVar("Block")
Result = TypeVar("Result")


def lanes_for(device: str | torch.device) -> int:
    """How many blocks to compute side by side: one on an accelerator, else one per core that torch may use."""
    return 1 if torch.device(device).type != "cpu" else max(1, min(torch.get_num_threads(), usable_cores(), 8))


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_lanes(work: Callable[[Block], Result], blocks: Iterable[Block], lanes: int) -> Iterator[tuple[Block, Result]]:
    """Each block with its result, in order; at most lanes + 1 blocks are held. work runs under inference mode."""

    def infer(block: Block) -> Result:
        with torch.inference_mode():
            return work(block)

    if lanes == 1:
        for block in blocks:
            yield block, infer(block)
        return
    threads = torch.get_num_threads()
    pending: deque[tuple[Block, Future[Result]]] = deque()
    # set_num_threads counts for the thread that calls it, and for threads that start later.
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for block in blocks:
            pending.append((block, pool.submit(infer, block)))
            if len(pending) > lanes:
                first, result = pending.popleft()
                yield first, result.result()
        while pending:
            first, result = pending.popleft()
            yield first, result.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
