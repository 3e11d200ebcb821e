"""Several blocks in flight at once on the CPU.

Backbones on small frames are many short operations; splitting each over the cores costs more waiting than it saves,
the more so while the decoder wants a core too. Whole blocks side by side, one core each, wait for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

from tal_cli.extractors.cpu import usable_cores

Block = TypeVar("Block")
Result = TypeVar("Result")

# Each lane holds a block and what is computed from it; on machines with more cores a lane has several.
MOST = 8


def lanes_for(device: str | torch.device) -> int:
    """How many blocks to compute side by side: one on an accelerator, else one per core that torch may use."""
    return 1 if torch.device(device).type != "cpu" else max(1, min(torch.get_num_threads(), usable_cores(), MOST))


@cache
def shared_pool(lanes: int) -> ThreadPoolExecutor:
    """One pool per process, however many videos are worked on at a time; its threads share the cores evenly."""
    threads = torch.get_num_threads()
    share = max(1, threads // lanes)
    pool = ThreadPoolExecutor(lanes, thread_name_prefix="lane", initializer=torch.set_num_threads, initargs=(share,))
    everybody = Barrier(lanes + 1)
    for _ in range(lanes):
        pool.submit(everybody.wait)
    everybody.wait()
    # set_num_threads counts for the thread that calls it and for threads that start later, which are not to be lanes.
    torch.set_num_threads(threads)
    return pool


def in_lanes(work: Callable[[Block], Result], blocks: Iterable[Block], lanes: int) -> Iterator[tuple[Block, Result]]:
    """Each block with its result, in order; at most lanes + 1 blocks are held.

    work runs under inference mode and under the caller's autocast, also where it runs in another thread.
    """
    if lanes == 1:
        for block in blocks:
            with torch.inference_mode():
                result = work(block)
            yield block, result
        return
    enabled, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def infer(block: Block) -> Result:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=enabled):
            return work(block)

    pool = shared_pool(lanes)
    pending: deque[tuple[Block, Future[Result]]] = deque()
    try:
        for block in blocks:
            pending.append((block, pool.submit(infer, block)))
            if len(pending) > lanes:
                first, future = pending.popleft()
                yield first, future.result()
        while pending:
            first, future = pending.popleft()
            yield first, future.result()
    finally:
        for _, future in pending:
            future.cancel()
