"""What only passes through the real model can show: the cards of `training/probes`.

    PB053: the gradient changes after an evaluation

No card has a check: before a run trains, its probes find what is to be found and stop it; a warning
is told and stored.
"Measured" is by paribus, with torch 2.13, transformers 5.23, peft 0.21.2, bitsandbytes 0.50.2.
"""

from paribus.planning.rules.card import Rule, Severity

NO_GRADIENT = Rule(
    id="PB050",
    title="A weight that should train gets no gradient",
    severity=Severity.ERROR,
    what="Part of the model, or every adapter, stays as it was. The loss may fall all the same, "
    "and nothing is said.",
    why="Something between the weight and the loss cuts the gradient off: a frozen layer, a "
    "detached output, or recomputation of activations whose inputs need no gradient. Only the "
    "last of the three, and only with frozen embeddings, can end in an error.",
    evidence=(
        "peft#137, transformers#26334: `element 0 of tensors does not require grad`",
        "transformers#42489: adapters that never train, without an error",
        "measured: with one layer's output detached, 13 of 28 tensors of the tiny model had none",
    ),
    instead="Look at the named weight: what is frozen there, and which hook or wrapper lies "
    "behind it. Try training.checkpointing=false.",
)
NOT_FINITE = Rule(
    id="PB051",
    title="A gradient is not a finite number",
    severity=Severity.ERROR,
    what="The first optimizer step would write NaN into weights, and no later step repairs them.",
    why="A weight in the checkpoint is not finite, or a sum overflows in the compute dtype. One "
    "such value spreads through the norm of all gradients to every weight.",
    evidence=(
        "transformers#36822: activations of Gemma 3 overflow in fp16",
        "measured: one infinite weight makes all 28 gradients of the tiny model NaN",
    ),
    instead="Set training.precision=fp32. If that does not help, the weights themselves are "
    "damaged: fetch them again.",
)
NO_EFFECT = Rule(
    id="PB052",
    title="Adapters do not change what the model says",
    severity=Severity.ERROR,
    what="Training moves adapters that are not part of the model that is tested: its accuracy "
    "would be the untuned model's.",
    why="Adapters can be switched off, merged away or bypassed while the model evaluates, and "
    "still get gradients while it trains. They begin as zero, so the first loss shows nothing.",
    evidence=(
        "measured: adapters of the tiny model moved by 0.01 each, bypassed in evaluation: not "
        "one logit changed, and every gradient was there",
    ),
    instead="Look for a hook or wrapper that treats evaluation apart from training.",
)
AFTER_EVALUATION = Rule(
    id="PB053",
    title="Gradients are different after an evaluation",
    severity=Severity.ERROR,
    what="From the first evaluation on the model trains on wrong gradients, without a message.",
    why="The same examples and weights gave another gradient once the model had been evaluated: "
    "evaluation changed something in place. bitsandbytes does so on CPUs with AVX512-BF16, where "
    "it repacks 4-bit weights for a product that has no gradient.",
    evidence=(
        "measured: bitsandbytes 0.50.2, NF4, tiny model, AVX512-BF16 CPU, paribus's protection "
        "taken away: the gradient is off by 0.94 of its norm after one evaluation",
        "bitsandbytes/nn/modules.py, Linear4bit.forward: `support_avx512bf16_for_cpu`",
    ),
    instead="Drop quantization: nf4 for this device, or use a bitsandbytes that was tested.",
)
LOST_IN_SAVING = Rule(
    id="PB054",
    title="Saved weights are not the weights that are loaded",
    severity=Severity.ERROR,
    what="The weights that a finished run leaves would give other answers than those it reports.",
    why="Saving renames tensors, leaves tied ones out and takes the rest from the config. A head "
    "that is no longer tied, or a name that loading does not know, is then lost, often with no "
    "more than a line in a log.",
    evidence=(
        "transformers#43701: saved under names that the model does not load",
        "peft#2777: tied embeddings among the trained modules",
        "measured on the tiny model: an untied head, or one lora_B, left out of the file loads "
        "without an error, and other logits come out",
    ),
    instead="Set training.save_weights=false if the weights are not needed; otherwise report it, "
    "with the model's name.",
)
ACCUMULATION = Rule(
    id="PB055",
    title="Accumulated passes give another gradient than one pass",
    severity=Severity.ERROR,
    what="Results depend on training.micro_batch, which should only say what fits into memory: "
    "arms with different micro-batches are not comparable.",
    why="Each pass must be divided by the target tokens of the whole step. Divided by its own, "
    "short solutions count for more; divided by the number of passes as well, steps are shorter.",
    evidence=(
        "transformers#34191, fixed there; it returns with a loss of one's own",
        "measured on Gemma 3 270M, two examples of 23 and 46 target tokens: equal up to 0.018 of "
        "the norm in bf16 and 4.5e-6 in fp32; divided by each pass's own tokens off by 0.18",
    ),
    instead="Use the tested version of transformers (constraints.txt). Until then, set "
    "training.micro_batch to training.batch_size in every arm.",
)
BEGINNING = Rule(
    id="PB056",
    title="A training text does not begin with exactly one <bos>",
    severity=Severity.ERROR,
    what="The model is trained on texts of another form than those it was made from, and other "
    "than its test prompts.",
    why="Chat templates write <bos> themselves and tokenizers add another. Gemma, above all, is "
    "thrown off by two of them or none.",
    evidence=("transformers#31796: two <bos> from template and tokenizer",),
    instead="Remove <bos> from the data or from the chat template.",
)
TARGETS = Rule(
    id="PB057",
    title="The stop token is not what a training text ends with",
    severity=Severity.ERROR,
    what="The model never learns to stop, or learns to stop too early: its answers run on until "
    "they are cut off, or break off.",
    why="Where padding has the id of the stop token, collators that mask padding by its id mask "
    "the stop token as well. Texts that are cut off lose it too, and with it the answer.",
    evidence=(
        "transformers#23530, #22794: pad token set to eos, which is then never learned",
        "transformers 5.23, data/data_collator.py: labels equal to the pad id become -100",
    ),
    instead="Give the tokenizer a padding token of its own, and keep the stop token out of the "
    "data.",
)
PRECISION = Rule(
    id="PB058",
    title="Weights are of another dtype than the precision policy says",
    severity=Severity.ERROR,
    what="Arms would differ in precision, not in method; and trained weights in bf16 lose most "
    "small updates.",
    why="Checkpoints and libraries choose dtypes of their own: transformers takes the "
    "checkpoint's, peft makes adapters fp32, others make them bf16. bf16 keeps 8 bits of a "
    "number, so an update under 1/512 of a weight is rounded away.",
    evidence=(
        "torchtune#2254, pytorch/ao#1124: training in pure bf16",
        "measured: torch 2.13, AdamW, 100 steps at 2e-5 on bf16 weights of 0.02 and 1.0: both "
        "unchanged; the same in fp32 moved them",
    ),
    instead="Use training.precision=bf16 or fp32 as it is: weights that train are fp32 in both. "
    "If it was not you who changed a dtype, report it with the model's name.",
)
PROCESSES = Rule(
    id="PB059",
    title="The run was started as one of several processes",
    severity=Severity.ERROR,
    what="Several processes would write into the same run's folder; a process that waits for "
    "others that never come would wait forever.",
    why="Launchers say by environment variables how many processes there are, and the training "
    "library acts on them. Those of torchrun are taken away when `paribus run` joins its ranks; "
    "what is left is another's.",
    evidence=(
        "measured: accelerate 1.15, two processes of torchrun on a CPU join into one distributed "
        "training; with WORLD_SIZE=2 and no second process, the first hangs",
    ),
    instead="Start `paribus run` without a launcher or by torchrun; unset WORLD_SIZE.",
)

CHANCE = Rule(
    id="PB067",
    title="Untuned, the model predicts gold solutions no better than by chance",
    severity=Severity.WARNING,
    what="The model knows nothing of what it is to be tuned on: it is not tuned but trained from "
    "nothing, and what is compared are two ways to do that.",
    why="Texts reach the model in another form than those it was made from: another tokenizer, "
    "other weights than its config is about, none at all. Chance is the entropy of the target "
    "tokens' frequencies.",
    evidence=(
        "seen on a GPU: Gemma 3 270M with a tokenizer of characters began at a loss of 6",
        "measured on three of GSM8K's solutions: 4.8 to 6.1 with that tokenizer, where chance is "
        "3.5, and 2.5 to 3.5 with Gemma's own, where chance is 4.6",
    ),
    instead="Generate a few texts with the untuned model before anything is tuned: "
    "`paribus baseline`. If the model's weights are random on purpose, nothing is wrong.",
)

RULES: tuple[Rule, ...] = (
    NO_GRADIENT,
    NOT_FINITE,
    NO_EFFECT,
    AFTER_EVALUATION,
    LOST_IN_SAVING,
    ACCUMULATION,
    BEGINNING,
    TARGETS,
    PRECISION,
    PROCESSES,
    CHANCE,
)
