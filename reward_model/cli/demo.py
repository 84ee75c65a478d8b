"""A page to try a model on: `arena-reward demo runs/minilm`."""

import argparse
from collections.abc import Sequence

from reward_model.api import RewardModel
from reward_model.publish.demo import MOST_MEGABYTES, PORT, make_page


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; runs until it is stopped. Errors are raised."""
    parser = argparse.ArgumentParser(prog="arena-reward demo", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("model", help="run directory, or user/name on the Hub")
    add("--base_model", metavar="D", help="directory or Hub id of the backbone, in the place of the run's own")
    add("--device", metavar="NAME", help="such as cpu or cuda:0")
    add("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 lets other machines in")
    add("--port", type=int, default=PORT)
    options = parser.parse_args(arguments)
    model = RewardModel.from_pretrained(options.model, base_model=options.base_model, device=options.device)
    page = make_page(model)
    print(f"http://{options.host}:{options.port}  (Ctrl-C stops it)", flush=True)
    page.launch(
        server_name=options.host,
        server_port=options.port,
        share=False,
        quiet=True,
        max_file_size=f"{MOST_MEGABYTES}mb",
        footer_links=[],
    )
    return 0
