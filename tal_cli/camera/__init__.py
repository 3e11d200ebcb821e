"""The camera data set: rendered videos with exact labels of what the camera and the edit do."""

from tal_cli.camera.render import render_dataset
from tal_cli.camera.timeline import LABELS

__all__ = ["LABELS", "render_dataset"]
