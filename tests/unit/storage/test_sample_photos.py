import io

import pytest
from PIL import Image

from tss_ray.errors import ImageError, ObjectNotFoundError, StorageError
from tss_ray.spec import StoreSpec
from tss_ray.storage import sample_photos
from tss_ray.storage.stores import open_store


@pytest.mark.parametrize("name", sample_photos.names())
def test_each_input_is_its_reference_reduced_four_times(name):
    reference = sample_photos.reference(name)
    with Image.open(io.BytesIO(sample_photos.reduced_png(name))) as reduced:
        assert (reduced.format, reduced.mode, reference.mode) == ("PNG", "RGB", "RGB")
        assert (reduced.width * 4, reduced.height * 4) == reference.size
        assert len(reduced.convert("L").getcolors(1 << 20)) > 50  # a photograph, not a chart


def test_names_are_sorted_and_include_the_astronaut():
    assert sample_photos.names() == tuple(sorted(sample_photos.names()))
    assert "astronaut" in sample_photos.names()
    assert sample_photos.reference("chelsea").size == (448, 300)


def test_the_store_lists_and_reads_like_any_other_but_takes_nothing():
    store = open_store("sample://photos", StoreSpec())
    store.check_readable()
    for info in store.list():
        assert len(store.read(info.key)) == info.size_bytes
    assert [info.key for info in store.list("ch")] == ["chelsea.png"]
    assert store.exists("chelsea.png")
    assert not store.exists("chelsea")
    with pytest.raises(ImageError, match="limit"):
        store.read("chelsea.png", max_bytes=10)
    for act in (lambda: store.write("a.png", b""), lambda: store.delete("chelsea.png"), store.check_writable):
        with pytest.raises(StorageError, match="read-only"):
            act()


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ObjectNotFoundError, match="astronaut"):
        sample_photos.reference("dog")
    with pytest.raises(ObjectNotFoundError, match="astronaut"):
        open_store("sample://photos", StoreSpec()).read("dog.png")
