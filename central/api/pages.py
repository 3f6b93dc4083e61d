"""The single-page application: its files, and its entry page for every other address."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_NOT_FOUND = 404
_NOT_BUILT = """<!doctype html><html lang="zh-CN"><meta charset="utf-8"><title>明镜</title>
<p>页面尚未构建，请运行 make setup。接口照常可用。</p>
<p lang="en">The pages have not been built; run make setup. The API works.</p></html>"""


class Pages(StaticFiles):
    """Files of the built application; unknown addresses get its entry page, as it has routes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self.config_checked = True  # a missing folder is no fault: it says what to do, below
        self._folder = folder

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or the entry page."""
        if path == "api" or path.startswith("api/"):
            raise HTTPException(_NOT_FOUND)
        if not (self._folder / "index.html").is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as exc:
            if exc.status_code != _NOT_FOUND or path.startswith("assets/"):
                raise
            response = await super().get_response("index.html", scope)
        # Vite names assets by their content; everything else may change with a new version.
        lasting = path.startswith("assets/")
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if lasting else "no-cache"
        )
        return response
