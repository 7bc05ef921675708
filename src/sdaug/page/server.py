"""Serving the page on this machine alone: no telemetry, no share link, no request that leaves the machine."""

import os
import shutil
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from sdaug.page.study_folder import StudyFolder

HOST = "127.0.0.1"
STYLE = Path(__file__).with_name("style.css")
# Gradio's scripts are inline in part, and compile templates; whatever is elsewhere is refused by the browser.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
Plan = Callable[[str], str]  # what `sdaug plan` prints with some options
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def serve(root: Path, plan: Plan, *, port: int, opens: bool) -> None:
    """Serve the page of the study in `root` until Ctrl-C; `plan` makes the plans that it asks for.

    Raises:
        ValueError: gradio is not installed, or the port is taken.
    """
    require_gradio()
    sock = _bind(port)
    scratch = Path(tempfile.mkdtemp(prefix="sdaug-page-"))
    try:
        import uvicorn

        config = uvicorn.Config(make_app(root, scratch, plan), log_level="warning", timeout_graceful_shutdown=2)
        url = f"http://{HOST}:{sock.getsockname()[1]}/"
        print(f"{url} (Ctrl-C ends it)", file=sys.stderr, flush=True)
        if opens:
            threading.Timer(1.0, webbrowser.open, [url]).start()
        uvicorn.Server(config).run(sockets=[sock])
    finally:
        sock.close()
        shutil.rmtree(scratch, ignore_errors=True)


def require_gradio() -> None:
    """Import gradio with its telemetry off.

    Raises:
        ValueError: it is not installed.
    """
    # Before the import, or gradio looks up two hosts outside.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_OFFLINE"] = os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        import gradio  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(
            f"sdaug page: {error.name} is not installed; run `make page`, or install the extra `page`: "
            "`uv pip install 'sdaug[page]'`"
        ) from error


def make_app(root: Path, scratch: Path, plan: Plan) -> App:
    """The page as an ASGI app; only images and the report of the study can be fetched, and what the page made."""
    os.environ["GRADIO_TEMP_DIR"] = str(scratch / "cache")
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.staticfiles import StaticFiles

    from sdaug.page.app import build_page

    folder = StudyFolder(root.resolve())
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/report", StaticFiles(directory=folder.report, html=True, check_dir=False))
    gr.mount_gradio_app(
        app,
        build_page(folder, scratch / "drawn", plan),
        path="/",
        server_name=HOST,
        allowed_paths=[str(folder.prepared / "images"), str(folder.synthetic)],
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
        css_paths=STYLE,
    )
    # A page of another host that resolves to this machine is refused.
    return _with_policy(TrustedHostMiddleware(app, allowed_hosts=[HOST, "localhost"]))


def _with_policy(app: App) -> App:
    """The app with headers by which the browser refuses requests to other hosts."""
    headers = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *headers]
            await send(message)

        await app(scope, receive, send_on)

    return answer


def _bind(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except (OSError, OverflowError) as error:
        sock.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"--port: {port}: {reason}; close the other program, or give another port") from error
    return sock
