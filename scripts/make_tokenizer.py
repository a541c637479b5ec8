"""Makes Assets/small-vlm/tokenizer.json: a 600-entry byte-level BPE in the format of Qwen2's tokenizer.json.

    python scripts/make_tokenizer.py [--out Assets/small-vlm/tokenizer.json] [--size 600]

Trained on the chat prompt, the LIBERO instructions and the easy-VQA questions, so that the small model's prompts are
short; each easy-VQA answer is one token. Normaliser, pre-tokeniser, decoder and the names of the special tokens are
Qwen2's, and as there the special tokens follow the learned ones. Needs the `tokenizers` package.
"""
import argparse
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).resolve().parent
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
CHAT = (
    "system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.\n"
    "user\nWhat action should the robot take to ?\nassistant\n"
)


def corpus(questions, answers, instructions):
    """Texts with repetitions: the trainer merges what is frequent, and whole answers must be merged."""
    yield from [CHAT] * 40
    for instruction in instructions:
        yield from [f"What action should the robot take to {instruction}?"] * 20
        yield instruction
    yield from questions
    for answer in answers:
        yield from [answer, f" {answer}"] * 400


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("Assets/small-vlm/tokenizer.json"))
    parser.add_argument("--vqa", type=pathlib.Path, default=pathlib.Path("Assets/easy-vqa-heldout"))
    parser.add_argument("--size", type=int, default=600)
    options = parser.parse_args()

    questions = [row[0] for row in json.loads((options.vqa / "test" / "questions.json").read_text())]
    answers = (options.vqa / "answers.txt").read_text().split()
    instructions = (HERE / "libero_instructions.txt").read_text().splitlines()

    tokenizer = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix=""))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=options.size - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(questions, answers, instructions), trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])

    split = [answer for answer in answers if len(tokenizer.encode(answer).ids) != 1]
    if split:
        raise SystemExit(f"answers of more than one token: {split}; raise --size")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out))
    print(f"{options.out}: {tokenizer.get_vocab_size()} entries")
    for text in [CHAT, *instructions[:2], questions[0]]:
        print(f"{len(tokenizer.encode(text).ids):4}  {text!r}")


if __name__ == "__main__":
    main()
