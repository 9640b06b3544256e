"""paribus: fine-tuning experiments with all else held equal, and which differences are real."""

import os

# Read when transformers is imported, here and in every process that is started: a model's config
# may name a kernel of the Hub, which would be fetched and run.
os.environ["USE_HUB_KERNELS"] = "NO"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
