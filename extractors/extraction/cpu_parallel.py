"""Several blocks computed at once on the CPU.

Backbones on small frames consist of many short operations; splitting each over the cores costs more synchronisation
than it saves, even more so while the decoder uses a core too. Blocks computed in parallel, one core each, need none.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

import torch

from tal_cli.extractors.cpu import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# Each worker holds a block and its activations; on machines with more cores a worker uses several cores.
MAX_WORKERS = 8
_starting = Lock()


def cpu_workers() -> int:
    """Number of blocks to compute in parallel: one per core that torch may use."""
    return max(1, min(torch.get_num_threads(), usable_cores(), MAX_WORKERS))


def worker_pool(workers: int) -> ThreadPoolExecutor:
    """The process's pool of that many threads, which all videos share; its threads divide torch's cores evenly."""
    with _starting:
        return _start_pool(workers)


@cache
def _start_pool(workers: int) -> ThreadPoolExecutor:
    threads = torch.get_num_threads()
    share = max(1, threads // workers)
    pool = ThreadPoolExecutor(
        workers, thread_name_prefix="forward", initializer=torch.set_num_threads, initargs=(share,)
    )
    all_started = Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(all_started.wait)
    all_started.wait()
    # set_num_threads affects the calling thread and all that start later: restore it for the latter.
    torch.set_num_threads(threads)
    return pool


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """The results for all items, in order, computed by the process's pool; at most workers + 1 items are held."""
    pool = worker_pool(workers)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
