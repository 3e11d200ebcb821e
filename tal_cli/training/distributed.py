"""Distributed training under `torchrun`; a single process is a group of one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tal_cli.extractors.errors import UsageError

# During evaluation, processes may wait for each other for a long time.
PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """Process group of a training run.

    Attributes:
        rank: rank of this process, from 0; process 0 writes files and messages.
        count: number of processes.
        device: device for computation and communication; None: as given by --device.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def share(self, items: int) -> range:
        """Consecutive items of this process; the first processes take one more if they do not divide evenly."""
        size, more = divmod(items, self.count)
        first = self.rank * size + min(self.rank, more)
        return range(first, first + size + (self.rank < more))

    def total(self, values: Tensor) -> Tensor:
        """The sum of a tensor over all processes."""
        if self.count == 1:
            return values
        sums = values.to(self.device, copy=True)
        dist.all_reduce(sums)
        return sums.to(values.device)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Sum the gradients of all processes in one all-reduce; a missing gradient counts as zero."""
        if self.count == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, item: Any) -> list[Any]:
        """All-gather: the items of all processes, by rank."""
        if self.count == 1:
            return [item]
        items: list[Any] = [None] * self.count
        dist.all_gather_object(items, item)
        return items

    def agree(self, item: Any) -> Any:
        """Broadcast: the item of process 0."""
        return self.gather(item)[0]


ALONE = Processes()


def join(device: str) -> Processes:
    """The process group started by `torchrun`, or a group of one.

    `device` as on the command line: GPUs communicate through NCCL, CPUs through Gloo.

    Raises:
        UsageError: a single GPU is given for several processes.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if device.startswith("cuda:"):
        raise UsageError(
            f"--device {device}: several processes cannot share one device", "omit --device under torchrun"
        )
    on_gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(local)
    return Processes(dist.get_rank(), count, local)
