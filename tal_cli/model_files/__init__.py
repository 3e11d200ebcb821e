"""Downloads, released checkpoints and exports of models."""
