"""Names the public contract fixes, spelled out once more here so that a change of the code alone fails."""

CONTRACT_FIRST_NINE = [
    "worker_id", "branch", "model", "status", "steps", "cost", "duration", "files_modified", "worktree_path",
]  # fmt: skip

CONTRACT_ENVELOPE = [
    "schema_version", "run_id", "status", "exit_code", "base_commit", "total_tasks", "completed", "failed", "canceled",
    "skipped", "total_duration_seconds", "total_cost", "warnings", "merge", "sandbox", "synthesis", "results",
]  # fmt: skip

CONTRACT_RESULT = [
    *CONTRACT_FIRST_NINE, "index", "name", "task", "backend", "agent", "reason", "exit_code", "output", "session_id",
    "error", "duration_seconds", "started_at", "finished_at", "usage", "diff", "checks", "attempts",
    "peak_memory_bytes", "log_path", "leaked", "warnings", "tags", "meta", "working_seconds", "attempt_history",
    "outside_scope", "model_requested", "sandbox", "host",
]  # fmt: skip
