"""`architect watch [RUN]`."""


def watch() -> None:
    """x."""
