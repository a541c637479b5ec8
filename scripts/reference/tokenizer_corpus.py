"""Compares craft's tokenizers with the `tokenizers` package, family by family.

    python scripts/reference/tokenizer_corpus.py make
    python scripts/reference/tokenizer_corpus.py check [--craft .build/release/craft] [--count 20000] [FILE ...]

`make` trains small tokenizers of each family on the sentences below and writes them with the ids and texts that the
package gives to Tests/Fixtures/tokenizers. `check` runs `count` seeded random strings through craft and the package,
with those files and any tokenizer.json named, and reports every difference. The same package version and seed give the
same files.
"""
import argparse
import json
import pathlib
import random
import subprocess

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "Tests/Fixtures/tokenizers"
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = QWEN2.replace(r"\p{N}|", r"\p{N}{1,3}|")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")

SENTENCES = [
    "The quick brown fox jumps over the lazy dog; it's 3:45 p.m. and we'll see what they've done.",
    "Portez ce vieux whisky au juge blond qui fume, l'été dernier à Besançon.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Straße, Maß, GRÖSSE.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío. ¿Qué tal? ¡Olé!",
    "À noite, vovô Kowalsky vê o ímã cair no pé do pinguim queixoso.", "Quel vituperabile xenofobo zelante assaggia il whisky.",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig.", "Příliš žluťoučký kůň úpěl ďábelské ódy.", "Egy hűtlen vejét fülöncsípő, dühös mexikói úr.",
    "Flygande bäckasiner söka hwila på mjuka tuvor.", "Høj bly gom vandt fræk sexquiz på wc.", "Törkylempijävongahdus on pitkä sana.",
    "Pijamalı hasta yağız şoföre çabucak güvendi. İstanbul, ısı.", "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "Чуєш їх, доцю, га? Кумедна ж ти, прощайся без ґольфів!", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. ΟΔΟΣ ὁδός ᾳ ΐ",
    "נקניק דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם", "نص حكيم له سر قاطع وذو شأن عظيم مكتوب على ثوب أخضر. مُحَمَّدٌ ١٢٣",
    "ایک ٹوکری میں پھل رکھے ہیں۔ می‌خواهم", "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण। क्षत्रिय १२३", "আমি বাংলায় গান গাই। কো ড়",
    "யாமறிந்த மொழிகளிலே தமிழ்மொழி போல் கொ", "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กำ", "Trăm năm trong cõi người ta, chữ tài chữ mệnh khéo là ghét nhau.",
    "いろはにほへと ちりぬるを。東京都の天気は晴れです。ガギグ ｶﾞｷﾞ", "我能吞下玻璃而不伤身体。人工智能，机器学习！２０２４年", "키스의 고유조건은 입술끼리 만나야 하고. ㄱㄴㄷ 각",
    "ქართული ენა მშვენიერია.", "Ես կարող եմ ապակի ուտել։ և", "ሰማይ አይታረስ ንጉሥ አይከሰስ።", "ខ្ញុំអាចញុំកញ្ចក់បាន", "Ég get etið gler án þess að meiða mig. Þ ð",
    "pick up the black bowl between the plate and the ramekin and place it on the plate",
    "def f(x: int) -> str:\n    return f\"{x:>08.3f}\"  # comment\n\n\nclass A:\n\tpass\n",
    "for (int i = 0; i < n; ++i) { a[i] *= 2.5e-3; } // done\r\n", "SELECT * FROM t WHERE a_b != 'x' AND c >= 10;",
    "https://example.org/a/b?q=1&r=%20#frag user@example.com C:\\dir\\file.txt", "$1,234.56 €99 £5 ¥100 50% ½ ² Ⅷ ① 1/2 10⁻³ x₁",
    "👍 😀 👩‍👩‍👧‍👦 🏳️‍🌈 🇨🇭🇫🇷 👋🏽 ❤️ ☎️ 1️⃣", "e\u0301 é a\u0301\u0327 a\u0327\u0301 \u212b Å Å ﬁ ﬀ ſ ẛ̣ \u1e9b\u0323 ᾀ\u0345", "\u1112\u1161\u11ab 한 가\u11a8",
    "カ\u3099 \u0958 क\u093c \u0344 \uf900 \u2f800 豈 \ufb2a", "x\u200dy \ufeffz \u00ad a\u0000b \u0085 \u2028 \u3000 \u00a0 \u202f \u180e \u200b",
    "tab\there  two   three    four\n\n\nfive \n six\r\nseven \t \n ", "  leading", "trailing  ", " ", "  ", "\n", "\t", "\r\n\r\n", "", "a", "don't DON'T Don'T 'S 's ''s 'ſ we'Re",
    "<s>x</s> <unk><pad> <|im_start|>user\nhi<|im_end|>", "<0x41> <0xE4> ▁ ▁▁a <s> <s", "[MASK] a [MASK]b a[MASK] word aword words word. <sp> <rs> x <ls>y <both>  z",
    "WORD Word wÖrd ｗｏｒｄ", "\U0001d400\U0001d7d8 \U00016b5a \U0001e900 𐐷 𠀀", "\u088f\u1acf\u1dfa\u0898 \U00011938\U00011935\U00011930 \U0001e030", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Ġ Ċ Āa ġ \u0143",
]
SPECIALS = [
    "<s>", "</s>", "<unk>", "[MASK]", "word", "<sp>", "<rs>", "<ls>", "<both>", "<|im_start|>", "<|im_end|>", "<0x41>", "<0xE4>",
    "▁", "'s", "'ll", "'RE", "\r\n", "\n\n", "  ", "    ", "é", "e\u0301", "👩‍👩‍👧", "Wörd", "ｗｏｒｄ", "the", " the", "12", "İ", "Σ", "ς",
]


