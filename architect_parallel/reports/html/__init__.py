"""The HTML report: templates, a style, a script, and the data embedded in the page."""

from architect_parallel.reports.html.page import page, policy, render, runs_page

__all__ = ["page", "policy", "render", "runs_page"]
