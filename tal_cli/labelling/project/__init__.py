"""The annotation file: in memory, on disk, and every change of it."""
