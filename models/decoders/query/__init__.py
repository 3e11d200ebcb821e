"""Decoders of learned queries: each query predicts one segment and its classes."""
