"""Backbones that are trained with a detector: adapters between frozen blocks, beside them, or the network itself."""
