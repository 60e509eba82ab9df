"""IDX files as people have them: other names, other folders, unopened archives, other kinds."""

import gzip
import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import write_idx

from mnist_lab.data.files import FILES, named_sets
from mnist_lab.data.source import Source
from mnist_lab.settings.compose import checked, compose
from mnist_lab.ui.errors import Refused


def source(choice, root, **settings):
    node = checked(compose([f"data={choice}", "data.root=x", "data.download=false"]))
    return Source.of({**node["data"], "root": str(root), **settings})


def renamed(folder, form):
    """The four files in another form, as sites and tools give them."""
    for name in FILES:
        path = folder / name
        if form == "folders":  # Kaggle's archive, unpacked
            path.rename(folder / "moved")
            path.mkdir()
            (folder / "moved").rename(path / name)
        elif form == "both":  # the same archive has the dotted names beside them
            (folder / name.replace("-idx", ".idx")).write_bytes(path.read_bytes())
            path.unlink()
            path.mkdir()
            (folder / name.replace("-idx", ".idx")).rename(path / name.replace("-idx", ".idx"))
        elif form == "gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        else:
            path.rename(folder / form(name))


FORMS = {
    "folder of the name": "folders",
    "dotted in a folder": "both",
    "gz": "gz",
    "dotted": lambda name: name.replace("-idx", ".idx"),
    "bin": lambda name: f"{name}.bin",
    "upper case": str.upper,
    "upper case gz": lambda name: f"{name.upper()}.GZ",  # its content tells, not its name
    "emnist": lambda name: "emnist-letters-" + name.replace("t10k", "test"),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_files_under_other_names_are_read(form, data_dir, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "own")
    expected = source("idx_folder", data_dir).read().sha256
    renamed(folder, form)
    assert source("idx_folder", folder).find().read().sha256 == expected


@pytest.mark.parametrize("tail", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("data", ["idx_folder", "mnist"])
def test_a_root_that_holds_the_files_itself_or_lower(data, tail, data_dir, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "root" / tail)
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    settings = {} if data == "idx_folder" else {"sha256": sums}
    found = source(data, tmp_path / "root", **settings).find()
    assert found.read().sha256 == source("idx_folder", data_dir).read().sha256


def test_another_data_sets_files_are_never_taken_by_their_place(data_dir):
    """Fashion-MNIST has no SHA-256 of plain files, and MNIST's have the same names."""
    with pytest.raises(Refused) as caught:
        source("fashion_mnist", data_dir).find()
    told = f"four such files are in {data_dir}: data.root={data_dir} data.folder=. reads them"
    assert told in str(caught.value)
    assert source("fashion_mnist", data_dir, folder=".").find().has_files


def test_an_unopened_zip_is_named(data_dir, tmp_path):
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for name in FILES:
            archive.write(data_dir / name, name)
    with pytest.raises(Refused, match=re.escape(f"unzip {tmp_path}/archive.zip there")) as caught:
        source("idx_folder", tmp_path).find()
    assert len(str(caught.value).splitlines()) == 2


def test_of_several_sets_the_name_tells_which(data_dir, tmp_path):
    for number, of in enumerate(("emnist-letters", "emnist-digits")):
        for name in FILES:
            path = tmp_path / f"{of}-{name.replace('t10k', 'test')}"
            path.write_bytes((data_dir / name).read_bytes()[: None if "images" in name else -1])
            if number or "images" in name:
                shutil.copy(data_dir / name, path)
    assert set(named_sets(tmp_path)) == {"emnist-letters", "emnist-digits"}
    with pytest.raises(
        Refused, match=r"several sets of files: data\.name=emnist_(letters|digits) or"
    ):
        source("idx_folder", tmp_path).find()
    assert source("idx_folder", tmp_path, name="emnist_digits").find().read()
    with pytest.raises(Refused, match="emnist-letters-train-labels"):
        source("idx_folder", tmp_path, name="emnist_letters").find().read()


def qmnist(folder):
    labels = np.zeros((400, 8), ">i4")
    header = b"\0\0\x0c\x02" + np.array(labels.shape, ">u4").tobytes()
    (folder / FILES[1]).write_bytes(header + labels.tobytes())
    return "32-bit integers (QMNIST's labels? their column 0 are MNIST's)"


def out_of_range(folder):
    write_idx(folder / FILES[1], np.full(400, 26, np.uint8))
    return "label 0 is 26, not in 0..9, as data.class_names (10 names) and data.first_label=0"


def empty_folder(folder):
    (folder / FILES[1]).unlink()
    (folder / FILES[1]).mkdir()
    return "it is not a regular file, but a folder without the file in it"


@pytest.mark.parametrize("fault", [qmnist, out_of_range, empty_folder])
def test_nobody_is_told_to_delete_files_of_his_own(fault, data_dir, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "root/FashionMNIST/raw")
    expected = fault(folder)
    path = folder / FILES[1]
    for each in (source("idx_folder", folder), source("fashion_mnist", tmp_path / "root")):
        with pytest.raises(Refused) as caught:
            each.find().read()
        assert str(caught.value).startswith(f"{path}: ")
        assert expected in str(caught.value)
        assert "Delete" not in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    # What the lab itself has downloaded may go.
    if path.is_file():
        path.rename(f"{path}.gz")
        with pytest.raises(Refused, match=r"Delete it and fetch it again\.$"):
            source("fashion_mnist", tmp_path / "root").find().read()
        with pytest.raises(Refused) as caught:
            source("idx_folder", folder).find().read()
        assert "Delete" not in str(caught.value)


def test_other_files_than_the_official_ones_are_told_apart_from_damage(data_dir, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "MNIST/raw")
    with pytest.raises(Refused) as caught:
        source("mnist", tmp_path).find().read()
    message = str(caught.value)
    assert message.startswith(f"{Path(folder, FILES[0])}: its SHA-256 is ")
    assert message.endswith("These are not mnist's files; data=idx_folder reads one's own.")
