"""What one device holds under each engine: weights, gradients, optimizer state, activations, and what gathering costs.

With n devices, F frozen and T trained weights, G gradients, O optimizer state, A activations (bytes):

| engine | a device holds |
| --- | --- |
| one device | F + T + G + O + A |
| DDP | the same, and G again: the buckets that are reduced |
| ZeRO 1 | F + T + G + A + (M + O) / n, M: DeepSpeed's float32 copy of what is trained |
| ZeRO 2 | F + T + A + (G + M + O) / n, and the buckets |
| ZeRO 3 | (F + T + G + M + O) / n + A, and the parameters that are gathered at a time |
| FSDP2 | (F + T + G + O) / n + A, and two gathered layers |
| offload | the optimizer's part, M + O, in the machine's memory instead |

Sources: Rajbhandari et al. 2020, ZeRO (arXiv:1910.02054, section 3 and figure 1);
https://deepspeed.readthedocs.io/en/latest/memory.html; https://pytorch.org/docs/stable/distributed.fsdp.fully_shard.html.
"""

from dataclasses import dataclass

from reward_model.plan.footprint import Footprint

ENGINES = ("single", "ddp", "zero1", "zero2", "zero2_offload", "zero3", "zero3_offload", "fsdp2")
# Elements, as ds_configs/ sets them.
BUCKET, LIVE_PARAMETERS = 2e8, 3e8
# Bytes of optimizer state a trained parameter, where they do not depend on its dtype.
_STATE_BYTES = {"adamw_8bit": 2, "adamw_bnb_8bit": 2, "paged_adamw_8bit": 2, "adafactor": 0.1, "sgd": 0}


@dataclass(frozen=True)
class Held:
    """Bytes on one device, and on its machine's main memory for the same process."""

    engine: str
    weights: float
    gradients: float
    optimizer: float
    activations: float
    gathered: float
    overhead: float
    offloaded: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.gathered + self.overhead


def held(
    engine: str, counted: Footprint, *, devices: int, optimizer: str, half: bool, base: float, fragmentation: float
) -> Held:
    """What one of `devices` holds.

    Args:
        engine: one of `ENGINES`.
        counted: of one whole copy.
        optimizer: the name of the Trainer's `optim`.
        half: bf16 or fp16 training, which DeepSpeed does on half-precision weights with a float32 copy.
        base: bytes of libraries and contexts, whatever the model.
        fragmentation: the allocator's loss, a share of what is allocated.
    """
    sharded = engine.startswith("zero") or engine == "fsdp2"
    n = devices if sharded else 1
    frozen, trained, gradients = counted.frozen_bytes, counted.trained_bytes, counted.gradient_bytes
    each = trained / counted.trained
    copy = 0.0
    if engine.startswith("zero"):
        copy = 4.0 * counted.trained
        if half:
            trained = gradients = 2.0 * counted.trained
        each = 4.0
    state = _STATE_BYTES.get(optimizer, 2 * each) * counted.trained
    offloaded = 0.0
    stage = 3 if engine == "fsdp2" or engine.startswith("zero3") else 2 if engine.startswith("zero2") else 1
    weights = (frozen + trained) / (n if sharded and stage == 3 else 1)
    kept = gradients / (n if sharded and stage >= 2 else 1)
    state = (state + copy) / n
    element = (frozen + trained) / (counted.parameters + counted.adapter)
    gathered = 0.0
    if engine == "ddp":
        gathered = gradients
    elif engine.startswith("zero3"):
        gathered = min(LIVE_PARAMETERS + counted.largest_layer, counted.parameters) * element
    elif engine == "fsdp2":
        gathered = 2 * counted.largest_layer * element
    elif engine.startswith("zero"):
        gathered = 2 * min(BUCKET, counted.trained) * gradients / counted.trained
    if engine.endswith("offload"):
        state, offloaded = 0.0, state + kept
    found = weights + kept + state + counted.activation_bytes + gathered
    return Held(
        engine=engine,
        weights=weights,
        gradients=kept,
        optimizer=state,
        activations=counted.activation_bytes,
        gathered=gathered,
        overhead=base + fragmentation * found,
        offloaded=offloaded,
    )
