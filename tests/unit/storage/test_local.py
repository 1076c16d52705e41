import os
import pickle
import subprocess
import sys

import pytest

from tss_ray.errors import AccessRefusedError, ImageError, ObjectNotFoundError, StorageError
from tss_ray.spec import StoreSpec
from tss_ray.storage.local import LocalStore
from tss_ray.storage.stores import open_store


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path / "root"))


def keys(store, prefix=""):
    return [info.key for info in store.list(prefix)]


def test_odd_keys_come_back_letter_for_letter(store):
    for key in ("a b/%20.png", "naïve/日本.jpg", "#?+&.png", "line\nbreak.png"):
        store.write(key, key.encode())
        assert store.read(key) == key.encode()
        assert store.exists(key)
    assert len(keys(store)) == 4


def test_a_listing_is_in_the_order_of_whole_keys(store):
    wanted = ["a-b.png", "a.png", "a/z.png", "a0.png", "b/c/d.png"]
    for key in reversed(wanted):
        store.write(key, b"x")
    assert keys(store) == wanted == sorted(wanted)
    assert keys(store, "a/") == ["a/z.png"]
    assert keys(store, "b/c") == ["b/c/d.png"]
    assert keys(store, "none/") == []


def test_hidden_files_pipes_and_what_a_killed_writer_left_are_not_listed(store):
    store.write("a.png", b"x")
    for hidden in (".DS_Store", ".git/x.png", "b/.tmp.png"):
        store.write(hidden, b"x")
    os.mkfifo(os.path.join(store.root, "pipe.png"))
    assert keys(store) == ["a.png"]
    with pytest.raises(ObjectNotFoundError, match="not a file"):
        store.read("pipe.png")


def test_links_are_followed_but_not_in_circles(store, tmp_path):
    store.write("a/x.png", b"x")
    os.symlink(store.root, os.path.join(store.root, "a", "up"))
    os.symlink(tmp_path / "gone", os.path.join(store.root, "dangling.png"))
    os.symlink("self.png", os.path.join(store.root, "self.png"))
    os.symlink("a", os.path.join(store.root, "b"))
    assert keys(store) == ["a/x.png", "b/x.png", "dangling.png", "self.png"]


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x", "a//b", "a/./b", "", "a\0b", "\ud800.png"])
def test_no_key_writes_outside_the_root(store, tmp_path, key):
    with pytest.raises(ImageError, match="rename") as caught:
        store.write(key, b"x")
    assert caught.value.kind == "bad_key"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_failed_write_leaves_the_old_bytes_and_no_temporary_file(store, monkeypatch):
    store.write("a.png", b"old")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(StorageError, match="free space"):
        store.write("a.png", b"new")
    assert store.read("a.png") == b"old"
    assert os.listdir(store.root) == ["a.png"]


def test_a_file_where_a_folder_is_needed_and_a_long_name_are_the_keys_own_fault(store):
    store.write("a", b"x")
    for key in ("a/b.png", "x" * 300):
        with pytest.raises(ImageError, match="rename"):
            store.write(key, b"x")


def test_too_large_absent_and_deleted(store):
    store.write("a.png", b"12345")
    assert store.read("a.png", max_bytes=5) == b"12345"
    with pytest.raises(ImageError, match="over the limit of 4") as caught:
        store.read("a.png", max_bytes=4)
    assert caught.value.kind == "too_large"
    store.delete("a.png")
    store.delete("a.png")
    with pytest.raises(ObjectNotFoundError, match="does not exist"):
        store.read("a.png")


def test_preflight_tells_and_leaves_nothing(store, tmp_path):
    with pytest.raises(ObjectNotFoundError, match="does not exist; correct"):
        store.check_readable()
    store.check_writable()
    store.check_readable()
    assert os.listdir(store.root) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="choose another folder"):
        LocalStore(str(tmp_path / "file" / "out")).check_writable()
    with pytest.raises(ObjectNotFoundError, match="is a file"):
        LocalStore(str(tmp_path / "file")).check_readable()


def test_a_closed_folder_is_refused_access(store, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", path)  # chmod would not stop a test run by root

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(AccessRefusedError, match="grant"):
        store.check_writable()


def test_a_relative_root_means_the_same_after_unpickling_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps(open_store("root", StoreSpec()))
    monkeypatch.chdir("/")
    pickle.loads(pickled).write("a.png", b"x")
    assert (tmp_path / "root" / "a.png").read_bytes() == b"x"


def test_local_jobs_do_not_import_boto3(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    code = """
import sys
from tss_ray.spec import StoreSpec
from tss_ray.storage import inputs, key_list, ledger
for source in (sys.argv[1], "sample://photos"):
    for item in inputs.list_inputs(source, StoreSpec()):
        inputs.read_uri(item.uri, StoreSpec())
print({"boto3", "botocore", "ray", "torch"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
