"""The web server behind mnist-demo: a page, a few facts, and answers to drawings. No torch.

It trusts nobody: it listens on the loopback interface alone, answers only to that interface's own
names (a web page elsewhere could point a name of its own at it: DNS rebinding) and no other page's
requests, takes drawings of one exact size, and serves three files that are read at the start, so
that no request names a path.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mnist_lab.pictures.picture import PictureError
from mnist_lab.ui.errors import Refused

ADDRESS = "127.0.0.1"
NAMES = [ADDRESS, "localhost"]  # hosts that a request may ask for
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
MAX_CONNECTIONS = 64
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def bind(port: int) -> socket.socket:
    """Listen at a port of the loopback interface; 0 takes a free one.

    Raises:
        Refused: it is taken, or not for us.
    """
    try:
        return socket.create_server((ADDRESS, port))
    except OSError as error:
        raise Refused(
            f"--port {port}: cannot be used ({error.strerror}); name another, or 0 for a free one."
        ) from None


def application(
    read: Callable[[bytes], dict[str, Any]], *, facts: dict[str, Any], num_bytes: int
) -> Starlette:
    """Everything that can be asked for.

    Args:
        read: answers a drawing in a few milliseconds, or raises PictureError.
        facts: what the page says of the network.
        num_bytes: of a drawing.
    """

    def file(name: str) -> Response:
        path = Path(__file__).with_name("page") / name
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    async def answer(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin not in (None, f"http://{request.headers['host']}"):
            raise HTTPException(403, "asked by another page")
        try:
            drawing = await request.body()
        except ClientDisconnect:
            raise HTTPException(400) from None
        if len(drawing) < num_bytes:
            raise HTTPException(400, f"a drawing has {num_bytes} bytes, not {len(drawing)}")
        try:
            return JSONResponse(read(drawing))
        except PictureError as error:  # as of the first dot of a drawing
            return JSONResponse({"error": str(error)})

    return Starlette(
        routes=[
            *(Route(path, file(name), methods=["GET"]) for path, name in FILES.items()),
            Route("/network", JSONResponse(facts), methods=["GET"]),
            Route("/read", answer, methods=["POST"], max_body_size=num_bytes),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
    )


def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer until a signal comes."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        headers=list(HEADERS.items()),
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
