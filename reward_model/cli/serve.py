"""Serves rewards over HTTP: `arena-reward serve runs/minilm`, then POST to http://127.0.0.1:8000/v1/reward.

Trainers' protocols: OpenRLHF `/get_reward`, vLLM `/classify` and `/pooling`, TEI `/predict` and `/rerank`; TRL and verl by
`reward_model.serve.client`. It listens on loopback unless `--host` says otherwise. SIGTERM or Ctrl-C stops it: what was
taken is answered first.
"""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from arena_data.arguments import CommandParser
from arena_data.errors import InputError
from reward_model.cli.flags import command_parser, loading_of, parse_command, whole_number
from reward_model.errors import require
from reward_model.publish.own_hosts import LOOPBACK

PORT = 8000


def parser() -> CommandParser:
    command = command_parser("serve", __doc__)
    add = command.add_argument
    add("model", metavar="D", help="directory of a run, blend, baseline or stock reward model; or user/name on the Hub")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 0.0.0.0 lets other machines in")
    add(
        "--port",
        type=whole_number(0, 65_535),
        default=PORT,
        metavar="N",
        help="port to listen on; 0 for any that is free",
    )
    add("--api_key_file", metavar="F", help="file with the key that clients must show (default: no key)")
    add(
        "--allowed_hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names that clients reach the server by, beside localhost and --host; other names are refused",
    )
    add("--devices", nargs="+", metavar="NAME", help="one worker on each, such as cuda:0 cuda:1 (default: --device)")
    limits = command.add_argument_group("limits").add_argument
    limits("--max_queue", type=whole_number(1), default=8192, metavar="N", help="texts that may wait; then status 429")
    limits("--max_rows", type=whole_number(1), default=1024, metavar="N", help="texts of a request; then status 413")
    limits("--max_characters", type=whole_number(1), default=1_000_000, metavar="N", help="of a text; then status 413")
    limits("--timeout", type=whole_number(1), default=120, metavar="SECONDS", help="of a request; then status 504")
    return command


def main(arguments: Sequence[str]) -> int:
    """Runs the command until it is stopped; returns the exit status. Raises: InputError or ModelError, one line."""
    command = parser()
    options = parse_command(command, arguments)
    if options.devices and options.device:
        command.error("--device and --devices exclude each other")
    if options.max_rows > options.max_queue:
        command.error(
            f"a request of --max_rows {options.max_rows} would never fit into --max_queue {options.max_queue}"
        )
    require("fastapi", "uvicorn")
    key = None if options.api_key_file is None else read_key(options.api_key_file)
    if key is None and options.host not in LOOPBACK:
        print("warning: other machines may use this server; --api_key_file asks them for a key", file=sys.stderr)
    import uvicorn

    from reward_model.serve.app import make_app
    from reward_model.serve.limits import Limits
    from reward_model.serve.workers import ProcessWorker, Worker

    limits = Limits(options.max_queue, options.max_rows, options.max_characters, seconds=float(options.timeout))
    loading = loading_of(options, calibrated=True)
    workers: list[Worker] = []
    try:
        for device in options.devices or [None]:
            workers.append(ProcessWorker(options.model, loading.on(device)))
        names = {*LOOPBACK, options.host, *options.allowed_hosts}
        app = make_app(workers, limits, key=key, hosts=names, any_address=options.host not in LOOPBACK)
        log_to_stderr()
        # uvicorn's own access log would hold what clients put into a path.
        config = uvicorn.Config(
            app,
            options.host,
            options.port,
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=options.timeout,
        )
        serve_until_stopped(uvicorn.Server(config), options.host)
    finally:
        for worker in workers:
            worker.close()
    return 0


def serve_until_stopped(server: "object", host: str) -> None:
    """Runs a uvicorn server; says its address once it listens. Raises: InputError where it cannot listen."""
    import asyncio

    import uvicorn

    assert isinstance(server, uvicorn.Server)

    async def run() -> None:
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.02)
        if server.started:
            port = server.servers[0].sockets[0].getsockname()[1]
            print(f"http://{host}:{port}  (Ctrl-C stops it)", flush=True)
        await task

    # uvicorn stops in order at SIGTERM, and then raises it again: the process would end before its workers are cleaned up.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        pass  # uvicorn raises it again after its orderly stop
    except SystemExit:
        raise InputError(
            "the server cannot listen there", found=f"{host}:{server.config.port}", fix="see above"
        ) from None


def read_key(path: str) -> str:
    """The key in a file; warns where others may read it. Raises: InputError for a file without a key."""
    file = Path(path)
    if not file.is_file():
        raise InputError("no such file", file=path, expected="a file with the API key")
    key = file.read_text(encoding="utf-8", errors="replace").strip()
    if len(key) < 16 or len(key.split()) != 1 or "\ufffd" in key:
        raise InputError("no usable key", file=path, expected="one word of at least 16 characters")
    if os.name == "posix" and file.stat().st_mode & 0o077:
        print(f"warning: {path}: others can read the key; chmod 600 {path}", file=sys.stderr)
    return key


def log_to_stderr() -> None:
    """A line of JSON a request, and nothing of what clients sent."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log = logging.getLogger("reward_model.serve")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
