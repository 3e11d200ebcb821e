"""Checkpoints and settings of the released code bases in this package's names.

A code base is a table of its parameters (`code_bases/`) and its options (`options.py`). Files are read by `reading.py`,
matched to a recipe by `matching.py`, and converted there and back by `conversion.py`.
"""
