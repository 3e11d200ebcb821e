"""A Ray cluster: decoding tasks and model actors, wherever there is room.

An actor holds the backbone and works on a few videos at a time; for each it starts a decoding task, which Ray puts on
any node with a free core and which may be a few blocks ahead of the actor, no further. Videos and feature folder must
be reachable under the same names from all nodes: a shared file system, or URLs. When a node or process dies, what it
was at is tried again.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from tal_cli.extractors.corpus.run import Job, Outcome, save
from tal_cli.extractors.corpus.worker_config import Setup, pack, unpack
from tal_cli.extractors.errors import PackageMissing, VideoError
from tal_cli.extractors.files.remote import on_this_machine
from tal_cli.extractors.video.info import VideoInfo
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import FrameChunk, read_frames

# A video is given up when its processes have died that often.
ATTEMPTS = 3
# Videos at a time per actor: one is decoded or written while another is computed.
VIDEOS_EACH = 2
# Chunks (of at most 2 MB) that a decoding task may be ahead of its actor.
CHUNKS_AHEAD = 8
# Seconds in which a cluster must answer.
PATIENCE = 10.0
# Cores that an actor without a GPU computes on.
CORES_EACH = 4


@dataclass(frozen=True)
class Failed:
    """What a decoding task sends in place of frames: why there are none."""

    error: dict[str, Any]


@dataclass(frozen=True)
class Lost:
    """What an actor says of a video whose decoding task died, or could not be reached."""

    reason: str


class ClusterFrames:
    """The frames of one video from a decoding task: a `FrameSource`."""

    def __init__(self, stream: Iterator[Any]) -> None:
        self._stream = stream
        self._summary: VideoSummary | None = None
        self.info: VideoInfo = self._next()

    @property
    def summary(self) -> VideoSummary:
        """Raises RuntimeError before the last chunk was taken."""
        if self._summary is None:
            raise RuntimeError("a video has a summary after its last frame")
        return self._summary

    def __iter__(self) -> Iterator[FrameChunk]:
        while self._summary is None:
            message = self._next()
            if isinstance(message, VideoSummary):
                self._summary = message
            else:
                yield message

    def _next(self) -> Any:
        import ray

        message = ray.get(next(self._stream))
        if isinstance(message, Failed):
            raise unpack(message.error)
        return message


def decoded(video: str, setup: Setup, model: Any, rates: tuple[float | None, float | None]) -> Iterator[Any]:
    """The decoding task. Yields VideoInfo, FrameChunk ..., VideoSummary; Failed instead of what cannot be had.

    model: the actor that the frames are for, which is asked for their size.
    """
    import ray

    def frame_size(width: int, height: int) -> tuple[int, int]:
        size: tuple[int, int] = ray.get(model.frame_size.remote(width, height))
        return size

    try:
        with (
            on_this_machine(video) as path,
            read_frames(
                path,
                frame_size=frame_size,
                sampling_rate=rates[0],
                max_rate=rates[1],
                decoder=setup.decoder,
                timeout=setup.timeout,
                time_limit=setup.time_limit,
            ) as stream,
        ):
            yield stream.info
            yield from stream
            yield stream.summary
    except VideoError as error:
        yield Failed(pack(VideoError(video, error.reason)))
    except Exception as error:
        yield Failed(pack(error))


class Model:
    """The actor: a backbone on one device of some node. Its methods run side by side."""

    def __init__(self, setup: Setup, threads: int | None = None) -> None:
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self._setup = setup
        self._failure: dict[str, Any] | None = None
        try:
            self._extractor = setup.extractor_on("cuda" if torch.cuda.is_available() else "cpu")
        except Exception as error:
            self._failure = pack(error)

    def ready(self) -> dict[str, Any] | None:
        """None, or why it cannot work."""
        return self._failure

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """As the backbone has it."""
        return self._extractor.backbone.frame_size(width, height)

    def run(self, job: Job) -> Outcome | Failed | Lost:
        """Do one job."""
        import ray

        contract = self._extractor.backbone.contract
        task = ray.remote(decoded).options(
            num_cpus=1,
            num_returns="streaming",
            max_retries=0,
            scheduling_strategy="SPREAD",
            _generator_backpressure_num_objects=CHUNKS_AHEAD,
        )
        myself = ray.get_runtime_context().current_actor
        rates = contract.sampling_rate, contract.max_rate
        try:
            stream: Any = task.remote(job.video, self._setup, myself, rates)
            frames = ClusterFrames(stream)
            sequence = self._extractor.extract_frames(frames, job.video)
            save(sequence, job)
        except ray.exceptions.RayError as error:
            return Lost(" ".join(str(error).split())[:300])
        except Exception as error:
            return Failed(pack(error))
        return Outcome(job, frames=sequence.frames, duration=sequence.duration, warnings=sequence.warnings)


class RayEngine:
    """Model actors of a cluster: one per GPU, or where there are none one for every few cores.

    address: the cluster's; None: the one that RAY_ADDRESS or `ray start` on this machine means, else one of this
    machine alone for this run. workers: actors at most. Raises PackageMissing, ConnectionError.
    """

    def __init__(self, setup: Setup, *, address: str | None = None, workers: int | None = None) -> None:
        # Ray tells of dead processes on standard output, which is for results.
        self._elsewhere = redirect_stdout(sys.stderr)
        self._elsewhere.__enter__()
        self._setup = setup
        self._ray = connect(address)
        number, self._threads, resources = layout(self._ray.cluster_resources(), workers)
        self._actor = self._ray.remote(Model).options(
            max_concurrency=4 * VIDEOS_EACH, scheduling_strategy="SPREAD", **resources
        )
        self._models: list[Any] = []
        self._beginning: set[Any] = set()
        self._running: dict[Any, tuple[Job, Any, int]] = {}  # by reference: job, actor, attempt
        for _ in range(number):
            self._begin()

    def has_room(self) -> bool:
        """Whether another job would begin soon."""
        return len(self._running) < VIDEOS_EACH * len(self._models)

    def submit(self, job: Job) -> None:
        """Give a job to the least busy actor."""
        self._start(job, 1)

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes of jobs that have ended, after at most that many seconds. Raises what keeps actors from working."""
        ended, _ = self._ray.wait([*self._beginning, *self._running], timeout=timeout)
        outcomes = []
        for reference in ended:
            if reference in self._beginning:
                self._began(reference)
            else:
                outcomes += self._ended(reference)
        return outcomes

    def close(self) -> None:
        """End the actors, and the cluster if it was started for this run."""
        for model in self._models:
            self._ray.kill(model)
        self._ray.shutdown()
        self._elsewhere.__exit__(None, None, None)

    def _begin(self) -> None:
        model = self._actor.remote(self._setup, self._threads)
        self._models.append(model)
        self._beginning.add(model.ready.remote())

    def _start(self, job: Job, attempt: int) -> None:
        busy = [model for _, model, _ in self._running.values()]
        model = min(self._models, key=busy.count)
        self._running[model.run.remote(job)] = job, model, attempt

    def _began(self, reference: Any) -> None:
        self._beginning.remove(reference)
        try:
            failure = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return  # its videos tell more
        if failure is not None:
            raise unpack(failure)

    def _ended(self, reference: Any) -> list[Outcome]:
        job, model, attempt = self._running.pop(reference)
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            result = Lost(" ".join(str(error).split())[:300])
            if model in self._models:  # the first of its videos to tell that it is dead
                self._models.remove(model)
                self._begin()
        if isinstance(result, Lost):
            if attempt < ATTEMPTS:
                self._start(job, attempt + 1)
                return []
            return [Outcome(job, error=VideoError(job.video, f"its processes died {ATTEMPTS} times: {result.reason}"))]
        if isinstance(result, Failed):
            return [Outcome(job, error=unpack(result.error))]
        return [result]


