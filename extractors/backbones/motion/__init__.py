"""Motion between frames: optical flow and global motion."""
