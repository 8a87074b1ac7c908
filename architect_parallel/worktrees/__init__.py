"""Worktrees and branches of workers: created, made ready, read and removed; data safety is decided here."""
