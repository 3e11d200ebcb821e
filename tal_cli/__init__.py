"""Temporal action localization on raw video: the application.

>>> from tal_cli import VideoDetector                        # doctest: +SKIP
>>> VideoDetector.load("camera").detect("holiday.mp4")       # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tal_cli.api import VideoDetector
    from tal_cli.results.segments import Detections, Segment

__version__ = "0.1.0"
__all__ = ["Detections", "Segment", "VideoDetector", "__version__"]


def __getattr__(name: str) -> Any:
    # The command line prints its help without waiting for torch, so the public names load when first asked for.
    if name == "VideoDetector":
        from tal_cli.api import VideoDetector

        return VideoDetector
    if name in ("Detections", "Segment"):
        from tal_cli.results import segments

        return getattr(segments, name)
    raise AttributeError(f"module 'tal_cli' has no attribute {name!r}")
