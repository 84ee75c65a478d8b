"""What every section is given: the device, how large models may be, and where results go."""

from dataclasses import dataclass

import torch

from benchmarks.gpu.results import Results


@dataclass
class Bench:
    """What a section needs.

    Args:
        results: where rows go.
        device: that is measured.
        tiny: tiny models, to test the logic on a CPU.
        layers: of large models, at most; None for all of them.
        peak_tflops: of the data sheet; None where it is not known.
        matmul_tflops: what a plain product reaches; 0 until it is measured.
    """

    results: Results
    device: torch.device
    tiny: bool = False
    layers: int | None = None
    peak_tflops: float | None = None
    matmul_tflops: float = 0.0

    @property
    def half(self) -> torch.dtype:
        """What large models compute in here."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    @property
    def longest(self) -> int:
        """Tokens of a row."""
        return 96 if self.tiny else 2048

    def utilisation(self, flops: float, seconds: float) -> dict[str, float | None]:
        """Shares of the data sheet's peak (MFU) and of what a plain product reaches."""
        reached = flops / seconds / 1e12
        return {
            "mfu": reached / self.peak_tflops if self.peak_tflops else None,
            "of_matmul": reached / self.matmul_tflops if self.matmul_tflops else None,
        }
