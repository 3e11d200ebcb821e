"""Images and videos out of videos: thumbnails, clips, overlays. The work on the file happens in a child process.

FFmpeg parses hostile input in C, so a crash, a hang or a bomb in there has to cost one video and not the run. The
parent's side is `host`; every other module runs in the child.
"""
