"""A page to try a model on: `arena-reward demo runs/minilm`."""

import os
from collections.abc import Sequence

from arena_data.arguments import CommandParser, whole_number
from reward_model.api import RewardModel
from reward_model.errors import require
from reward_model.publish.demo import MOST_MEGABYTES, PORT, make_page
from reward_model.publish.own_hosts import LOOPBACK, OwnHostsOnly


def parser() -> CommandParser:
    demo = CommandParser(prog="arena-reward demo", description=__doc__.splitlines()[0])
    add = demo.add_argument
    add("model", metavar="D", help="run directory, or user/name on the Hub")
    add("--base_model", metavar="D", help="directory or Hub id of the backbone (default: the one that the run names)")
    add("--device", metavar="NAME", help="such as cpu or cuda:0 (default: the first accelerator, else the CPU)")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; 0.0.0.0 lets other machines in")
    add(
        "--allowed_hosts",
        nargs="+",
        default=[],
        metavar="NAME",
        help="further names that visitors reach the page by, beside localhost and --host; other names are refused",
    )
    add("--port", type=whole_number(0, 65535), default=PORT, metavar="N", help="port to listen on")
    return demo


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; runs until it is stopped. Errors are raised."""
    options = parser().parse_args(arguments)
    require("gradio", "lightgbm", "sklearn", "skops")  # before a model is loaded; the report fits simple systems
    model = RewardModel.from_pretrained(options.model, base_model=options.base_model, device=options.device)
    page = make_page(model)
    print(f"http://{options.host}:{options.port}  (Ctrl-C stops it)", flush=True)
    from starlette.middleware import Middleware  # comes with gradio

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
        app_kwargs={"middleware": [guard]},
    )
    return 0
