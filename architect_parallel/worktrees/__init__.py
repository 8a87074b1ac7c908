"""Worktrees and branches of workers: created, made ready, read and removed. Data safety is decided here."""
