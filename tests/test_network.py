"""The network that the page computes, in a real browser, against the module in torch."""

from __future__ import annotations

import base64
import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TEN
from tiny_run import load_model, train_run, write_data_set
from torch import Tensor, nn

from benchmarks import inside
from mnist_lab.data.datamodule import scale
from mnist_lab.data.idx import read_split
from mnist_lab.drawing.network import UntoldError, description, layers_of
from mnist_lab.drawing.standalone import FOLDER
from mnist_lab.models.classifier import Classifier
from mnist_lab.models.layers import FlattenPixels
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.groups import choices

# The browser serves the pictures of the README, too, and is no part of the package.
sys.path.append(str(Path(__file__).parents[1] / "docs"))
browser: Any = importlib.import_module("browser")

SHIPPED = [f"model={name}" for name in choices("model")]
SHIPPED += [
    pytest.param(f"experiment={name}", marks=pytest.mark.slow) for name in choices("experiment")
]
TOLERANCE = 1e-5
SCRIPT = """
const network = unpackNetwork(JSON.parse(arguments[0]));
const levels = Uint8Array.from(atob(arguments[1]), (letter) => letter.charCodeAt(0));
const images = Array.from({ length: levels.length / 784 }, (_, i) =>
  Float32Array.from(levels.subarray(784 * i, 784 * (i + 1)), (level) => level / 255));
"""


@pytest.fixture(scope="module")
def window() -> Iterator[Any]:
    with browser.Browser.started() as window:
        window.open("about:blank")
        yield window


