import hashlib
from collections import Counter

import numpy as np
import pytest

from nmrtk.errors import UsageError
from nmrtk.splits import SplitRule, assign_splits, rows_of_split, skeleton_of, split_of_skeleton


def fake_keys(count):
    letters = str.maketrans("0123456789abcdef", "ABCDEFGHIJKLMNOP")
    digests = (hashlib.md5(str(i).encode()).hexdigest() for i in range(count))
    return [f"{d.translate(letters)[:14]}-UHFFFAOYSA-N" for d in digests]


def test_hash_gives_eighty_ten_ten():
    counts = Counter(map(split_of_skeleton, fake_keys(20_000)))
    assert counts["train"] / 20_000 == pytest.approx(0.8, abs=0.01)
    assert counts["val"] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert counts["test"] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_hash_never_changes():
    letters = "".join(split_of_skeleton(key)[1] for key in fake_keys(40))
    assert letters == "rrarrarrrrrrrrrrerrarrarrrrrerrrrrraearr"


def test_stereoisomers_stay_together():
    for key in fake_keys(200):
        assert split_of_skeleton(key) == split_of_skeleton(key[:14] + "-DARAHFNDSA-N")


def test_random_split_goes_by_skeleton_and_seed():
    skeletons = [skeleton_of(key) for key in fake_keys(500)] * 2
    given = ["test"] * len(skeletons)
    first = assign_splits(SplitRule("random", seed=1), given, skeletons)
    assert (first[:500] == first[500:]).all()
    assert Counter(first[:500].tolist()) == {"train": 400, "val": 100}
    assert (first == assign_splits(SplitRule("random", seed=1), given, skeletons)).all()
    assert (first != assign_splits(SplitRule("random", seed=2), given, skeletons)).any()
    backwards = assign_splits(SplitRule("random", seed=1), given, skeletons[::-1])
    assert (backwards[::-1] == first).all()


def test_rows_of_given_split():
    given = ["train", "val", "train"]
    assert rows_of_split(SplitRule(), "train", given, ["A", "B", "C"]).tolist() == [0, 2]
    assert rows_of_split(SplitRule(), "val", given, ["A", "B", "C"]).dtype == np.int64


@pytest.mark.parametrize(
    ("rule", "split", "message"),
    [
        (SplitRule(), "dev", "'dev' is not a split: choose train, val, test"),
        (
            SplitRule(),
            "test",
            r"'test' is empty .*'given': the data set has train \(2\), val \(1\)",
        ),
        (SplitRule("random"), "test", r"'test' is empty .*'random'.*train \(2\), val \(1\)"),
    ],
)
def test_what_there_is_is_said(rule, split, message):
    with pytest.raises(UsageError, match=message):
        rows_of_split(rule, split, ["train", "val", "train"], ["A", "B", "C"])


def test_impossible_rules():
    with pytest.raises(UsageError, match="'scaffold' is not a kind of split"):
        SplitRule("scaffold")
    with pytest.raises(UsageError, match="train_fraction=1 is impossible"):
        SplitRule("random", train_fraction=1.0)
