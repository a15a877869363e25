"""The server of the page of `skipvae explore`: on the loopback address, for pages of its own alone."""

import webbrowser
from collections.abc import Callable

from bokeh.application import Application
from bokeh.application.handlers import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from bokeh.server.util import bind_sockets
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop

ADDRESS = "127.0.0.1"
MAX_UPLOAD = 200_000_000
"""Bytes of a picture that is uploaded, at most."""


def start(build: Callable[[Document], object], port: int | None = None) -> tuple[BaseServer, str]:
    """Starts the server on tornado's current loop, which the caller runs; its address.

    Args:
        build: fills the document of each page that is opened.
        port: a free one when not given.

    Raises:
        ValueError: if the port cannot be had.
    """
    try:
        sockets, port = bind_sockets(ADDRESS, port or 0)
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"port {port} cannot be had ({reason}): give another --port, or none for a free one"
        ) from error

    def fill(document: Document) -> None:
        build(document)

    application = BokehTornado(
        Application(FunctionHandler(fill)),
        # pages of other addresses have no access, though a browser here would send their requests
        extra_websocket_origins=[f"{name}:{port}" for name in (ADDRESS, "localhost")],
        websocket_max_message_size_bytes=MAX_UPLOAD,
    )
    http = HTTPServer(application)
    http.add_sockets(sockets)
    server = BaseServer(IOLoop.current(), application, http)
    server.start()
    return server, f"http://{ADDRESS}:{port}/"


def serve(build: Callable[[Document], object], port: int | None, open_page: bool) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        ValueError: if the port cannot be had.
    """
    server, address = start(build, port)
    print(f"explore the model at {address} (Ctrl-C ends it)", flush=True)
    if open_page:
        webbrowser.open(address)
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        print("\nstopped")
    finally:
        server.stop()