def chromium(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that computes in the browser, and skip it where there is none."""
    missing = browser.missing()
    reason = f"needs Debian's {' and '.join(missing)}"
    return pytest.mark.chromium(pytest.mark.skipif(bool(missing), reason=reason)(test))


def in_page(window: Any, model: Classifier, images: Tensor, script: str, *args: Any) -> Any:
    """What a script returns that has `network` and `images`, and its own arguments from [2] on."""
    code = (FOLDER / "network.js").read_text() + SCRIPT + script
    levels = base64.b64encode(images.numpy().tobytes()).decode()
    return window.run(code, description(model), levels, *args)


def drawn(num_images: int) -> Tensor:
    """uint8 (n, 1, 28, 28): some strokes of grey and full ink on paper."""
    generator = torch.Generator().manual_seed(5)
    inked = torch.rand(num_images, 1, 14, 14, generator=generator) < 0.2
    levels = torch.randint(0, 256, (num_images, 1, 28, 28), generator=generator)
    both = levels.clamp(min=128) * inked.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return both.to(torch.uint8)


def shipped(choice: str, images: Tensor) -> Classifier:
    """The network with first weights but for the last layer, which makes the largest logit 1."""
    torch.manual_seed(3)
    model: Classifier = build(checked(compose([choice]))["model"]).eval()
    head = [each for each in model.modules() if isinstance(each, nn.Linear)][-1]
    with torch.no_grad():
        factor = 1 / model(scale(images)).abs().max()
        head.weight.mul_(factor)
        head.bias.mul_(factor)
    return model


def logits_of(model: Classifier, images: Tensor) -> np.ndarray:
    with torch.inference_mode():
        return model(scale(images)).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 1,000 test images."""
    folder = tmp_path_factory.mktemp("runs")
    write_data_set(folder / "images", num_train=300, num_test=1_000, seed=0)
    return folder


@chromium
@pytest.mark.parametrize("choice", SHIPPED)
def test_each_shipped_network_answers_as_its_module_does(
    choice: str, folder: Path, window: Any
) -> None:
    """Trained, since first weights give nearly the same logits to all images."""
    data = ["data=idx_folder", f"data.root={folder}", "data.folder=images", "data.batch_size=10"]
    more = []
    ours = ("fast", "best", "small", "handwriting")
    if choice.startswith(tuple(f"experiment={each}" for each in ours)):
        # Their learning rate is for 60,000 images, and 300 moved ones are too few to learn from.
        none = ("val_fraction", "max_shift", "max_turn", "max_slant", "max_bend", "max_pen")
        more = ["optimizer.lr=0.002", "trainer.max_epochs=12", *(f"data.{each}=0" for each in none)]
    run = train_run(folder / choice, choice, *data, "trainer.max_epochs=5", *more)
    model = load_model(run)
    images, _ = read_split(folder / "images", "t10k", TEN, sha256={})
    images = torch.from_numpy(images).unsqueeze(1)
    script = """
    const answers = images.map((image) => {
      const { logits, probs } = forward(network, image); // all layers of all images take 200 MB
      return [[...logits], [...probs]];
    });
    return [0, 1].map((which) => answers.map((each) => each[which]));
    """
    logits, probs = map(np.array, in_page(window, model, images, script))
    expected = logits_of(model, images)
    # The mean of a map knows no places, which tell these digits apart.
    fewest = 5 if choice.endswith(("deep_cnn", "best_cnn", "small_99", "small_994")) else 10
    assert len(set(expected.argmax(axis=1))) >= fewest
    np.testing.assert_allclose(logits, expected, atol=TOLERANCE, rtol=0)
    softmax = torch.from_numpy(expected).double().softmax(dim=1).numpy()
    np.testing.assert_allclose(probs, softmax, atol=TOLERANCE, rtol=0)


class Normalised(Classifier):
    """What the shipped networks do not have: normalisation, strides, an activation used twice."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first = nn.Conv2d(1, 4, 5, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6, affine=False))
        self.rest = nn.Sequential(nn.AvgPool2d(3, stride=2), nn.Dropout2d(), FlattenPixels())
        self.head = nn.Sequential(
            *(nn.Linear(216, 9), nn.BatchNorm1d(9), nn.Tanh(), nn.Identity()),
            nn.Linear(9, self.num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        maps = self.act(self.norm(self.first(images)))
        return self.head(self.rest(self.act(self.second(maps))))


def normalised() -> Classifier:
    torch.manual_seed(0)
    model = Normalised()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 3)
            if module.affine:
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
    return model.eval()


@chromium
@pytest.mark.parametrize("choice", ["experiment=fast_99", "model=cnn", "model=mlp", "own"])
def test_each_layer_is_that_of_the_code(choice: str, window: Any) -> None:
    images = drawn(3)
    model = normalised() if choice == "own" else shipped(choice, images)
    script = """
    return images.map((image) => forward(network, image).layers.map(
      ({ name, code, shape, values }) => ({ name, code, shape, values: [...values] })));
    """
    found = in_page(window, model, images, script)
    names = {module: name for name, module in model.named_modules()}
    expected: list[tuple[str, str, Tensor]] = []

    def record(module: nn.Module, _: Any, values: Tensor) -> None:
        expected.append((names[module], str(module), values.clone()))

    for module in names:
        if not [*module.children()]:
            module.register_forward_hook(record)
    logits_of(model, images)
    for k, layers in enumerate(found):
        for layer, (name, code, values) in zip(layers, expected, strict=True):
            assert (layer["name"], layer["code"]) == (name, code)
            assert layer["shape"] == list(values.shape[1:])
            np.testing.assert_allclose(
                layer["values"], values[k].flatten(), atol=TOLERANCE, rtol=TOLERANCE
            )


# A network, a layer to change, and what it is in the code.
CHANGED = [("model=mlp", 1), ("experiment=handwriting", 3), ("experiment=cnn_12_20", 0)]


def module_of(model: Classifier, index: int) -> Any:
    return model.get_submodule(layers_of(model)[index].name)


def check_change(window: Any, model: Classifier, images: Tensor, changes: Any) -> np.ndarray:
    """Compute without, with and without the change: the last is exactly as the first."""
    script = """
    const asked = (changes) => images.map((image) => [...forward(network, image, changes).logits]);
    return [asked(), asked(arguments[2]), asked({})];
    """
    before, changed, after = in_page(window, model, images, script, changes)
    assert before == after
    np.testing.assert_allclose(before, logits_of(model, images), atol=TOLERANCE, rtol=0)
    assert np.abs(np.array(changed) - before).max() > 0.01  # it does something
    return np.array(changed)


@chromium
@pytest.mark.parametrize(("choice", "index"), CHANGED)
def test_silenced_units(choice: str, index: int, window: Any) -> None:
    images = drawn(20)
    model = shipped(choice, images)
    units = [*range(0, module_of(model, index).weight.shape[0], 2)]
    changed = check_change(window, model, images, {"silenced": {index: units}})

    def silence(_: nn.Module, __: Any, values: Tensor) -> Tensor:
        values[:, units] = 0
        return values

    module_of(model, index).register_forward_hook(silence)
    np.testing.assert_allclose(changed, logits_of(model, images), atol=TOLERANCE, rtol=0)


@chromium
@pytest.mark.parametrize(("choice", "index"), CHANGED)
def test_zeroed_filters(choice: str, index: int, window: Any) -> None:
    images = drawn(20)
    model = shipped(choice, images)
    changed = check_change(window, model, images, {"zeroed": {index: [0, 3, 4]}})
    with torch.no_grad():
        module_of(model, index).weight[[0, 3, 4]] = 0
    np.testing.assert_allclose(changed, logits_of(model, images), atol=TOLERANCE, rtol=0)


@chromium
@pytest.mark.parametrize(("choice", "index"), CHANGED)
def test_noise_on_weights(choice: str, index: int, window: Any) -> None:
    images = drawn(20)
    model = shipped(choice, images)
    changes = {"noise": {index: {"share": 0.5, "seed": 4}}, "silenced": {index: [1]}}
    changed = check_change(window, model, images, changes)
    script = """
    const weights = (share, seed) => {
      const noise = { [arguments[2]]: { share, seed } };
      const { weight } = forward(network, images[0], { noise }).layers[arguments[2]];
      const bytes = [...new Uint8Array(weight.buffer)];
      return btoa(bytes.map((byte) => String.fromCharCode(byte)).join(""));
    };
    return [weights(0.5, 4), weights(0.5, 5), weights(0.1, 4), weights(0.5, 4)];
    """
    found = in_page(window, model, images[:1], script, index)
    noisy, other, smaller, again = (np.frombuffer(base64.b64decode(each), "<f4") for each in found)
    np.testing.assert_array_equal(noisy, again)
    layer = copy.deepcopy(module_of(model, index))
    own = layer.weight.detach().flatten()
    noise, other_noise, small_noise = (torch.tensor(each) - own for each in (noisy, other, smaller))
    few = 3 / len(own) ** 0.5
    assert float(noise.std() / own.std()) == pytest.approx(0.5, rel=few)
    assert float(noise.mean() / own.std()) == pytest.approx(0, abs=few)
    assert float(noise.abs().median() / noise.std()) == pytest.approx(0.6745, rel=2 * few)  # normal
    torch.testing.assert_close(5 * small_noise, noise, atol=1e-5, rtol=0)
    for one, two in ((noise, other_noise), (noise[1:], noise[:-1]), (noise, own)):
        assert abs(float(torch.corrcoef(torch.stack([one, two]))[0, 1])) < few

    with torch.no_grad():
        module_of(model, index).weight.copy_(torch.tensor(noisy).view(layer.weight.shape))

    def silence(_: nn.Module, __: Any, values: Tensor) -> Tensor:
        values[:, 1] = 0
        return values

    module_of(model, index).register_forward_hook(silence)
    np.testing.assert_allclose(changed, logits_of(model, images), atol=TOLERANCE, rtol=0)


class Own(Classifier):
    """Layers in a row, and then what `forward` makes of them."""

    def __init__(self, *layers: nn.Module, forward: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.then = forward

    def forward(self, images: Tensor) -> Tensor:
        return self.then(self, images) if self.then else self.layers(images)


LINEAR = "its forward does more than one layer after the other"
UNTOLD = {
    "an activation": (Own(nn.Flatten(), nn.Linear(784, 10), nn.GELU()), r"does not know GELU\("),
    "groups": (
        Own(nn.Conv2d(1, 4, 28), nn.Conv2d(4, 10, 1, groups=2), nn.Flatten()),
        r"does not know Conv2d\(4, 10, .*groups=2\)",
    ),
    "padding by name": (
        Own(nn.Conv2d(1, 10, 3, padding="same"), nn.AvgPool2d(28), nn.Flatten()),
        r"does not know Conv2d\(1, 10, .*padding=same\)",
    ),
    "a stride in one direction": (
        Own(nn.Conv2d(1, 10, (28, 1), stride=(1, 28)), nn.Flatten()),
        r"does not know Conv2d\(1, 10, .*stride=\(1, 28\)\)",
    ),
    "several answers": (
        Own(
            nn.Flatten(),
            nn.LSTM(784, 10),
            forward=lambda net, images: net.layers[1](net.layers[0](images))[0],
        ),
        r"does not know LSTM\(784, 10\)",
    ),
    "a function": (
        Own(
            nn.Flatten(),
            nn.Linear(784, 20),
            nn.Linear(20, 10),
            forward=lambda net, images: net.layers[2](net.layers[:2](images).relu()),
        ),
        LINEAR,
    ),
    "a way around": (
        Own(
            nn.Flatten(),
            nn.Linear(784, 784),
            nn.Linear(784, 10),
            forward=lambda net, images: net.layers[2](net.layers[:2](images) + images.flatten(1)),
        ),
        LINEAR,
    ),
    "shapes that do not follow": (
        Own(nn.Linear(28, 10), forward=lambda net, images: net.layers(images[:, 0, 3])),
        LINEAR,
    ),
    "no numbers": (
        Own(
            nn.Flatten(),
            nn.Linear(784, 10),
            forward=lambda net, images: net.layers(images) * np.inf,
        ),
        "its logits are no numbers",
    ),
    "no module": (Own(forward=lambda _, images: images.flatten(1)[:, :10]), LINEAR),
}


@pytest.mark.parametrize("name", UNTOLD)
def test_a_network_that_cannot_be_told_is_said_so(name: str) -> None:
    model, reason = UNTOLD[name]
    with pytest.raises(UntoldError, match=reason):
        description(model.eval())
    assert not any(module._forward_hooks for module in model.modules())


@chromium
def test_the_benchmark_of_the_page_s_network(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["data=idx_folder", f"data.root={folder}", "data.folder=images"]
    run = train_run(folder / "timed", "experiment=mlp_25x2", *data, "trainer.max_epochs=1")
    inside.main([str(run)])
    _, row = capsys.readouterr().out.splitlines()
    name, logits, probs, _, *times = row.split()
    median, most, shown, longest, painted, longest_painted = map(float, times[::2])
    assert name == f"{run.parent.name}/timed"
    assert 0 <= float(probs) <= float(logits) <= TOLERANCE
    assert 0 <= median <= most
    assert 0 < shown < painted < longest_painted
    assert shown < longest < longest_painted
