"""Shell: /docs, the API as a page to read and try; its files come with a package, so it works without a network."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.staticfiles import StaticFiles

FILES: Final = "/docs/files"


def add_to(app: FastAPI) -> None:
    """Serve the page, which shows /openapi.json."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=app.title,
        swagger_js_url=f"{FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{FILES}/swagger-ui.css",
        swagger_favicon_url=f"{FILES}/favicon.png",
    )

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return page

    app.mount(FILES, StaticFiles(directory=_static()))


def _static() -> Path:
    """Where the package keeps the page's files; the package itself is not imported."""
    spec = find_spec("fastapi_offline")
    assert spec is not None, "an install requirement"
    assert spec.origin is not None, "a regular package"
    return Path(spec.origin).parent / "static"
