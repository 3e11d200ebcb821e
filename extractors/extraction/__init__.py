"""From decoded frames to the features of one video."""
