"""Decoders of video files, one module each. They run in the decoding child."""
