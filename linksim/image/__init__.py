"""Image sources: folders, tar shards and built-in samples."""
