"""The program of the supervisor process: standard library only, nothing of the rest of the package."""
