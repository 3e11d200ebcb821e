"""Model files from and for elsewhere: downloads, released checkpoints, exports."""
