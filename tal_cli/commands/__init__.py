"""One thin module per command: parse, call, print. None imports torch before its command runs."""