def random_texts(count, seed):
    """Soups: of the corpus's characters, of what splits tell apart, of any code point, and of shuffled corpus words."""
    rng = random.Random(seed)
    letters = sorted(set("".join(SENTENCES)))
    split = list(" \n\r\t'.,-!?<|>sStTrReEvVmMlLdD019aé½ß中😀\u0301\u00a0\u2003_▁") + SPECIALS
    words = " ".join(SENTENCES).split(" ")

    def any_scalar():
        top = rng.choice([0x80, 0x250, 0x800, 0x3000, 0x10000, 0x20000, 0x110000])
        while True:
            value = rng.randrange(top)
            if not 0xD800 <= value <= 0xDFFF:
                return chr(value)

    for index in range(count):
        length = rng.randint(1, 24)
        kind = index % 4
        if kind == 0:
            yield "".join(rng.choice(letters) for _ in range(length))
        elif kind == 1:
            yield "".join(rng.choice(split) for _ in range(length))
        elif kind == 2:
            yield "".join(any_scalar() for _ in range(length))
        else:
            yield rng.choice([" ", "", "\n", "  "]).join(rng.choice(words + SPECIALS) for _ in range(length // 3 + 1))


def trained(model, pre_tokenizer, specials, size=700, alphabet=(), normalizer=None, limit=None):
    """The tokenizer.json of a BPE trained on the corpus, as a dictionary without added tokens."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    options = {"limit_alphabet": limit} if limit else {}
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=specials, initial_alphabet=list(alphabet), show_progress=False, **options)
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = []
    return document


def finish(document, added, **parts):
    """Sets components and added tokens."""
    tokenizer = Tokenizer.from_str(json.dumps(document))
    for key, value in parts.items():
        setattr(tokenizer, key, value)
    tokenizer.add_tokens([token for token in added if not token.special])
    tokenizer.add_special_tokens([token for token in added if token.special])
    return json.loads(tokenizer.to_str())


def families():
    byte_level = pre_tokenizers.ByteLevel
    plain = pre_tokenizers.ByteLevel.alphabet()
    special = lambda text, **options: AddedToken(text, normalized=False, special=True, **options)
    chat = [special("<|endoftext|>"), special("<|im_start|>"), special("<|im_end|>")]

    def bytes_with(pattern, extra=(), **options):
        steps = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"), byte_level(add_prefix_space=False, use_regex=False)])
        document = trained(models.BPE(), steps, [], alphabet=sorted(plain), **options)
        return finish(document, [*chat, *extra], decoder=decoders.ByteLevel())

    yield "qwen2", bytes_with(QWEN2, normalizer=normalizers.NFC())
    llama3 = bytes_with(LLAMA3, [special("<s>")])
    llama3["model"]["ignore_merges"] = True
    llama3["post_processor"] = {"type": "Sequence", "processors": [
        json.loads(processors.ByteLevel().__getstate__()),
        json.loads(processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 703)]).__getstate__())]}
    yield "llama3", llama3
    yield "o200k", bytes_with(O200K)
    smollm = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(add_prefix_space=False)])
    # A few bytes short, as SmolLM2's vocabulary is: those characters vanish.
    yield "smollm2", finish(
        trained(models.BPE(), smollm, [], alphabet=sorted(plain)[:200]), chat, decoder=decoders.ByteLevel())
    yield "gpt2-prefix", finish(
        trained(models.BPE(), byte_level(add_prefix_space=True), [], alphabet=sorted(plain)),
        [special("<|endoftext|>", lstrip=True), AddedToken("word", single_word=True), AddedToken("the")], decoder=decoders.ByteLevel())

    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    marks = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    sentence = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bos = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    control = [special("<unk>"), special("<s>"), special("</s>")]
    fallback = lambda: models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    metaspace = pre_tokenizers.Metaspace
    base = trained(fallback(), metaspace("▁", "always"), pieces, size=900, limit=300)
    base["pre_tokenizer"] = None
    yield "llama2-legacy", finish(base, control, normalizer=marks, decoder=sentence, post_processor=bos)
    yield "llama2-first", finish(
        base, control, pre_tokenizer=metaspace("▁", "first", split=False), decoder=sentence, post_processor=bos)
    yield "metaspace-always", finish(
        base, control, normalizer=normalizers.NFKC(), pre_tokenizer=metaspace("▁", "always"), decoder=decoders.Metaspace("▁", "always"))
    yield "metaspace-never", finish(
        base, control, normalizer=normalizers.NFD(), pre_tokenizer=metaspace("▁", "never", split=True),
        decoder=decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", "never")]))

    words = trained(models.BPE(unk_token="<unk>"), metaspace("▁", "always"), ["<unk>", "<s>", "</s>"], size=600, limit=150)
    added = [
        special("<unk>"), special("<s>"), AddedToken("[MASK]", lstrip=True, rstrip=True, single_word=True, normalized=False),
        AddedToken("word", single_word=True, normalized=True), special("<sp>", lstrip=True, rstrip=True),
        AddedToken("<rs>", rstrip=True, normalized=False), AddedToken("<ls>", lstrip=True, normalized=True),
        AddedToken("  z", normalized=False), AddedToken("<both>", lstrip=True, rstrip=True, normalized=True),
        AddedToken("Wörd", normalized=True), AddedToken("the", normalized=True, special=True)]
    folded = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip(left=True, right=False), normalizers.Lowercase()])
    yield "unknown-tokens", finish(words, added, normalizer=folded)
    fused = json.loads(json.dumps(words))
    fused["model"]["fuse_unk"] = True
    fused["model"]["merges"] = [" ".join(merge) for merge in fused["model"]["merges"]]
    yield "unknown-fused", finish(fused, added, normalizer=normalizers.NFKD(), decoder=decoders.Fuse())
    for name, behavior in [("previous", "merged_with_previous"), ("contiguous", "contiguous"), ("removed", "removed")]:
        steps = pre_tokenizers.Sequence([
            pre_tokenizers.Split(" ", behavior=behavior), pre_tokenizers.Split(Regex(r"[\p{L}\p{M}]+"), behavior=behavior, invert=True),
            byte_level(add_prefix_space=False, use_regex=False)])
        yield f"split-{name}", finish(
            trained(models.BPE(), steps, [], size=400, alphabet=sorted(plain)), chat, decoder=decoders.ByteLevel())


def answers(tokenizer, texts):
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        yield {"ids": ids, "bare": bare, "text": tokenizer.decode(ids, skip_special_tokens=False),
               "skipped": tokenizer.decode(ids, skip_special_tokens=True)}


def make():
    FOLDER.mkdir(parents=True, exist_ok=True)
    texts = SENTENCES + list(random_texts(240, 5))
    cases = {"texts": texts, "families": {}}
    for name, document in families():
        (FOLDER / f"{name}.json").write_text(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
        rows = []
        for text, answer in zip(texts, answers(Tokenizer.from_str(json.dumps(document)), texts)):
            # Null where a field adds nothing to the one before it.
            rows.append([
                answer["ids"], None if answer["bare"] == answer["ids"] else answer["bare"],
                None if answer["text"] == text else answer["text"], None if answer["skipped"] == answer["text"] else answer["skipped"]])
        cases["families"][name] = rows
    (FOLDER / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{FOLDER}: {sum(path.stat().st_size for path in FOLDER.iterdir())} bytes")


def run(craft, path, lines, *flags):
    output = subprocess.run(
        [craft, "model", "tokenize", "--model", str(path), "--lines", *flags], input="\n".join(map(json.dumps, lines)) + "\n",
        capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.split("\n") if line]


def check(options):
    texts = SENTENCES + list(random_texts(options.count, options.seed))
    failures = 0
    for path in [*sorted(path for path in FOLDER.glob("*.json") if path.name != "cases.json"), *options.files]:
        expected = list(answers(Tokenizer.from_file(str(path)), texts))
        found = run(options.craft, path, texts)
        bare = run(options.craft, path, texts, "--no-special")
        rng = random.Random(options.seed)
        size = Tokenizer.from_file(str(path)).get_vocab_size()
        lists = [answer["ids"] for answer in expected] + [
            [rng.randrange(size) for _ in range(rng.randint(1, 12))] for _ in range(options.count)]
        tokenizer = Tokenizer.from_file(str(path))
        wrong = [text for text, row, mine, own in zip(texts, expected, found, bare)
                 if row["ids"] != mine["ids"] or row["bare"] != own["ids"]]
        for flags, skip in [((), False), (("--no-special",), True)]:
            for ids, mine in zip(lists, run(options.craft, path, lists, "--decode", *flags)):
                if tokenizer.decode(ids, skip_special_tokens=skip) != mine["text"]:
                    wrong.append(ids)
        print(f"{path}: {len(texts)} texts, {len(lists)} id lists, {len(wrong)} differ", *map(repr, wrong[:5]), sep="\n  ")
        failures += len(wrong)
    raise SystemExit(1 if failures else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "check"])
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--craft", default=str(ROOT / ".build/release/craft"))
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_intermixed_args()
    make() if options.what == "make" else check(options)


if __name__ == "__main__":
    main()
