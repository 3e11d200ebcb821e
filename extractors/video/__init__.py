"""Video files as streams of frames with presentation times, decoded in a child process."""
