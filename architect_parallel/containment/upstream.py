"""Connections of the key proxy to model providers."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from architect_parallel.containment.egress import proxy_authorization, upstream_proxy

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # Alpine, macOS
)


def connect_to(base: SplitResult, environ: Mapping[str, str], timeout_s: float) -> http.client.HTTPConnection:
    """A connection to a provider, which is not made yet, through the user's own proxy if there is one.

    Args:
        environ: The launcher's environment, which may name a proxy and certificates.
        timeout_s: Seconds without a byte until it ends.
    """
    host, port = base.hostname or "", base.port
    if base.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    context = _context(environ)
    proxy = upstream_proxy(environ, host)
    if proxy is None:
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
    url = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    through = http.client.HTTPSConnection(url.hostname or "", url.port or 80, timeout=timeout_s, context=context)
    through.set_tunnel(host, port or 443, proxy_authorization(url))
    return through


def _context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """The trusted certificates: the system's, and those that the user names to agents."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and paths.capath is None:  # a Python that was built for another system
        bundle = next(filter(os.path.isfile, _BUNDLES), None)
        if bundle is not None:
            context.load_verify_locations(bundle)
    for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CODEX_CA_CERTIFICATE"):
        with suppress(OSError, ssl.SSLError):
            if environ.get(name):
                context.load_verify_locations(environ[name])
    return context
