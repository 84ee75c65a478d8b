"""Everything that a Kaggle notebook without a network needs, ready to upload: `arena-reward kaggle runs/minilm`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reward_model.cli.flags import parser as prediction_parser
from reward_model.publish.kaggle_bundle import COMPETITION, DATASET_BYTES, PYTHONS, bundle


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status: 0, or 2 with one line on stderr."""
    made = argparse.ArgumentParser(prog="arena-reward kaggle", description=__doc__.splitlines()[0])
    add = made.add_argument
    add("runs", nargs="+", metavar="D", help="run directories")
    add("--output", default="bundle", metavar="D", help="the bundle's folder; bundle if not given")
    add("--name", metavar="NAME", help="of the Kaggle dataset; the first run's if not given")
    add("--user", default="INSERT_USERNAME_HERE", metavar="NAME", help="on Kaggle")
    add("--base_model", nargs="+", default=[], metavar="D", help="backbone directory for adapters; one, or one a run")
    add("--python_version", nargs="+", default=list(PYTHONS), metavar="V", help="of Kaggle's image; 3.11 and 3.12")
    add("--competition", default=COMPETITION, metavar="NAME", help=f"that the notebook is for; {COMPETITION}")
    add("--dataset_gigabytes", type=float, default=DATASET_BYTES / 1e9, metavar="N", help="size limit of a dataset")
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    made.epilog = "After -- come flags of predict.py for the notebook, such as --load_in_4bit --time_limit 8h."
    options = made.parse_args(given[:cut])
    prediction_parser().parse_args(["--model", "D", "--input", "F", *given[cut + 1 :]])
    try:
        datasets = bundle(
            options.runs,
            options.output,
            slug=options.name,
            user=options.user,
            base_model=options.base_model,
            pythons=options.python_version,
            competition=options.competition,
            limit=int(options.dataset_gigabytes * 1e9),
            flags=given[cut + 1 :],
        )
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for dataset in datasets:
        size = sum(path.stat().st_size for path in dataset.rglob("*") if path.is_file())
        print(f"kaggle datasets create -p {dataset} --dir-mode tar    # {size / 1e6:,.0f} MB")
    print(f"kaggle kernels push -p {Path(options.output) / 'notebook'}")
    return 0
