"""A data set of one's own, of 47 classes: every format against what was written, and real verbs."""

import csv
import hashlib
import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
import yaml
from conftest import write_idx
from formats import CLASSES, many_classes, write_csv, write_folders, write_formats
from PIL import Image

from mnist_lab.data.datamodule import MNISTDataModule
from mnist_lab.data.source import Source
from mnist_lab.pictures.digits import to_mnist
from mnist_lab.pictures.picture import load_picture
from mnist_lab.run.directory import read_metrics
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose
from mnist_lab.ui.errors import Refused

FIRST = 1  # label of the first class in the files, as EMNIST Letters has it
TYPED = {
    "idx": ["data=idx_folder", "data.folder=emnist", "data.transposed=true"],
    "csv": ["data=csv"],
    "npz": ["data=npz"],
    "folders": ["data=folders"],
}


@pytest.fixture(scope="module")
def arrays():
    return many_classes()


@pytest.fixture(scope="module")
def root(tmp_path_factory, arrays):
    return write_formats(tmp_path_factory.mktemp("own"), arrays, names=CLASSES, first_label=FIRST)


def typed(form, root, *more):
    names = f"data.class_names=[{','.join(CLASSES)}]"
    first = [] if form == "folders" else [f"data.first_label={FIRST}"]
    return [*TYPED[form], f"data.root={root}", names, *first, *more]


def splits_of(form, root, *more):
    source = Source.of(checked(compose(typed(form, root, *more)))["data"])
    return source.find().read()


@pytest.mark.parametrize("form", TYPED)
def test_each_format_gives_the_images_and_classes_that_were_written(form, root, arrays):
    splits = splits_of(form, root)
    found = [splits.train_images, splits.train_labels, splits.test_images, splits.test_labels]
    content = b"".join(np.ascontiguousarray(values).tobytes() for values in found)
    assert splits.sha256 == hashlib.sha256(content).hexdigest()  # of the images as used
    if form == "folders":  # has an order of its own: the classes take turns
        assert found[1][: len(CLASSES)].tolist() == [*range(len(CLASSES))]
        assert found[1].tolist() == [*range(len(CLASSES))] * 6
        expected = [values for k in (0, 2) for values in in_turns(*arrays[k : k + 2])]
    else:
        expected = arrays
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == np.uint8
        assert ours.flags.writeable


def in_turns(images, labels):
    turn, rows = {}, []
    for row, label in enumerate(labels.tolist()):
        turn[label] = turn.get(label, -1) + 1
        rows.append((turn[label], label, row))
    order = [row for _, _, row in sorted(rows)]
    return images[order], labels[order]


