"""/docs is a page that works from this server alone, and can do no more than it must."""

import re
from urllib.parse import urljoin

import httpx
import pytest

ASSET = re.compile(r'(?:src|href)="(docs/[^"]+)"')


@pytest.fixture
async def page(api: httpx.AsyncClient) -> httpx.Response:
    answer = await api.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer


async def assets(api: httpx.AsyncClient, page: httpx.Response) -> dict[str, httpx.Response]:
    """What the page loads, by the name of the file."""
    paths = [urljoin("/docs", path) for path in ASSET.findall(page.text)]
    return {path.rpartition("/")[2]: await api.get(path) for path in paths}


async def test_all_that_the_page_loads_is_there(
    api: httpx.AsyncClient, page: httpx.Response
) -> None:
    loaded = await assets(api, page)
    assert {name: answer.headers["content-type"] for name, answer in loaded.items()} == {
        "swagger-ui.css": "text/css; charset=utf-8",
        "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
        "start.js": "text/javascript; charset=utf-8",
    }
    assert all(answer.status_code == 200 for answer in loaded.values())
    assert ".swagger-ui" in loaded["swagger-ui.css"].text
    assert 'id="swagger-ui"' in page.text
    start = loaded["start.js"].text
    assert 'dom_id: "#swagger-ui"' in start
    described = re.search(r'url: "([^"]+)"', start)
    assert described is not None
    document = await api.get(urljoin("/docs", described[1]))
    assert document.json()["openapi"].startswith("3.1.")


async def test_the_page_renders_openapi_3_1(api: httpx.AsyncClient, page: httpx.Response) -> None:
    bundle = (await assets(api, page))["swagger-ui-bundle.js"].text
    assert "SwaggerUIBundle" in bundle
    assert "isOAS31" in bundle  # Swagger UI 4 knows nothing of it, and says so on an empty page


async def test_nothing_comes_from_elsewhere(api: httpx.AsyncClient, page: httpx.Response) -> None:
    assert "//" not in page.text
    loaded = await assets(api, page)
    assert "//" not in loaded["start.js"].text
    assert "validatorUrl: null" in loaded["start.js"].text  # else it asks a public service
    assert not re.search(r"@import|url\((?![\"']?data:)", loaded["swagger-ui.css"].text)


async def test_its_policy_allows_no_more_than_this_server(page: httpx.Response) -> None:
    policy = dict(
        part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    # What such a policy forbids must not be there, or the page would stay empty.
    assert not re.search(r"<script(?![^>]*\bsrc=)", page.text)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page.text)


async def test_types_are_not_guessed_and_files_are_kept(
    api: httpx.AsyncClient, page: httpx.Response
) -> None:
    loaded = await assets(api, page)
    for answer in (page, *loaded.values()):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-cache"
    for answer in loaded.values():
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        # It may be kept for good, since its path is of what it holds.
        assert re.fullmatch(r"/docs/[0-9a-f]{16}/[a-z-]+\.(js|css)", answer.request.url.path)


@pytest.mark.parametrize(
    "path",
    [
        "/docs/",
        "/docs/swagger-ui.css",
        "/docs/{label}",
        "/docs/{label}/",
        "/docs/{label}/LICENSE",
        "/docs/{label}/..%2fswagger.html",
        "/docs/{label}/%2e%2e/%2e%2e/plugin.py",
        "/docs/{label}/../../plugin.py",
        "/docs/{label}//etc/passwd",
        "/docs/{label}/swagger-ui.css/",
        "/docs/{label}/swagger-ui.css%00",
        "/docs/0000000000000000/swagger-ui.css",
    ],
)
async def test_no_other_file_is_served(
    api: httpx.AsyncClient, page: httpx.Response, path: str
) -> None:
    label = ASSET.findall(page.text)[0].split("/")[1]
    request = api.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.format(label=label).encode())
    answer = await api.send(request)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_it_is_only_read(api: httpx.AsyncClient, method: str) -> None:
    answer = await api.request(method, "/docs")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"
