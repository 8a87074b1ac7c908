"""Pages in a browser that record what a test must check: console messages, errors, requests."""

from __future__ import annotations

from playwright.sync_api import ConsoleMessage, Error, Page, Request


class Watched:
    """A page with its console messages, errors and requests."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.console: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")

    def _on_error(self, error: Error) -> None:
        self.console.append(str(error))

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
