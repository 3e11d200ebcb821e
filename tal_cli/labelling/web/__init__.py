"""The local server: who may ask, and what is answered."""
