"""Memories in files: exports of ours, and imports of those and of other systems'."""
