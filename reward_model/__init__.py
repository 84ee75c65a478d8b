"""Battles in, calibrated probabilities of A, B and tie out: links, model, batching, trainer, calibration, blending."""

import logging

# bitsandbytes 0.50 tells everybody on a CPU with AVX512-BF16, when it is imported, that an optional package is missing.
logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(
    lambda record: not record.getMessage().startswith("Failed to load CPU gemm_4bit_forward")
)
