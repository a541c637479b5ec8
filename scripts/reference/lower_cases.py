"""Makes Tests/Fixtures/data/lower-cases.json: what Python's str.lower() makes of instructions, as the reference lower-cases them.

    python3 scripts/reference/lower_cases.py
"""
import json
import pathlib

TEXTS = [
    "Pick up the RED cup.", "  Open  the drawer ", "ΟΔΟΣ", "ΣΑΣ ΣΑΣ.", "ΑΣ'Σ", "Σ", "ΑΣ Α", "ΑΣ.Α", "A\u0301Σ\u0301 B", "İSTANBUL I",
    "STRASSE ẞ", "ÀÉÎÕÜ", "ДВЕРЬ", "ＦＵＬＬ", "ǅ Ǆ", "\U00010400", "ÅNGSTRÖM K", "<IMAGE> <image>", "Σ-ΑΣ-Σ",
    "ΑΣ\u00ad", "ΑΣ\u00adΑ", "",
]


def main():
    out = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/data/lower-cases.json"
    out.write_text(json.dumps([{"text": text, "lower": text.lower()} for text in TEXTS], indent=1) + "\n")


if __name__ == "__main__":
    main()
