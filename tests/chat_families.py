"""How eight families, and two more, write a chat: templates that behave as the published ones.

They leave out tools, dates and default texts, and keep what they trim, add, drop and refuse.
"""

import string
from dataclasses import dataclass
from typing import Any

from tokenizers import AddedToken, Tokenizer, models, normalizers, processors
from transformers import PreTrainedTokenizerFast

from paribus.testing.tiny import tiny_tokenizer

_ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}"
    "{% endif %}{% endfor %}"
)
_SYSTEM_APART = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}"
)
_CHATML = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
_QWEN3 = (
    "{% for m in messages %}{% if m.role != 'assistant' %}" + _CHATML + "{% else %}"
    "{% set content = m.content %}{% set thoughts = '' %}{% if '</think>' in content %}"
    "{% set thoughts = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set content = content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\n' }}{% if loop.last %}"
    "{{ '<think>\n' + thoughts + '\n</think>\n\n' + content.lstrip('\n') }}"
    "{% else %}{{ content }}{% endif %}{{ '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}THINK{% endif %}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One published template's behaviour.

    Attributes:
        template: in Jinja.
        bos: its tokenizer's; None for one that begins no text with a token.
        eos: likewise.
        markers: its other special tokens.
        merges: pairs of bytes that its tokenizer makes one token of.
    """

    template: str
    bos: str | None
    eos: str
    markers: tuple[str, ...] = ()
    merges: tuple[tuple[str, str], ...] = ()

    def tokenizer(self) -> Any:
        """Return one token per byte, and the family's own."""
        tokenizer = tiny_tokenizer(self.merges)
        tokenizer.add_special_tokens(
            {"eos_token": self.eos, "additional_special_tokens": list(self.markers)}
        )
        tokenizer.bos_token = None
        steps = []
        if self.bos is not None:
            tokenizer.add_special_tokens({"bos_token": self.bos})
            token = (self.bos, tokenizer.bos_token_id)
            steps = [processors.TemplateProcessing(single=f"{self.bos} $A", special_tokens=[token])]
        tokenizer.backend_tokenizer.post_processor = processors.Sequence(steps)
        tokenizer.chat_template = self.template
        return tokenizer


def with_visible_blanks(family: Family) -> Any:
    """Return a tokenizer as Llama-2's: `▁` for a blank, and one more before each piece of text."""
    texts = ["<unk>", "<s>", "</s>", *family.markers]
    octets = [f"<0x{octet:02X}>" for octet in range(256)]
    words = ["▁", *string.ascii_letters, *string.digits, *string.punctuation]
    merges = [("▁", "▁"), ("▁", "4"), ("#", "#"), ("##", "##"), ("▁", "[")]
    pieces = [*texts, *octets, *words, *map("".join, merges)]
    backend = Tokenizer(
        models.BPE(
            vocab={piece: number for number, piece in enumerate(pieces)},
            merges=merges,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.add_special_tokens([AddedToken(text, normalized=False) for text in texts])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", texts.index("<s>"))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = family.template
    return tokenizer


FAMILIES = {
    "gemma-2": Family(
        bos="<bos>",
        eos="<eos>",
        template=(
            "{{ bos_token }}{% if messages[0].role == 'system' %}"
            "{{ raise_exception('System role not supported') }}{% endif %}"
            + _ALTERNATE
            + "{% for m in messages %}"
            "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
            "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
            "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
        ),
    ),
    "llama-2": Family(
        bos="<s>",
        eos="</s>",
        template=(
            _SYSTEM_APART + _ALTERNATE + "{% for m in messages %}{% set content = m.content %}"
            "{% if loop.first and system is defined %}"
            "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + content %}{% endif %}"
            "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
            "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
        ),
    ),
    "llama-3": Family(
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
        markers=("<|start_header_id|>", "<|end_header_id|>"),
        template=(
            "{{ bos_token }}{% for m in messages %}"
            "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' }}"
            "{{ m.content | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
        ),
    ),
    "mistral": Family(
        bos="<s>",
        eos="</s>",
        markers=("[INST]", "[/INST]"),
        template=(
            _SYSTEM_APART + _ALTERNATE + "{{ bos_token }}{% for m in messages %}"
            "{% if m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}"
            "{% elif loop.last and system is defined %}"
            "{{ '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}"
            "{% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}{% endfor %}"
        ),
    ),
    "qwen2.5": Family(
        bos=None,
        eos="<|im_end|>",
        markers=("<|im_start|>",),
        template=(
            "{% if messages[0].role != 'system' %}"
            "{{ '<|im_start|>system\nYou are helpful.<|im_end|>\n' }}{% endif %}"
            "{% for m in messages %}" + _CHATML + "{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
        ),
    ),
    "qwen3": Family(
        bos=None,
        eos="<|im_end|>",
        markers=("<|im_start|>", "<think>", "</think>"),
        merges=(("Ċ", "Ċ"),),
        template=_QWEN3.replace("THINK", ""),
    ),
    "qwen3-thinking": Family(
        bos=None,
        eos="<|im_end|>",
        markers=("<|im_start|>", "<think>", "</think>"),
        merges=(("Ċ", "Ċ"),),
        template=_QWEN3.replace("THINK", "{{ '<think>\n' }}"),
    ),
    "deepseek-r1": Family(
        bos="<｜begin▁of▁sentence｜>",
        eos="<｜end▁of▁sentence｜>",
        markers=("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
        template=(
            "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
            "{% elif m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% else %}"
            "{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + eos_token }}{% endif %}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
        ),
    ),
    "zephyr": Family(
        bos="<s>",
        eos="</s>",
        template=(
            "{% for m in messages %}\n{{ '<|' + m.role + '|>\n' + m.content + eos_token }}\n"
            "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n"
            "{% endfor %}"
        ),
    ),
    "phi-3": Family(
        bos="<s>",
        eos="<|endoftext|>",
        markers=("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        template=(
            "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}"
            "{% else %}{{ eos_token }}{% endif %}"
        ),
    ),
}