def test_more_than_256_classes(tmp_path):
    names = [f"sign {k:03}" for k in range(300)]
    labels = np.arange(300)
    images = np.zeros((300, 28, 28), np.uint8)
    images[labels, labels // 28, labels % 28] = 255
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    node = yaml.safe_dump({"class_names": names}, default_flow_style=True, width=10**6)
    config = checked(
        compose(
            [
                "data=npz",
                f"data.root={tmp_path}",
                f"data.{node.strip()[1:-1].replace(': ', '=', 1)}",
            ]
        )
    )
    data = build(config["data"], seed=0)
    assert data.splits["test"][1].tolist() == labels.tolist()
    assert not any("without an image: sign" in text and "test" in text for text in data.warnings)


def test_other_pictures_are_read_as_mnist_predict_does(tmp_path):
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            photo = np.full((120, 90, 3), 230, np.uint8)
            photo[30:90, 40:48] = 20 if name == "a" else 60
            Image.fromarray(photo).save(tmp_path / split / name / "photo.jpg")
            (tmp_path / split / name / "notes.txt").write_text("no picture")
    node = checked(compose(["data=folders", f"data.root={tmp_path}", "data.class_names=[a,b]"]))
    splits = Source.of(node["data"]).find().read()
    expected = [to_mnist(load_picture(tmp_path / "train" / n / "photo.jpg")) for n in ("a", "b")]
    np.testing.assert_array_equal(splits.train_images, expected)
    assert splits.test_labels.tolist() == [0, 1]


def test_emnist_that_was_not_turned_upright_is_told(root):
    node = checked(compose(typed("idx", root)))["data"]
    for transposed in (False, True):
        data = build({**node, "transposed": transposed}, seed=0)
        assert isinstance(data, MNISTDataModule)
        told = "EMNIST's images are stored transposed: data.transposed=true turns them upright"
        assert any(text.startswith(told) for text in data.warnings) is not transposed


# --- real verbs ---


@pytest.fixture(scope="module")
def settings(root):
    return [
        *typed("npz", root),
        "data.batch_size=16",
        "model.width=32",
        "model.dropout=0",
        "optimizer.lr=0.003",
        "trainer=cpu",
        "trainer.max_epochs=4",
        "threads=1",
    ]


@pytest.fixture(scope="module")
def trained(settings, verbs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    ended = verbs.run("mnist_lab.train", *settings, f"hydra.run.dir={folder}/run", cwd=folder)
    assert ended.code == 0, ended.stderr
    return folder / "run"


def test_47_classes_are_learnt_and_the_run_holds_their_names(trained, root):
    metrics = read_metrics(trained)
    assert metrics["test/acc"] > 0.5  # by chance 0.02
    assert metrics["num_params"] == 784 * 32 + 32 + 32 * 47 + 47
    assert metrics["data_sha256"] == splits_of("npz", root).sha256
    stored = yaml.safe_load((trained / "config.yaml").read_text())["data"]
    assert stored["class_names"] == CLASSES
    assert (stored["first_label"], stored["format"]) == (FIRST, "npz")


def test_47_classes_are_resumed_to_the_bit(settings, trained, verbs, tmp_path):
    changed = [text.replace("max_epochs=4", "max_epochs=2") for text in settings]
    run = tmp_path / "run"
    assert verbs.run("mnist_lab.train", *changed, f"hydra.run.dir={run}", cwd=tmp_path).code == 0
    ended = verbs.run("mnist_lab.resume", str(run), "trainer.max_epochs=4", cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    figures = [
        {k: v for k, v in read_metrics(path).items() if k.startswith(("train/", "val/", "test/"))}
        for path in (run, trained)
    ]
    assert figures[0] == figures[1]


def test_47_classes_are_evaluated(trained, verbs, tmp_path):
    ended = verbs.run("mnist_lab.evaluate", str(trained), cwd=tmp_path)
    assert ended.code == 0, ended.stderr
    metrics = json.loads((trained / "evaluation/metrics.json").read_text())
    assert metrics["test/acc"] == pytest.approx(read_metrics(trained)["test/acc"], abs=1e-6)
    assert np.array(metrics["test/confusion"]).shape == (47, 47)
    with (trained / "evaluation/predictions.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["index", "label", "prediction", *(f"p{k}" for k in range(47)), "margin"]
    assert len(rows) == 94
    with Image.open(trained / "evaluation/confusion.png") as picture:
        assert min(picture.size) > 47 * 29  # pixels: each number has room


def test_of_47_classes_the_five_best_are_shown(trained, root, verbs, tmp_path):
    picture = next((root / "test" / "class 7").glob("*.png"))
    asked = [str(trained), "--random", "1", "--seed", "1"]
    table = verbs.run("mnist_lab.predict", *asked, "--show", "shown.png", cwd=tmp_path)
    assert table.code == 0, table.stderr
    head, row = table.stdout.splitlines()
    assert head.split() == [
        "picture",
        "prediction",
        "unsure",
        "actual",
        "1.",
        "2.",
        "3.",
        "4.",
        "5.",
    ]
    answer = json.loads(
        verbs.run("mnist_lab.predict", *asked, "--format", "json", cwd=tmp_path).stdout
    )[0]
    probs = {k: answer[f"p{k}"] for k in range(47)}
    best = sorted(probs, key=probs.get, reverse=True)[:5]
    shown = re.findall(r"class (\d+) (?:[01]\.\d\d|·)", row)
    assert [int(k) for k in shown] == best
    assert (tmp_path / "shown.png").exists()
    as_csv = verbs.run(
        "mnist_lab.predict", str(trained), str(picture), "--format", "csv", cwd=tmp_path
    )
    line, *_ = csv.DictReader(io.StringIO(as_csv.stdout))
    assert [name for name in line if re.fullmatch(r"p\d+", name)] == [f"p{k}" for k in range(47)]


def test_images_of_another_number_of_classes_are_no_test(trained, verbs, data_dir, tmp_path):
    ended = verbs.run(
        "mnist_lab.evaluate",
        str(trained),
        "--data",
        "idx_folder",
        f"data.root={data_dir}",
        cwd=tmp_path,
    )
    assert ended.code == 2
    assert "tells 47 classes apart, and idx_folder has 10; must be as many" in ended.stderr


# --- bad input ---


def csv_row(*, columns=784, first="1", last="0"):
    return ",".join([first, *["0"] * (columns - 2), last]) + "\n"


def change_csv(root, text, file="train.csv"):
    with (root / file).open("a") as out:
        out.write(text)


def few_columns(root):
    change_csv(root, csv_row(columns=783))
    return f"{root}/train.csv, line 284: 783 columns; must be 785, a label and 784 grey levels"


def many_columns(root):
    change_csv(root, csv_row(columns=786))
    return f"{root}/train.csv, line 284: 786 columns; must be 785"


def text_in_it(root):
    change_csv(root, csv_row(columns=785, last="ink"))
    return f"{root}/train.csv, line 284, column 785: 'ink' is no whole number"


def text_at_once(root):
    text = (root / "test.csv").read_text()
    (root / "test.csv").write_text("one" + text[text.index(",") :])
    return f"{root}/test.csv, line 1, column 1: 'one' is no whole number"


def too_dark(root):
    change_csv(root, csv_row(columns=785, last="256"))
    return f"{root}/train.csv, line 284, column 785: 256 is no grey level; must be 0 paper"


def foreign_label(root):
    change_csv(root, csv_row(columns=785, first="48"), "test.csv")
    return f"{root}/test.csv, line 95, column 1: label 48, not in 1..47, as data.class_names (47"


def kaggles_test(root):
    rows = (root / "test.csv").read_text().splitlines()
    (root / "test.csv").write_text("\n".join(row.partition(",")[2] for row in rows))
    return f"{root}/test.csv, line 1: 784 columns, a label too few. data=csv needs a test.csv with"


def no_test(root):
    (root / "test.csv").unlink()
    return f"{root}: no test.csv there; data=csv needs a test.csv with labels"


def empty_csv(root):
    (root / "test.csv").write_text("label,pixel0\n")
    return f"{root}/test.csv, line 1: 2 columns; must be 785"


def header_alone(root):
    write_csv(root / "test.csv", np.zeros((0, 28, 28), int), np.zeros(0, int))
    return f"{root}/test.csv: there is no image in it"


def class_without_picture(root):
    for path in (root / "train" / "class 3").iterdir():
        path.unlink()
    return f"{root}/train/class 3: no picture of this class there (.png, .jpg"


def class_without_folder(root):
    shutil.rmtree(root / "test" / "class 46")
    return f"{root}/test/class 46: no picture of this class there"


def foreign_class(root):
    (root / "train" / "class 48").mkdir()
    return f"{root}/train/class 48: no class of data.class_names (class 0, class 1"


def broken_picture(root):
    (root / "train" / "class 3" / "x.png").write_bytes(b"no picture")
    return f"{root}/train/class 3/x.png: not a PNG, JPEG"


def no_folder(root):
    shutil.rmtree(root / "test")
    return f"{root}/test: cannot be read (No such file or directory)"


def change_npz(root, **changes):
    with np.load(root / "own.npz") as old:
        arrays = {**old, **changes}
    np.savez(root / "own.npz", **{k: v for k, v in arrays.items() if v is not None})


def floats(root):
    change_npz(root, x_train=np.zeros((5, 28, 28)))
    return f"{root}: x_train are float64 (5, 28, 28); must be uint8 (n, 28, 28), 0 paper to 255"


def lacking_array(root):
    change_npz(root, x_test=None)
    return f"{root}: it holds x_train, y_train, y_test and not x_test"


def objects(root):
    change_npz(root, y_test=np.array([{}], object))
    return f"{root}: Object arrays cannot be loaded when allow_pickle=False"


def one_hot(root):
    change_npz(root, y_test=np.zeros((94, 47), np.uint8))
    return f"{root}: y_test are uint8 (94, 47); must be whole numbers, 94 of them"


def label_zero(root):
    change_npz(root, y_test=np.zeros(94, np.int64))
    return f"{root}: y_test[0] is 0, not in 1..47, as data.class_names (47 names) and data.first_l"


def no_archive(root):
    (root / "own.npz").write_bytes(b"PK\3\4 and no more")
    return f"{root}: cannot be read (File is not a zip file)"


def bomb(root):
    with zipfile.ZipFile(root / "own.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(1 << 20))
        info = archive.infolist()[0]
        info.file_size = 1 << 40
    return f"{root}: "


def label_26_of_26(root):
    for split, count in (("train", 282), ("test", 94)):
        labels = np.full(count, 48, np.uint8)
        write_idx(root / "emnist" / f"emnist-own-{split}-labels-idx1-ubyte", labels)
    return f"{root}/emnist/emnist-own-train-labels-idx1-ubyte: label 0 is 48, not in 1..47, as"


FAULTS = {
    "csv": [
        *(few_columns, many_columns, text_in_it, text_at_once, too_dark, foreign_label),
        *(kaggles_test, no_test, empty_csv, header_alone),
    ],
    "folders": [
        *(class_without_picture, class_without_folder, foreign_class, broken_picture, no_folder),
    ],
    "npz": [floats, lacking_array, objects, one_hot, label_zero, no_archive, bomb],
    "idx": [label_26_of_26],
}


@pytest.mark.parametrize(
    ("form", "fault"), [(form, fault) for form, faults in FAULTS.items() for fault in faults]
)
def test_bad_input_is_refused_before_anything_is_written(form, fault, root, light_verbs, tmp_path):
    """By mnist-train as a user starts it, without torch."""
    own = shutil.copytree(root, tmp_path / "own")
    expected = fault(own)
    ended = light_verbs.run("mnist_lab.train", *typed(form, own), cwd=tmp_path)
    assert ended.code == 2, ended.stderr
    assert ended.stderr.startswith(expected)
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "outputs").exists()


def test_no_data_at_all_says_what_is_needed(tmp_path):
    for form, what in {
        "csv": "a folder with train.csv and test.csv",
        "npz": "an .npz file of x_train, y_train, x_test and y_test",
        "folders": "a folder with train/CLASS/*.png and test/CLASS/*.png",
    }.items():
        with pytest.raises(Refused, match=re.escape(f"no {tmp_path}/none; must be {what}")):
            splits_of(form, tmp_path / "none")


@pytest.mark.parametrize(("number", "shown"), [(1, "[k0]"), (1001, "1001 of them")])
def test_a_number_of_classes_that_cannot_be(number, shown, root, light_verbs, tmp_path):
    names = ",".join(f"k{k}" for k in range(number))
    ended = light_verbs.run(
        "mnist_lab.train",
        "data=csv",
        f"data.root={root}",
        f"data.class_names=[{names}]",
        cwd=tmp_path,
    )
    assert ended.code == 2
    assert ended.stderr == f"data.class_names={shown}: must be a list of 2 to 1000, each text.\n"


def test_a_class_named_twice_has_no_folder_of_its_own(tmp_path, arrays):
    write_folders(tmp_path, arrays, CLASSES)
    node = checked(compose(["data=folders", f"data.root={tmp_path}", "data.class_names=[a,b,a]"]))
    with pytest.raises(Refused, match=r"data\.class_names has a twice\.$"):
        Source.of(node["data"]).find().read()
