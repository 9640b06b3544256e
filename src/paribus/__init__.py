"""paribus: fine-tuning experiments with all else held equal, and which differences are real."""

import os

# Read when transformers is imported, here and in every process that is started: a model's config
# may name a kernel of the Hub, which would be fetched and run.
os.environ["USE_HUB_KERNELS"] = "NO"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# Read when torch first asks a GPU for memory. Passes differ in length: without segments that grow,
# what one leaves fits none of the next, and up to half as much again is held (docs/memory.md).
# Settings of the user's own stay: torch reads the first of these that is set.
if not {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_ALLOC_CONF"} & {*os.environ}:
    os.environ["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"
