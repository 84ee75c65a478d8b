"""The server as an ASGI application: protocols, health, metrics, and a page of its routes that needs no network.

Source: https://fastapi.tiangolo.com; https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/.
"""

import html
import json
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from reward_model import __version__
from reward_model.publish.own_hosts import OwnHostsOnly
from reward_model.serve.batching import Batcher
from reward_model.serve.gate import LOG, Observed, WholeBody, WithKey
from reward_model.serve.limits import Limits, Refusal
from reward_model.serve.metrics import CONTENT_TYPE, Metrics
from reward_model.serve.protocols import openrlhf, plain, tei, vllm
from reward_model.serve.scoring import Scoring
from reward_model.serve.workers import Worker


class AsciiResponse(JSONResponse):
    """JSON that can hold what a client sent back to it: half of a surrogate pair is no UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def make_app(
    workers: list[Worker],
    limits: Limits | None = None,
    *,
    key: str | None = None,
    hosts: Collection[str] = (),
    any_address: bool = False,
) -> FastAPI:
    """The application; it closes the workers when it stops.

    Args:
        workers: ready to score, all with the same judge.
        limits: of the queue and of requests.
        key: what clients must show; None lets everybody in.
        hosts, any_address: as `OwnHostsOnly`; no hosts let requests for any host in.
    """
    limits, metrics = limits or Limits(), Metrics()

    def note_death(reason: str) -> None:
        metrics.deaths += 1
        LOG.warning(json.dumps({"time": round(time.time(), 3), "worker": "died", "why": reason}))

    batcher = Batcher(workers, limits, metrics.note_batch, note_death)
    metrics.gauges |= {
        "arena_reward_queued_rows": ("Rows that wait for a worker.", lambda: batcher.queued),
        "arena_reward_scored_now": ("Rows that are at a worker.", lambda: batcher.scoring),
        "arena_reward_workers_alive": ("Workers that score.", lambda: batcher.alive),
    }

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        try:
            yield
        finally:
            await batcher.close()

    # FastAPI's own pages load scripts from another host.
    app = FastAPI(
        title="Arena reward model",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=AsciiResponse,
    )
    served = workers[0].served
    scoring = Scoring(batcher, served, limits)
    known = {name: getattr(served, name) for name in ("name", "has_rewards", "has_probabilities")}
    known["coverages"] = [int(percent) / 100 for percent in served.set_thresholds]
    for protocol in (plain, openrlhf, vllm, tei):
        app.include_router(protocol.routes(scoring))

    @app.get("/health", tags=["Operation"])
    async def health() -> dict[str, str]:
        """The server runs."""
        return {"status": "ok"}

    @app.get("/ready", tags=["Operation"])
    async def ready() -> JSONResponse:
        """Whether a worker is alive: 200 or 503."""
        is_ready = bool(batcher.alive) and not batcher.closing
        return JSONResponse({"ready": is_ready, **known}, 200 if is_ready else 503)

    @app.get("/metrics", tags=["Operation"])
    async def read_metrics() -> PlainTextResponse:
        """Counts for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(routes_page(app.openapi()))

    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    # The last one added is the outermost.
    app.add_middleware(WholeBody, limits=limits)
    if key is not None:
        app.add_middleware(WithKey, key=key)
    app.add_middleware(Observed, metrics=metrics)
    if hosts:
        app.add_middleware(OwnHostsOnly, hosts=hosts, any_address=any_address)
    return app


def routes_page(schema: dict[str, Any]) -> str:
    """The routes as a page without scripts; the whole schema is at `/openapi.json`."""
    rows = [
        f"<tr><td>{method.upper()}</td><td><code>{html.escape(path)}</code></td>"
        f"<td>{html.escape(operation.get('description', ''))}</td><td>{html.escape(', '.join(operation['tags']))}</td></tr>"
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    title = html.escape(schema["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        "<style>body{font:16px system-ui;margin:2rem}td{padding:.3rem 1rem .3rem 0}</style>"
        f'<h1>{title}</h1><p>The whole schema: <a href="openapi.json">openapi.json</a></p>'
        f"<table>{''.join(rows)}</table></html>"
    )


async def _refused(_: Request, refusal: Any) -> JSONResponse:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return JSONResponse({"error": refusal.message}, refusal.status, headers)


async def _http_error(_: Request, error: Any) -> JSONResponse:
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


async def _invalid(_: Request, error: Any) -> JSONResponse:
    """The first thing that is wrong, where it is, and nothing of what was sent."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"error": "the body is not JSON"}, 400)
    place = ".".join(map(str, first["loc"][1:])) or "body"
    more = len(error.errors()) - 1
    return JSONResponse({"error": f"{place}: {first['msg']}" + (f" (and {more} more)" if more else "")}, 422)
