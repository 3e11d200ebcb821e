"""Thumbnails, clips and overlays of videos, made in a child process.

FFmpeg parses untrusted input in C: a crash, a hang or excessive memory use must fail one video and not the run. The
parent's side is `host`; all other modules run in the child.
"""