def connect(address: str | None) -> Any:
    """ray, connected. Nothing is reported to its makers. Raises PackageMissing, ConnectionError."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise PackageMissing("ray", "ray") from None
    knock(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        # Not "auto": that means any other run's own cluster as well, which ends with that run.
        ray.init(address=address, **options)
    except ConnectionError:
        if address is not None:
            raise
        ray.init(address="local", include_dashboard=False, **options)
    return ray


def knock(address: str | None) -> None:
    """Find out in seconds what Ray takes minutes to find out. Raises ConnectionError where nothing answers."""
    host, _, port = (address or "").rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from None


def layout(found: dict[str, float], workers: int | None) -> tuple[int, int | None, dict[str, float]]:
    """How many actors, threads of each on a CPU, and what each keeps of the cluster.

    No cores, as Ray's actors do by default: several runs' actors could keep all of them, and none could decode. With
    about half as many threads as cores, decoding has time.
    """
    if found.get("GPU", 0) >= 1:
        number = int(found["GPU"])
        return min(number, workers or number), None, {"num_gpus": 1, "num_cpus": 0}
    cores = int(found.get("CPU", 1))
    number = max(1, cores // (2 * CORES_EACH))
    return min(number, workers or number), max(1, min(CORES_EACH, cores // 2)), {}
