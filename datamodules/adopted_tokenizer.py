"""A tokenizer.json of any library, with the ids that are agreed on here: 0 padding, 1 unknown, 2 BOS, 3 EOS."""

import json
from typing import Any

NAMES = {
    "unknown": ("<unk>", "[UNK]", "<|unk|>", "UNK"),
    "padding": ("<pad>", "[PAD]", "<|pad|>", "<|padding|>"),
    "bos": ("<bos>", "<s>", "[BOS]", "[CLS]", "<|startoftext|>", "<|begin_of_text|>"),
    "eos": ("<eos>", "</s>", "[EOS]", "[SEP]", "<|endoftext|>", "<|end_of_text|>"),
}
"""Names of the special tokens elsewhere, in the order in which they are looked for."""
NEVER = -1e6
"""Log-probability of special tokens of a unigram model: text is never cut into them."""


def adopted(text: str) -> str:
    """The same tokenizer with other ids; text is cut as before, and decoded as before.

    Padding, BOS and EOS get their names here, the unknown token keeps its own; those that are missing are added. Other
    special tokens, such as a mask, which no text is cut into, are left out; added words that are not special stay. What
    would add tokens around a text, pad it or cut it off is left out: the data module does that.

    Args:
        text: The content of a tokenizer.json, of the library `tokenizers`: BPE, WordPiece, Unigram or WordLevel.

    Raises:
        ValueError: If it is none.
    """
    try:
        description: dict[str, Any] = json.loads(text)
        model = description["model"]
        old = model["vocab"]
        names = sorted(old, key=old.__getitem__) if isinstance(old, dict) else [name for name, _ in old]
        added = list(description.get("added_tokens") or ())
        special = {token["content"] for token in added if token["special"]}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"it is no tokenizer.json of the library tokenizers ({error!r})") from error
    found = {role: next((name for name in known if name in {*names, *special}), None) for role, known in NAMES.items()}
    unknown = model.get("unk_token")
    if unknown is None and not isinstance(old, dict) and model.get("unk_id") is not None:
        unknown = names[model["unk_id"]]
    unknown = unknown or found["unknown"] or "<unk>"
    gone = special | {unknown} | {name for name in (found["padding"], found["bos"], found["eos"]) if name}
    symbols = ["<pad>", unknown, "<bos>", "<eos>"]
    rest = [name for name in names if name not in gone and name not in symbols]
    if isinstance(old, dict):
        model["vocab"] = {name: number for number, name in enumerate([*symbols, *rest])}
        model["unk_token"] = unknown
    else:
        scores = dict(old)
        model["vocab"] = [*([symbol, NEVER] for symbol in symbols), *([name, scores[name]] for name in rest)]
        model["unk_id"] = 1
    number_of = {name: number for number, name in enumerate([*symbols, *rest])}
    kept = [token for token in added if not token["special"] and token["content"] not in {*symbols, *gone}]
    description["added_tokens"] = [
        token | {"id": number_of.setdefault(token["content"], len(number_of))} for token in kept
    ]
    description |= {"truncation": None, "padding": None, "post_processor": None}
    return json.dumps(description, ensure_ascii=False)
