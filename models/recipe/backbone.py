"""A recipe's settings of the backbone, where it is trained with the detector. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tal_cli.models.recipe.strict import NonNegative, Positive, Share, Strict


class BackboneConfig(Strict):
    """How the backbone is trained with the detector, from frames; lengths in frames as the backbone reads them.

    tuning: `frozen`, features as they are extracted; `adapter`, AdaTAD's adapters between frozen blocks; `side`,
    adapters beside the network, through which no gradient goes; `full`, the last blocks themselves. A step computes
    `window` frames of each video, and takes the features of its other rows from the feature files. Augmentations are
    the same for all frames of a window. With `variants`, what the blocks before the first trained one make of each
    pass, in so many augmented forms, is kept on disk in half precision; a step then computes all rows from it, those
    of some passes with gradients.
    """

    tuning: Literal["frozen", "side", "adapter", "full"] = "frozen"
    blocks: Positive | None = None  # the last so many; None: adapters after all, a side network on half, one in full
    reduction: Positive = 4  # channels of a block to those inside its adapter
    window: Annotated[int, Field(ge=2, le=1 << 16)] = 768  # also of a pass in detection
    overlap: Share = 0.25  # of a pass in detection with the next
    chunk: Positive | None = None  # within which the network's attention stays; None: the extractor's
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-4
    weight_decay: NonNegative = 0.05  # of adapters, biases included
    variants: Positive | None = None  # of each pass, kept; None: a new one at every step, nothing is kept
    learning_passes: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of kept passes of a step that have gradients
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.1  # of chunks, in the last block, 0 in the first; not in `side`
    checkpointing: bool = True  # activations are computed again for the gradient, block by block
    crop_area: tuple[Share, Share] | None = (0.08, 1.0)  # of a random part of the image; None: the middle
    crop_aspect: Annotated[float, Field(ge=1, le=8)] = 4 / 3  # width to height of that part, at most, and its inverse
    flip: bool = True  # half of the windows; never if a label says left or right
    colour: Share = 0.4  # change of brightness, contrast and saturation at most

    @model_validator(mode="after")
    def _consistent(self) -> BackboneConfig:
        if self.overlap > 0.9:
            raise ValueError("overlap: a pass cannot share more than 0.9 of its frames with the next")
        if self.crop_area is not None and not 0 < self.crop_area[0] <= self.crop_area[1]:
            raise ValueError("crop_area: the smallest share, above 0, then the largest")
        return self

    @property
    def tunes(self) -> bool:
        """Whether the backbone has something of its own in a run folder."""
        return self.tuning != "frozen"
