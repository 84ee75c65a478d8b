"""An adapter loads beside the torchao of Kaggle's image, which PEFT refuses."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.run_directories import make_run

LOAD = """
import sys
from peft.import_utils import is_torchao_available
try:
    is_torchao_available()
except ImportError:
    print("PEFT refuses it")
from reward_model.run_directory.load_model import LoadOptions, load_run_model
from reward_model.run_directory.reading import read_run
loaded = load_run_model(read_run(sys.argv[1]), LoadOptions(device="cpu"))
print(type(loaded.model).__name__)
"""


def test_adapters_load_beside_kaggles_torchao(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    (packages / "torchao").mkdir(parents=True)
    (packages / "torchao" / "__init__.py").touch()
    (packages / "torchao-0.10.0.dist-info").mkdir()
    (packages / "torchao-0.10.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n"
    )
    run = make_run(tmp_path / "run", model_type="adapter")
    code = f"import sys; sys.path.insert(0, {str(packages)!r})\n{LOAD}"
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code, str(run)], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split("\n")[:2] == ["PEFT refuses it", "PeftModelForSequenceClassification"]
