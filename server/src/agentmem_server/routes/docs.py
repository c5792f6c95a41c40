"""The page of the API's documentation: Swagger UI, all of it from this server."""

from hashlib import blake2b
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PACKAGE = "mkdocs_swagger_ui_tag"
"""A plugin of MkDocs, of which we need what it carries alone: Swagger UI's distribution."""
_ASSETS = {
    "swagger-ui-bundle.js": ("javascripts", "text/javascript"),
    "swagger-ui.css": ("stylesheets", "text/css"),
}

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AgentMem API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/{label}/swagger-ui.css">
<script src="docs/{label}/swagger-ui-bundle.js" defer></script>
<script src="docs/{label}/start.js" defer></script>
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript. <a href="openapi.json">openapi.json</a> doesn't.</noscript>
</body>
</html>
"""
_START = """\
SwaggerUIBundle({
  dom_id: "#swagger-ui",
  url: "openapi.json",
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  validatorUrl: null,
});
"""

_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FOREVER = "public, max-age=31536000, immutable"
"""The assets' paths have a digest of what they hold; the page is asked for again each time."""


def docs_routes() -> list[Route]:
    """The routes of the page and of the files that it needs, and of no other ones."""
    folder = files(_PACKAGE) / "swagger-ui"
    assets = {
        name: ((folder / kind / name).read_bytes(), media_type)
        for name, (kind, media_type) in _ASSETS.items()
    }
    assets["start.js"] = (_START.encode(), "text/javascript")
    label = blake2b(b"".join(body for body, _ in assets.values()), digest_size=8).hexdigest()
    page = _PAGE.format(label=label).encode()
    headers = _SAFE | {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return [
        _file("/docs", page, "text/html", headers),
        *(
            _file(f"/docs/{label}/{name}", body, media_type, _SAFE | {"Cache-Control": _FOREVER})
            for name, (body, media_type) in assets.items()
        ),
    ]


def _file(path: str, body: bytes, media_type: str, headers: dict[str, str]) -> Route:
    async def serve(_request: Request) -> Response:
        return Response(body, media_type=media_type, headers=headers)

    return Route(path, serve, methods=["GET"], name="docs")
