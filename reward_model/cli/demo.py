"""A page to try a model on: `arena-reward demo runs/minilm`.

Without a model the judge `arena-style` answers, which ships with the package and needs no data. A run, a blend, a baseline
or a shipped judge can be shown.
"""

import os
from collections.abc import Sequence

from arena_data.arguments import CommandParser
from reward_model.cli.flags import command_parser, parse_command, whole_number
from reward_model.errors import require
from reward_model.pretrained.judges import DEFAULT, JUDGES, shipped_folder

PORT = 7860


def parser() -> CommandParser:
    command = command_parser("demo", __doc__)
    add = command.add_argument
    models = f"directory of a run, blend or baseline, user/name on the Hub, {' or '.join(JUDGES)} (default: {DEFAULT})"
    add("place", nargs="?", metavar="D", help=models)
    add("--model", metavar="D", help="the same by a flag, as other commands take it")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 0.0.0.0 lets other machines in")
    add(
        "--allowed_hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names that visitors reach the page by, beside localhost and --host; other names are refused",
    )
    add("--port", type=whole_number(0, 65535), default=PORT, metavar="N", help="port to listen on")
    return command


def main(arguments: Sequence[str]) -> int:
    """Command line; runs until it is stopped. Errors are raised."""
    command = parser()
    options = parse_command(command, arguments)
    if options.place and options.model:
        command.error(f"two models, {options.place} and --model {options.model}; name one")
    # Before a model is loaded; the report fits simple systems.
    require("gradio", "markdown_it", "lightgbm", "sklearn", "skops")
    from starlette.middleware import Middleware  # comes with gradio

    from reward_model.api import RewardModel
    from reward_model.publish.demo.no_requests import NoRequestsOut
    from reward_model.publish.demo.page import MOST_MEGABYTES, look, make_page
    from reward_model.publish.own_hosts import LOOPBACK, OwnHostsOnly

    model = RewardModel.from_pretrained(
        options.place or options.model or str(shipped_folder(DEFAULT)),
        base_model=options.base_model,
        device=options.device,
        dtype=options.dtype,
        batch_tokens=options.batch_tokens,
    )
    page = make_page(model)
    print(f"http://{options.host}:{options.port}  (Ctrl-C stops it)", flush=True)
    # A Space says in its environment what it is called.
    names = {*LOOPBACK, options.host, *options.allowed_hosts, os.environ.get("SPACE_HOST", "localhost")}
    guard = Middleware(OwnHostsOnly, hosts=names, any_address=options.host not in LOOPBACK)
    page.launch(
        server_name=options.host,
        server_port=options.port,
        share=False,
        quiet=True,
        max_file_size=f"{MOST_MEGABYTES}mb",
        footer_links=[],
        app_kwargs={"middleware": [Middleware(NoRequestsOut), guard]},
        _frontend=False,  # gradio 6.31 would ask its own page once, and give up where a busy machine takes over 3 s
        **look(),
    )
    return 0
