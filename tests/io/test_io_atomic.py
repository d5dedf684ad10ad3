"""A file appears complete or not at all."""

import os
import stat

import pytest

from diffeo.io import replacing


def test_replaces_on_success(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with replacing(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_leaves_all_as_it_was_on_failure(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_the_usual_permissions(tmp_path):
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("")
    (tmp_path / "b").write_text("")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_links_are_written_through(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_missing_folders(tmp_path):
    with (
        pytest.raises(ValueError, match=r"there is no folder .* \(create it first\)"),
        replacing(tmp_path / "b" / "c" / "a"),
    ):
        pass
    with replacing(tmp_path / "b" / "c" / "a", parents=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "b" / "c" / "a").read_text() == "new"


def test_bad_targets(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="it is a folder"), replacing(tmp_path):
        pass
    with pytest.raises(ValueError, match="a file is in its place"), replacing(tmp_path / "file" / "a"):
        pass
    with (
        pytest.raises(ValueError, match="cannot create the folder"),
        replacing(tmp_path / "file" / "b" / "a", parents=True),
    ):
        pass
    with pytest.raises(ValueError, match=r"cannot write .*: No such file"), replacing(tmp_path / "a"):
        pass  # nothing written


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ValueError, match="is not writable"), replacing(tmp_path / "a"):
            pass
    finally:
        tmp_path.chmod(0o700)
