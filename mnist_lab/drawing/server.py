"""The web server behind mnist-demo: a page, a few facts, and answers to drawings. No torch.

It trusts nobody: it listens on the loopback interface alone, answers only to that interface's own
names (a web page elsewhere could point a name of its own at it: DNS rebinding) and no other page's
requests, takes drawings of one exact size, and serves the page's files, which are read at the
start, so that no request names a path.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

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
SCRIPTS = ("network.js", "draw.js", "breaking.js", "inside.js", "why.js", "page.js")
FILES = {"/": "index.html", **{f"/{name}": name for name in ("page.css", *SCRIPTS)}}
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


class Answering(Protocol):
    """What answers for one run's network.

    Attributes:
        facts: what the page says of it.
        inside: its layers and weights as JSON, or as JSON the reason why they cannot be told.
    """

    facts: dict[str, Any]
    inside: str

    def read(self, drawing: bytes) -> dict[str, Any]:
        """Answer a drawing in a few milliseconds, or raise PictureError."""

    def towards(self, image: bytes, label: int) -> dict[str, Any]:
        """Move an image until it is read as another class."""


def application(readers: Sequence[Answering], *, num_bytes: int, num_pixels: int) -> Starlette:
    """Everything that can be asked for; `?run=1` asks the second network.

    Args:
        num_bytes: of a drawing.
        num_pixels: of an image as a network sees it.
    """

    def file(name: str) -> Response:
        path = Path(__file__).with_name("page") / name
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    def number(request: Request, name: str, count: int) -> int:
        text = request.query_params.get(name, "0")
        if text not in map(str, range(count)):
            raise HTTPException(400, f"{name} must be a whole number below {count}")
        return int(text)

    def asked(request: Request) -> Answering:
        return readers[number(request, "run", len(readers))]

    async def body(request: Request, size: int, what: str) -> bytes:
        origin = request.headers.get("origin")
        if origin not in (None, f"http://{request.headers['host']}"):
            raise HTTPException(403, "asked by another page")
        try:
            content = await request.body()
        except ClientDisconnect:
            raise HTTPException(400) from None
        if len(content) < size:
            raise HTTPException(400, f"{what} has {size} bytes, not {len(content)}")
        return content

    async def facts(request: Request) -> Response:
        return JSONResponse({**asked(request).facts, "num_runs": len(readers)})

    async def inside(request: Request) -> Response:
        return Response(asked(request).inside, media_type="application/json")

    async def read(request: Request) -> Response:
        reader, drawing = asked(request), await body(request, num_bytes, "a drawing")
        try:
            return JSONResponse(reader.read(drawing))
        except PictureError as error:  # as of the first dot of a drawing
            return JSONResponse({"error": str(error)})

    async def towards(request: Request) -> Response:
        reader, image = asked(request), await body(request, num_pixels, "an image")
        label = number(request, "label", len(reader.facts["class_names"]))
        return JSONResponse(reader.towards(image, label))

    return Starlette(
        routes=[
            *(Route(path, file(name), methods=["GET"]) for path, name in FILES.items()),
            Route("/network", facts, methods=["GET"]),
            Route("/inside", inside, methods=["GET"]),
            Route("/read", read, methods=["POST"], max_body_size=num_bytes),
            Route("/towards", towards, methods=["POST"], max_body_size=num_pixels),
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
