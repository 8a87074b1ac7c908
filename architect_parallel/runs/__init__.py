"""One run: its options, its plan, and the loop that starts and stops the workers."""
