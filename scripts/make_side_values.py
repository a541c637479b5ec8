#!/usr/bin/env python3
"""Writes values by sample for plugins, as `craft train --side NAME=FILE` takes them: an example to start from.

    python scripts/make_side_values.py progress EPISODE_LENGTHS OUT.safetensors
    python scripts/make_side_values.py answers QUESTIONS.json OUT.safetensors

A file has two tensors: `ids`, int64 [N], the sample_id of each row, and `values`, float32 [N, ...], what plugins read as
side.NAME [batch, numbers of a row]. An external teacher writes its outputs there.

sample_id is episode * 10**6 + step of a demonstration, episodes in stored order (shard files by name, records in their order),
and the place in questions.json of a question. In a mixture, the second data set's have 10**15 more, and so on.

`progress` gives each sample of demonstrations how far its episode has gone, 0 to 1: EPISODE_LENGTHS is a text file with the
steps of each episode, one a line. `answers` gives each question the share of questions that have its answer, which weighs rare
ones up. Needs numpy and safetensors.
"""

import argparse
import collections
import json
import pathlib

import numpy as np
from safetensors.numpy import save_file


def progress(path):
    """(ids, values) of every step of every episode."""
    lengths = [int(line) for line in pathlib.Path(path).read_text().split()]
    ids = np.concatenate([episode * 10**6 + np.arange(length) for episode, length in enumerate(lengths)])
    values = np.concatenate([np.arange(length) / max(length - 1, 1) for length in lengths])
    return ids, values[:, None]


def answers(path):
    """(ids, values) of every question."""
    rows = json.loads(pathlib.Path(path).read_text())
    counts = collections.Counter(answer for _, answer, _ in rows)
    return np.arange(len(rows)), np.array([[counts[answer] / len(rows)] for _, answer, _ in rows])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["progress", "answers"])
    parser.add_argument("source")
    parser.add_argument("out")
    options = parser.parse_args()
    ids, values = (progress if options.kind == "progress" else answers)(options.source)
    save_file({"ids": ids.astype(np.int64), "values": values.astype(np.float32)}, options.out)
    print(f"{options.out}: {len(ids)} samples")


if __name__ == "__main__":
    main()
