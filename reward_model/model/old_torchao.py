"""LoRA beside a torchao that PEFT does not know: Kaggle's image has 0.10.

PEFT 0.21 asks at every layer whether torchao has quantised it, and raises ImportError where torchao is older than 0.16.
Nothing here is quantised with torchao, so PEFT is told that there is none.

Source: `is_torchao_available` in https://github.com/huggingface/peft/blob/main/src/peft/import_utils.py.
"""

import peft.import_utils
import peft.tuners.lora.torchao
import peft.utils.quantization_utils


def pass_over_old_torchao() -> None:
    """To be called before an adapter is made or loaded."""
    try:
        peft.import_utils.is_torchao_available()
    except ImportError:
        for module in (peft.import_utils, peft.tuners.lora.torchao, peft.utils.quantization_utils):
            setattr(module, "is_torchao_available", lambda: False)  # noqa: B010  mypy knows it as a function
