"""Whether training reads rows end to end: asked of the model where it will compute, and the same answer on all ranks."""

import sys
from typing import Any

import torch

from reward_model.model.packed.check import packed_reader, packed_reader_of_sharded
from reward_model.model.packed.reader import PackedReader


def reader_on_all_ranks(model: Any, args: Any, accelerator: Any) -> PackedReader | None:
    """A reader of rows end to end; None where the model cannot be read like that on some rank's device.

    One pack is one call of the model, so ranks call it equally often, as ZeRO 3 and FSDP want.

    Args:
        model: that is trained, before an engine has wrapped it.
        args: TieRewardConfig.
        accelerator: the Trainer's.
    """
    longest = args.max_length or sys.maxsize
    if accelerator.state.deepspeed_plugin is not None:
        # The engine moves the model, casts it and may spread it, all later.
        dtype = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else torch.float32
        reader = packed_reader_of_sharded(model, longest, args.device, dtype)
    elif getattr(accelerator.state, "fsdp_plugin", None) is not None:
        reader = packed_reader_of_sharded(model, longest, args.device)
    else:
        reader = packed_reader(model, longest)
    if args.world_size == 1:
        return reader
    on_ranks = accelerator.gather(torch.tensor([reader is not None], device=args.device))
    return reader if bool(on_ranks.all()) else None
