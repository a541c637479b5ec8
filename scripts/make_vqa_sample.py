"""Makes Assets/easy-vqa-heldout: the first images of the easy-VQA test split, in easy-VQA's own folder layout.

    python scripts/make_vqa_sample.py SOURCE [--out Assets/easy-vqa-heldout] [--images 300]

SOURCE is easy-VQA's data folder (it holds answers.txt and test/), e.g. `easy_vqa/data` of the `easy-vqa` wheel on
PyPI. Images and answers are copied byte for byte. Standard library only.
"""
import argparse
import json
import pathlib
import shutil


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("Assets/easy-vqa-heldout"))
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()

    folder = options.out / "test" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    questions = json.loads((options.source / "test" / "questions.json").read_text())
    kept = [row for row in questions if row[2] < options.images]
    for image in range(options.images):
        shutil.copyfile(options.source / "test" / "images" / f"{image}.png", folder / f"{image}.png")
    lines = ",\n".join(json.dumps(row) for row in kept)
    (options.out / "test" / "questions.json").write_text(f"[\n{lines}\n]\n")
    shutil.copyfile(options.source / "answers.txt", options.out / "answers.txt")
    print(f"{options.out}: {options.images} images, {len(kept)} questions")


if __name__ == "__main__":
    main()
