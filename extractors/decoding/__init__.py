"""Decoding in a child process: `process` is the parent's side, `worker` the child's, `messages` what they say."""
