"""Makes Tests/Fixtures/data/tokenizer-cases.json: ids from the `tokenizers` package for texts that are easy to get wrong.

    python scripts/reference/tokenizer_reference.py

`qwen2` uses Assets/small-vlm/tokenizer.json as it is; `llama3` the same file with up to three digits a piece, whole
pieces looked up first, and one added token that is matched after normalisation.
"""
import json
import pathlib
import random

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = [
    "", " ", "  ", "a", " a", "  a", "a  b", "\n", "\n\n", " \n", "\n ", "a\n", "a \n\n b", "a\r\nb", "\t", "a\tb", "\t\ta",
    "   \n  \n   x", "x   ", "x \u00a0 y", "\u3000x\u3000", "\u2028x", "\u0085", "1", "12", "123", "1234567", "a1b22c333",
    " 42", "3.14", "½ ² Ⅷ ٣٤ १२३", "don't", "DON'T", "we'Ll they'RE I'vE", "it's's", "'s", "''s", "'ſ", "'ſx", "x'", "'re",
    "'r", "'l", "'llama", "...", "!?\n\n", " !?\r\n", "a-b", "a_b", "__x__", "(hello)", " (hello)", "@user #tag", "$5",
    "e\u0301", "é", "Å", "\u212b", "Å", "ﬁ", "한국어", "\u1112\u1161\u11ab", "ガ", "カ\u3099", "नमस्ते", "สวัสดี", "Ελληνικά",
    "русский текст", "日本語のテキスト", "中文，标点。", "😀", "👩‍👩‍👧", "🇨🇭x", "x\u200dy", "\ufeffx", "\u0000", "a\u0000b", "\u00ad",
    "\u0301x", "a\u0301\u0327", "\u0344", "\U0001d400", "<|endoftext|>", "<|im_start|>user\nhi<|im_end|>\n", "<|im_start|",
    "<|im_start|><|im_start|>", "a<|pad|>b", " <|pad|> ", "<|pad|", "<<|pad|>>", "<|endoftext|><|endoftext", "|>",
    "what is the color of the circle?", "is there a red shape in the image?", "yes", "no", "rectangle", "unseen words zebra",
    "pick up the black bowl between the plate and the ramekin and place it on the plate",
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "What action should the robot take to open the middle drawer of the cabinet?<|im_end|>\n<|im_start|>assistant\n",
    "the" * 60, " the" * 60, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\n" * 9 + " " * 9, "x" + " " * 9 + "\n" + " " * 9 + "y",
    "step<X>e\u0301<X>",
]


def random_texts(count):
    """Seeded soups of the characters that the split pattern tells apart."""
    rng = random.Random(11)
    alphabet = list(" \n\r\t'.,-!?<|>sStTrReEvVmMlLdD019aé½ß中😀\u0301\u00a0\u2003_") + ["the", " red", "<|pad|>", "'ll", "<X>"]
    return ["".join(rng.choice(alphabet) for _ in range(rng.randint(1, 24))) for _ in range(count)]


def cases(tokenizer, texts):
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        yield {
            "text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False),
            "withoutSpecial": tokenizer.decode(ids, skip_special_tokens=True),
        }


def main():
    text = (ROOT / "Assets/small-vlm/tokenizer.json").read_text()
    llama = json.loads(text)
    pattern = llama["pre_tokenizer"]["pretokenizers"][0]["pattern"]
    pattern["Regex"] = pattern["Regex"].replace(r"\p{N}|", r"\p{N}{1,3}|")
    llama["model"]["ignore_merges"] = True
    llama["added_tokens"].append({
        "id": len(llama["model"]["vocab"]) + 4, "content": "<X>", "single_word": False, "lstrip": False,
        "rstrip": False, "normalized": True, "special": False,
    })
    qwen2, llama3 = Tokenizer.from_str(text), Tokenizer.from_str(json.dumps(llama))
    texts = TEXTS + random_texts(150)
    (ROOT / "Tests/Fixtures/data/tokenizer-cases.json").write_text(json.dumps({
        "qwen2": list(cases(qwen2, texts)), "llama3": list(cases(llama3, texts)),
    }) + "\n")


if __name__ == "__main__":
    main()
