"""The web server behind mnist-demo: a page, a few facts, and answers to drawings. No torch.

It trusts nobody: it listens on the loopback interface alone, answers only to that interface's own
names (a web page elsewhere could point a name of its own at it: DNS rebinding) and no other page's
requests, takes drawings of one exact size, and serves three files that are read at the start, so
that no request names a path.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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

from mnist_lab.errors import Refused
from mnist_lab.pictures import PictureError

ADDRESS = "127.0.0.1"
NAMES = [ADDRESS, "localhost"]  # hosts that a request may ask for
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
PATIENCE_S = 10  # until a drawing must have arrived
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
    """Reserve a port of the loopback interface; 0 takes a free one.

    Raises:
        Refused: it is taken, or not for us.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((ADDRESS, port))
    except OSError as error:
        listener.close()
        raise Refused(
            f"--port {port}: cannot be used ({error.strerror}); name another, or 0 for a free one."
        ) from None
    return listener


def application(
    read: Callable[[bytes], dict[str, Any]], *, facts: dict[str, Any], num_bytes: int
) -> Starlette:
    """Everything that can be asked for.

    Args:
        read: answers a drawing, or raises PictureError.
        facts: what the page says of the network.
        num_bytes: of a drawing.
    """
    worker = ThreadPoolExecutor(max_workers=1)  # one drawing at a time, and the page stays served
    folder = Path(__file__).with_name("page")

    def served(name: str) -> Callable[[Request], Response]:
        content = (folder / name).read_bytes()
        return lambda _: Response(content, media_type=TYPES[Path(name).suffix])

    async def answer(request: Request) -> Response:
        origin = request.headers.get("origin")
        if origin not in (None, f"http://{request.headers['host']}"):
            raise HTTPException(403, "asked by another page")
        drawing = await body(request, num_bytes=num_bytes)
        try:
            loop = asyncio.get_running_loop()
            return JSONResponse(await loop.run_in_executor(worker, read, drawing))
        except PictureError as error:
            return JSONResponse({"error": str(error)}, status_code=422)

    return Starlette(
        routes=[
            *(Route(path, served(name)) for path, name in FILES.items()),
            Route("/network", lambda _: JSONResponse(facts)),
            Route("/read", answer, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
    )


async def body(request: Request, *, num_bytes: int) -> bytes:
    """Take a request's body of exactly this size, and read no more where it is larger."""
    received = bytearray()
    announced = request.headers.get("content-length", "0")
    too_large = HTTPException(413, f"a drawing has {num_bytes} bytes")
    if int(announced) > num_bytes:
        raise too_large
    try:
        async with asyncio.timeout(PATIENCE_S):
            async for part in request.stream():
                received += part
                if len(received) > num_bytes:
                    raise too_large
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    if len(received) < num_bytes:
        raise HTTPException(400, f"a drawing has {num_bytes} bytes, not {len(received)}")
    return bytes(received)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer until a signal comes."""
    config = uvicorn.Config(
        app,
        http="h11",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=list(HEADERS.items()),
        lifespan="off",
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listener])
