"""The HTML report: a room of its own, because a page is markup, style, script and packing."""

from architect_parallel.reports.html.page import page, policy, render

__all__ = ["page", "policy", "render"]
