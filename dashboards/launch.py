"""`hooklake dashboard`: the pages on Streamlit's own server, in this process, until a signal.

Every answer carries a content security policy, so that even a page gone wrong cannot fetch from
or send to another host.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import importlib.util
import re
import signal
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from dashboards import addresses, context, theme
from ingest.errors import HooklakeError, RefusedError
from ingest.paths import DataDir
from ingest.settings import Settings, is_loopback
from warehouse.ports import require_free_port

if TYPE_CHECKING:
    import uvicorn
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

APP: Final = Path(__file__).with_name("app.py")
LOGIN_FILE: Final = "login.toml"
GRACE_SECONDS: Final = 3
END_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_INLINE_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_BASE_SCRIPT: Final = (
    "<script>window.__streamlit = {BACKEND_BASE_URL: location.origin + '/'}</script>"
)


class LoginError(HooklakeError):
    """The login file is there and cannot be used."""

    code = "login"
    exit_code = 2


def run(settings: Settings) -> int:
    """Serve the dashboard on settings.dashboard_host and dashboard_port until a signal; 0 then.

    Raises: RefusedError for an address other machines can reach while no login is set up,
    LoginError when the login file is unusable, PortTakenError when the port belongs to somebody
    else, HooklakeError when the server does not start.
    """
    host, port = settings.dashboard_host, settings.dashboard_port
    login = login_secrets(settings.paths)
    if not is_loopback(host) and login is None:
        raise RefusedError(
            f"the dashboard shows customers' addresses and HOOKLAKE_DASHBOARD_HOST is {host}, "
            "which other machines can reach, while no login is set up. Use 127.0.0.1, or put an "
            f"[auth] section for st.login into {settings.paths.root / LOGIN_FILE}"
        )
    require_free_port(host, port, setting="HOOKLAKE_DASHBOARD_PORT", what="the dashboard")
    context.use(settings, is_login_required=login is not None)
    with contextlib.closing(_listen(host, port)) as listener:
        return _serve(host, listener, login)


def login_secrets(data_dir: DataDir) -> dict[str, Any] | None:
    """The contents of `<data-dir>/login.toml` for `st.login`, None without that file.

    Raises: LoginError when it is unreadable, has no [auth] section, or Authlib is missing.
    """
    path = data_dir.root / LOGIN_FILE
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise LoginError(f"cannot read {path}: {type(error).__name__}. Mend or remove it") from None
    section = found.get("auth")
    if not isinstance(section, dict) or not {"redirect_uri", "cookie_secret"} <= section.keys():
        raise LoginError(
            f"{path} lacks an [auth] section with redirect_uri and cookie_secret, "
            "as Streamlit's st.login wants it"
        )
    if importlib.util.find_spec("authlib") is None:
        raise LoginError("a login needs Authlib: install hooklake with its extra, hooklake[login]")
    return {"auth": section}


def index_page(shipped: str) -> str:
    """Streamlit's page with our name, told where the server is.

    Left to guess, it first asks below the address of the page it is on and gets an error for it.
    """
    named = shipped.replace("<title>Streamlit</title>", "<title>hooklake</title>", 1)
    return named.replace("<head>", f"<head>\n    {_BASE_SCRIPT}", 1)


def content_security_policy(index: str) -> str:
    """The policy under which Streamlit's page `index` works and nothing reaches another host.

    Its own inline scripts are allowed by their hashes. 'unsafe-eval': Vega compiles its
    expressions. 'unsafe-inline' for styles: Streamlit sets them on elements. blob: and data: are
    what the page has made itself.
    """
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in _INLINE_SCRIPT.findall(index)
    ]
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self' 'unsafe-eval' 'wasm-unsafe-eval'", *hashes)),
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "media-src 'self' blob:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "manifest-src 'self'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class SecurityHeaders:
    """ASGI middleware: adds the policy and its companions to every HTTP answer."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self.app = app
        self.headers = (
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-frame-options", b"DENY"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self.headers]
            await send(message)

        await self.app(scope, receive, send if scope["type"] != "http" else send_with_headers)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; `localhost` and names are resolved, port 0 takes any free one."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise HooklakeError(
            f"the dashboard cannot listen on {host}:{port}: {error.strerror}. "
            "Choose another HOOKLAKE_DASHBOARD_PORT"
        ) from error
    return listener


def load_pages() -> None:
    """Import the pages and all they draw with, before there is a thread for each visitor.

    Streamlit imports pandas and pyarrow when it first needs them. Whoever looks into sys.modules
    for them uses what is there even while another visitor's thread is still loading it: the first
    pages drawn at once then failed, with "partially initialized module".
    """
    from streamlit.logger import get_logger

    # It warns that caches made before there is a server are in memory, as all of ours are anyway.
    get_logger("streamlit.runtime.caching.cache_data_api").addFilter(
        lambda record: "No runtime found" not in record.getMessage()
    )
    for name in ("pandas", "pyarrow", "dashboards.app"):
        importlib.import_module(name)


def _serve(host: str, listener: socket.socket, login: Mapping[str, Any] | None) -> int:
    import streamlit
    import uvicorn
    from starlette.middleware import Middleware
    from starlette.responses import HTMLResponse
    from starlette.routing import Route
    from streamlit.starlette import App
    from streamlit.web import bootstrap

    options = dict(theme.SERVER_OPTIONS | theme.THEME_OPTIONS)
    options["server.address"], options["server.port"] = host, listener.getsockname()[1]
    if is_loopback(host):  # a name that somebody points at 127.0.0.1 is no way in
        options["server.allowedHosts"] = ["localhost", "127.0.0.1", "::1", "[::1]"]
    bootstrap.load_config_options(options)
    load_pages()
    shipped = Path(streamlit.__file__).with_name("static") / "index.html"
    index = index_page(shipped.read_text("utf-8"))

    async def page(_request: Request) -> HTMLResponse:
        return HTMLResponse(index, headers={"cache-control": "no-cache"})

    app = App(
        APP,
        secrets=login,
        routes=[Route(path, page) for path in (f"/{name}" for name in addresses.PAGES)],
        middleware=[Middleware(SecurityHeaders, policy=content_security_policy(index))],
    )
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            ws="websockets-sansio",
            access_log=False,
            log_level="warning",
            use_colors=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )
    shown = f"[{host}]" if ":" in host else host
    with _ended_by_signals(server):
        print(f"Dashboard: http://{shown}:{listener.getsockname()[1]}", flush=True)  # noqa: T201
        server.run(sockets=[listener])
    if not server.started:
        raise HooklakeError("the dashboard's server did not start; its reason is above")
    return 0


@contextlib.contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """A signal ends the server and nothing else.

    uvicorn raises the signal again once it is down, which would end us as killed instead of with
    exit code 0; here it then finds a handler that has nothing left to do.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in END_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
