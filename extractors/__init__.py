"""Video in, feature sequence out.

Importing this package imports neither torch nor a video library, because the decoding child processes import it too.
"""
