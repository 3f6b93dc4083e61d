"""Errors as `Problem` bodies: what, where, what to do; zh first, en second."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from central.api.schemas import Guard, Problem
from central.domain.refusals import Refused, Text
from contracts.errors import Conflict, Denied, InvalidInput, MingjingError, Unavailable

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": Problem, "description": "No valid session"},
    403: {"model": Problem, "description": "The role may not do this"},
    404: {"model": Problem, "description": "There is no such thing"},
    409: {"model": Problem, "description": "The present state forbids it"},
    422: {"model": Problem, "description": "A field is wrong"},
    503: {"model": Problem, "description": "Something central needs is not there now"},
}

_STATUS_TEXTS: dict[int, Text] = {
    401: Text(zh="请先登录", en="Sign in first"),
    403: Text(zh="您没有这项权限", en="You may not do this"),
    404: Text(zh="没有这个地址", en="There is nothing at this address"),
    405: Text(zh="这个地址不接受该方法", en="This address does not take that method"),
}

_VALIDATION_TEXTS: dict[str, str] = {
    "missing": "缺少此项",
    "extra_forbidden": "没有这一项，请检查拼写",
    "string_too_short": "太短",
    "string_too_long": "太长",
    "literal_error": "不在允许的取值之内",
    "json_invalid": "不是合法的 JSON",
    "int_parsing": "应为整数",
    "int_type": "应为整数",
    "string_type": "应为文本",
}


def problem(
    status: int, *, code: str, text: Text, headers: Mapping[str, str] | None = None, **more: Any
) -> JSONResponse:
    """A response with a `Problem` body."""
    body = Problem(code=code, message=text.zh, message_en=text.en, **more)
    return JSONResponse(body.model_dump(), status, dict(headers or {}))


def install(app: FastAPI) -> None:
    """Make the application answer every error with a `Problem`."""
    app.add_exception_handler(MingjingError, _own)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


def from_error(error: MingjingError) -> JSONResponse:
    """Map an error of ours to status and body."""
    if isinstance(error, Refused):
        return _refused(error)
    text = Text(zh=str(error), en=str(error))
    if isinstance(error, InvalidInput):
        return problem(422, code="invalid", text=text, field=error.field)
    if isinstance(error, Denied):
        return problem(403, code="denied", text=text)
    if isinstance(error, Conflict):
        return problem(409, code="conflict", text=text)
    if isinstance(error, Unavailable):
        return problem(503, code="unavailable", text=text, headers={"Retry-After": "2"})
    return problem(500, code="internal", text=text)


def _refused(error: Refused) -> JSONResponse:
    guards = [
        Guard(
            code=guard.code,
            text=guard.text.zh,
            text_en=guard.text.en,
            article=guard.article,
            action=guard.action,
            field=guard.field,
        )
        for guard in error.guards
    ]
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else None
    return problem(
        error.status,
        code=error.code,
        text=error.text,
        headers=headers,
        field=error.field,
        article=error.article,
        action=error.action,
        guards=guards,
    )


async def _own(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MingjingError)  # noqa: S101 - registered for this class alone
    return from_error(error)


async def _validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    first = _first(error.errors())
    field = ".".join(str(part) for part in first["loc"] if part not in {"body", "query", "path"})
    reason = _VALIDATION_TEXTS.get(first["type"], first["msg"])
    return problem(
        422,
        code="invalid",
        text=Text(zh=f"{field or '请求'}：{reason}", en=f"{field or 'body'}: {first['msg']}"),
        field=field,
    )


def _first(errors: Sequence[Any]) -> Any:
    return errors[0]


async def _unexpected(_: Request, error: Exception) -> JSONResponse:
    """Starlette raises the error again after this answer, so the server logs its trace."""
    return problem(
        500,
        code="internal",
        text=Text(zh="程序出错，已记录", en="A fault of ours; it has been recorded"),
        action=f"把时间和这个名字告诉管理员：{type(error).__name__}",
    )


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    text = _STATUS_TEXTS.get(error.status_code, Text(zh=str(error.detail), en=str(error.detail)))
    return problem(
        error.status_code, code=f"http_{error.status_code}", text=text, headers=error.headers
    )
