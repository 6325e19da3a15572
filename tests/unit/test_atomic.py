import hashlib
from pathlib import Path

import pytest

from nmrtk.atomic import atomic_path, file_sha256, write_bytes
from nmrtk.errors import DataError
from nmrtk.hdf5 import create_hdf5


def test_whole_file_replaces_the_old_one_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "made" / "a.bin"
    write_bytes(target, b"old")
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, SystemExit])
def test_failure_keeps_the_old_file_and_removes_the_new_one(tmp_path, failure):
    target = tmp_path / "a.bin"
    write_bytes(target, b"old")

    def write_half():
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"ha")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_stands_under_the_name_before_the_end(tmp_path):
    target = tmp_path / "a.bin"
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert target.exists()


def test_link_stays_and_its_target_is_written(tmp_path):
    target, link = tmp_path / "a.bin", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_places_that_cannot_be_written_are_named_with_the_cause(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for target, cause in (
        (tmp_path, "a folder"),
        (tmp_path / "file" / "a.bin", f"{tmp_path}/file is not a folder"),
        (Path("/dev/null"), "not an ordinary file"),
    ):
        with pytest.raises(DataError, match=f"cannot be written: {cause}") as caught:
            write_bytes(target, b"x")
        assert str(target) in str(caught.value)


def test_sha256(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 3_000_000)
    assert file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(DataError, match="gone cannot be read: No such file"):
        file_sha256(tmp_path / "gone")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_full_disk_ends_hdf5_with_one_clean_error():
    def write():
        with create_hdf5(Path("/dev/full")) as (file, _):
            file["x"] = list(range(10_000))

    with pytest.raises(OSError, match="No space left"):
        write()
