"""Everything that a Kaggle notebook without a network needs, ready to upload: `arena-reward kaggle runs/minilm`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from arena_data.arguments import CommandParser
from arena_data.file_io import check_output_folder
from reward_model.cli.flags import parser as prediction_parser
from reward_model.publish.kaggle_bundle import COMPETITION, PYTHONS, bundle
from reward_model.publish.kaggle_datasets import DATASET_BYTES, USER

KERNEL = "kernel-metadata.json"  # by which a bundle is known


def parser() -> CommandParser:
    command = CommandParser(prog="arena-reward kaggle", description=__doc__.splitlines()[0])
    command.epilog = "After -- come flags of predict for the notebook, such as --load_in_4bit --time_limit 8h."
    add = command.add_argument
    add("models", nargs="+", metavar="D", help="directories of runs, baselines or blends; several are blended")
    add("--output", default="bundle", metavar="D", help="folder to write")
    add("--name", metavar="NAME", help="name of the Kaggle dataset (default: the first model's)")
    add("--user", default=USER, metavar="NAME", help="your name on Kaggle")
    add(
        "--base_model",
        nargs="+",
        default=[],
        metavar="D",
        help="backbone directories: one, or one a run or baseline (default: those that these name)",
    )
    add("--python_version", nargs="+", default=list(PYTHONS), metavar="V", help="Python of Kaggle's image")
    add("--competition", default=COMPETITION, metavar="NAME", help="competition that the notebook is for")
    add("--dataset_gigabytes", type=float, default=DATASET_BYTES / 1e9, metavar="X", help="size limit of a dataset")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status: 0, or 2 with one line on stderr."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    cut = given.index("--") if "--" in given else len(given)
    options = parser().parse_args(given[:cut])
    prediction_parser().parse_args(["--model", "D", "--input", "F", *given[cut + 1 :]])
    try:
        check_output_folder(options.output, *options.models, *options.base_model, own=f"notebook/{KERNEL}")
        datasets = bundle(
            options.models,
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
