"""Networks: exact numbers of parameters, first weights, dropout, and loading without the lab."""

import hashlib
import math
from pathlib import Path

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from processes import run_cold
from torch import nn

from mnist_lab import models
from mnist_lab.models.classifier import Classifier
from mnist_lab.models.cnn import CNN
from mnist_lab.models.dropout import Dropout
from mnist_lab.models.layers import BatchNorm, Noise
from mnist_lab.models.linear import Linear
from mnist_lab.models.mlp import MLP
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.groups import choices
from mnist_lab.settings.table import INITS

# A model that has no row here fails a test below.
NUM_PARAMS = {
    "model=linear": 7_850,
    "model=mlp": 407_050,
    "model=cnn": 290_585,
    "model=pooled_cnn": 215_194,
    "model=batchnorm_cnn": 215_250,
    "model=batchnorm_mlp": 670_730,
    "model=deep_cnn": 6_926,
    "experiment=mlp_512x2_dropout": 669_706,
    "experiment=mlp_800_dropout_sgd": 636_010,
    "experiment=mlp_512": 407_050,
    "experiment=mlp_100": 79_510,
    "experiment=mlp_25x2": 20_535,
    "experiment=cnn_12_20": 290_585,
    "experiment=fast_99": 72_058,
    "experiment=fast_994": 130_866,
    "experiment=best_mlp": 1_865_738,
    "experiment=best_cnn": 279_402,
    "experiment=small_99": 1_956,
    "experiment=small_994": 14_650,
    "experiment=handwriting": 130_698,
}
MODELS = choices("model")


def built(*overrides):
    return build(checked(compose(overrides))["model"])


def num_params(network):
    return sum(weight.numel() for weight in network.parameters())


def test_every_model_and_experiment_has_a_row():
    shipped = {f"{group}={name}" for group in ("model", "experiment") for name in choices(group)}
    assert shipped == set(NUM_PARAMS)
    files = {path.stem for path in Path(models.__file__).parent.glob("*.py")}
    assert files == {"__init__", "classifier", "dropout", "layers", "means", *MODELS}


@pytest.mark.parametrize(("choice", "expected"), NUM_PARAMS.items())
def test_number_of_parameters_is_exactly_the_published_one(choice, expected):
    network = built(choice)
    assert num_params(network) == expected
    assert all(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_images_to_logits(name):
    network = built(f"model={name}")
    for batch_size in (1, 7):
        logits = network(torch.rand(batch_size, 1, 28, 28))
        assert logits.shape == (batch_size, 10)
        assert logits.dtype == torch.float32
        assert (logits < 0).any()  # logits: neither probabilities nor behind a last ReLU
        assert (logits.exp().sum(1) - 1).abs().min() > 1e-3
    for wrong in (
        torch.rand(2, 28, 28),
        torch.rand(2, 1, 28, 27),
        torch.zeros(2, 1, 28, 28).byte(),
    ):
        with pytest.raises(jaxtyping.TypeCheckError):  # the tests do check shapes
            network(wrong)


def reference_mlp(network, images):
    hidden = images.reshape(len(images), 784)
    *inner, last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    for layer in inner:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    return hidden @ last.weight.T + last.bias


def reference_cnn(network, images):
    """Convolutions written out as sums over shifted images."""
    maps = images
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        side = maps.shape[-1] - 2
        total = layer.bias[None, :, None, None].expand(len(maps), -1, side, side).clone()
        for row in range(3):
            for column in range(3):
                shifted = maps[:, :, row : row + side, column : column + side]
                total += torch.einsum("nchw,oc->nohw", shifted, layer.weight[:, :, row, column])
        maps = total.clamp(min=0)
    first, last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    hidden = (maps.permute(0, 2, 3, 1).flatten(1) @ first.weight.T + first.bias).clamp(min=0)
    return hidden @ last.weight.T + last.bias


def test_forward_is_what_the_docstrings_say():
    torch.manual_seed(0)
    images = torch.rand(5, 1, 28, 28)
    for network, reference in (
        (Linear(init="torch"), reference_mlp),
        (MLP(width=9, depth=3, dropout=0.5, init="torch"), reference_mlp),
        (CNN(channels=[3, 4, 2], width=7, dropout=0.5, init="torch"), reference_cnn),
    ):
        network.eval()
        torch.testing.assert_close(network(images), reference(network, images))


def test_pooled_cnn_equals_relu_before_pooling():
    torch.manual_seed(0)
    network = built("model=pooled_cnn", "model.channels=[3,4]", "model.kernels=[5,2]")
    first, second = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    hidden, last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    images = torch.rand(5, 1, 28, 28)
    maps = F.max_pool2d(F.relu(F.conv2d(images, first.weight, first.bias)), 2)
    maps = F.max_pool2d(F.relu(F.conv2d(maps, second.weight, second.bias)), 2)
    expected = last(F.relu(hidden(maps.permute(0, 2, 3, 1).flatten(1))))
    torch.testing.assert_close(network(images), expected)


def normalised(values, norm):
    """By the means of the batch, map by map; torch divides by n there."""
    over = [k for k in range(values.ndim) if k != 1]
    mean, variance = values.mean(over, keepdim=True), values.var(over, correction=0, keepdim=True)
    shape = [1, -1, *[1] * (values.ndim - 2)]
    scaled = (values - mean) / (variance + norm.eps).sqrt()
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


def layers_of(network, *kinds):
    return [layer for layer in network.modules() if isinstance(layer, kinds)]


def test_batchnorm_cnn_is_what_its_docstring_says():
    torch.manual_seed(0)
    sizes = ["model.channels=[3,4]", "model.kernels=[5,2]", "model.width=7", "model.crop=2"]
    network = built("model=batchnorm_cnn", *sizes).train()
    images = torch.rand(5, 1, 28, 28)
    maps = images[:, :, 2:26, 2:26]
    pairs = zip(layers_of(network, nn.Conv2d), layers_of(network, nn.BatchNorm2d), strict=True)
    for convolution, norm in pairs:
        nn.init.uniform_(norm.weight)
        maps = F.relu(normalised(F.max_pool2d(F.conv2d(maps, convolution.weight), 2), norm))
    hidden, last = layers_of(network, nn.Linear)
    expected = last(F.relu(hidden(maps.permute(0, 2, 3, 1).flatten(1))))
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("padded", [True, False])
def test_deep_cnn_is_what_its_docstring_says(padded):
    torch.manual_seed(0)
    sizes = ["model.channels=[3,4,5,6]", "model.kernels=[5,3,2,3]", "model.pooled=[1,3]"]
    network = built("model=deep_cnn", f"model.padded={padded}", *sizes).train()
    images = torch.rand(5, 1, 28, 28)
    maps = images
    convolutions, norms = layers_of(network, nn.Conv2d), layers_of(network, nn.BatchNorm2d)
    assert len(convolutions) == len(norms) == 4
    for k, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        maps = F.conv2d(maps, convolution.weight, padding=1 if padded and k else 0)
        maps = F.relu(normalised(F.max_pool2d(maps, 2) if k in (0, 2) else maps, norm))
    assert maps.shape == ((5, 6, 6, 6) if padded else (5, 6, 2, 2))
    (last,) = layers_of(network, nn.Linear)
    torch.testing.assert_close(network(images), last(maps.mean((2, 3))))


def test_batchnorm_mlp_is_what_its_docstring_says():
    torch.manual_seed(0)
    network = built("model=batchnorm_mlp", "model.width=6", "model.noise=0").train()
    images = torch.rand(5, 1, 28, 28)
    *inner, last = layers_of(network, nn.Linear)
    hidden = images.flatten(1)
    for layer, norm in zip(inner, layers_of(network, nn.BatchNorm1d), strict=True):
        hidden = F.relu(normalised(hidden @ layer.weight.T, norm))
    torch.testing.assert_close(network(images), last(hidden))


def test_noise_is_added_in_training_alone():
    torch.manual_seed(0)
    noise, values = Noise(0.5).train(), torch.rand(200, 500)
    added = noise(values) - values
    assert abs(added.mean()) < 5 * 0.5 / math.sqrt(added.numel())
    assert abs(added.var() / 0.25 - 1) < 5 * math.sqrt(2 / added.numel())
    assert noise.eval()(values) is values
    assert Noise(0.0).train()(values) is values


def test_an_epoch_may_end_with_a_batch_of_one():
    torch.manual_seed(0)
    norm = BatchNorm(3).train()
    norm(torch.rand(20, 3))
    means = norm.running_mean.clone(), norm.running_var.clone()
    one = torch.rand(1, 3)
    alone = norm(one)
    assert torch.equal(alone, norm.eval()(one))
    assert torch.equal(norm.running_mean, means[0])
    assert torch.equal(norm.running_var, means[1])


def layers_with_weights(network):
    return [layer for layer in network.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]


def is_uniform(values, half_range):
    """All within, the ends nearly reached, the variance a third of the square of half the range."""
    assert values.abs().max() <= half_range
    # 0.999 ** 5000 = 0.7 %; five standard errors of the mean and of the variance (kurtosis 1.8).
    n = values.numel()
    assert n >= 5_000
    assert values.abs().max() > 0.999 * half_range
    assert abs(values.mean()) < 5 * half_range / math.sqrt(3 * n)
    assert abs(values.var() * 3 / half_range**2 - 1) < 5 * math.sqrt(0.8 / n)


@pytest.mark.parametrize("name", MODELS)
def test_first_weights_follow_their_formulas(name):
    for init in INITS:
        torch.manual_seed(0)
        network = built(f"model={name}", f"model.init={init}")
        for layer in layers_with_weights(network):
            weight = layer.weight.detach()
            patch = weight[0, 0].numel() if weight.ndim == 4 else 1  # pixels of a kernel
            fan_in, fan_out = weight.shape[1] * patch, weight.shape[0] * patch
            half_range = {
                "torch": 1 / math.sqrt(fan_in),
                "glorot": math.sqrt(6 / (fan_in + fan_out)),
                "uniform": 0.05,
            }[init]
            if weight.numel() >= 5_000:
                is_uniform(weight, half_range)
            else:
                assert weight.abs().max() <= half_range
                assert weight.abs().max() > 0.8 * half_range
            if layer.bias is None:
                continue  # batch normalisation has it
            if init == "torch":
                assert (layer.bias != 0).any()
                assert layer.bias.abs().max() <= half_range
            else:
                assert (layer.bias == 0).all()


def test_torch_init_is_the_default_of_torch():
    torch.manual_seed(3)
    network = MLP(width=16, depth=2, dropout=0.1, init="torch")
    torch.manual_seed(3)
    expected = [nn.Linear(784, 16), nn.Linear(16, 16), nn.Linear(16, 10)]
    for layer, reference in zip(layers_with_weights(network), expected, strict=True):
        assert torch.equal(layer.weight, reference.weight)
        assert torch.equal(layer.bias, reference.bias)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "linear"])
def test_dropout_silences_its_share_in_training_and_nothing_in_evaluation(name):
    share = 0.25
    torch.manual_seed(0)
    wide = "model.channels=[4,4,4,1024]" if name == "deep_cnn" else "model.width=1024"
    network = built(f"model={name}", f"model.dropout={share}", wide)
    inputs, outputs = [], []
    dropouts = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    for layer in dropouts:
        layer.register_forward_hook(
            lambda _, given, out: (inputs.append(given[0]), outputs.append(out))[0]
        )
    images = torch.rand(64, 1, 28, 28)
    network.train()
    network(images)
    assert len(outputs) == len(dropouts) == (2 if name == "batchnorm_mlp" else 1)
    active = inputs[0] > 0  # after ReLU: a zero there tells nothing
    silenced = (outputs[0] == 0) & active
    n = int(active.sum())
    assert n > 5_000
    assert abs(silenced.sum() / n - share) < 5 * math.sqrt(share * (1 - share) / n)
    survivors = active & ~silenced
    torch.testing.assert_close(outputs[0][survivors], inputs[0][survivors] / (1 - share))
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
    assert torch.equal(inputs[-1], outputs[-1])


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.9])
def test_dropout_silences_each_value_by_itself(share):
    torch.manual_seed(1)
    dropout = Dropout(share).train()
    n = 1_000_003  # not a multiple of the four or eight that one draw decides
    values = torch.ones(n, requires_grad=True)
    outputs = dropout(values)
    kept = outputs > 0
    sigma = math.sqrt(share * (1 - share) / n)
    assert abs((~kept).double().mean() - share) < 5 * sigma + 1 / 131_072
    assert outputs.mean().item() == pytest.approx(1, abs=5 * sigma / (1 - share) + 1e-4)
    for lag in (1, 2, 3, 4, 8):
        both = (~kept[lag:] & ~kept[:-lag]).double().mean()
        assert abs(both - share**2) < 5 * math.sqrt(share**2 / n) + 1e-6
    outputs.sum().backward()
    assert torch.equal(values.grad, outputs)
    torch.manual_seed(1)
    assert torch.equal(dropout(values), outputs)
    assert not torch.equal(dropout(values), outputs)
    assert torch.equal(dropout.eval()(values), values)


def test_dropout_at_the_ends_of_its_range():
    values = torch.rand(3, 5, dtype=torch.bfloat16)
    assert Dropout(0.0).train()(values) is values
    assert Dropout(0.999999).train()(values).isfinite().all()
    assert Dropout(0.5).train()(values).dtype == torch.bfloat16


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5])
def test_dropout_silences_the_same_values_whatever_their_precision(share):
    kept = []
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        torch.manual_seed(1)
        outputs = Dropout(share).train()(torch.ones(50_000, dtype=dtype))
        kept.append(outputs > 0)
        factor = 1 / (1 - share)
        assert outputs.max().item() == pytest.approx(factor, rel=max(1e-4, torch.finfo(dtype).eps))
    assert kept[0].equal(kept[1])
    assert kept[0].equal(kept[2])


def test_dropout_stands_after_each_hidden_layer():
    network = MLP(width=8, depth=2, dropout=0.5, init="torch")
    kinds = [type(layer).__name__ for layer in network.layers]
    hidden = ["Linear", "ReLU", "Dropout"]
    assert kinds == ["Flatten", *hidden, *hidden, "Linear"]
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


def test_classifier_is_abstract_and_trains_by_adam_unless_told_otherwise():
    with pytest.raises(TypeError, match="abstract"):
        Classifier(optimizer=None, schedule=None)
    network = Linear(init="torch")
    network(torch.rand(1, 1, 28, 28))
    optimizer = network.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 1e-3


SHELL = """
import hashlib, sys
import torch
from mnist_lab.models.mlp import MLP
network = MLP.load_from_checkpoint(sys.argv[1], weights_only=True)
network.eval()
assert "hydra" not in sys.modules and "omegaconf" not in sys.modules
images = torch.linspace(0, 1, 3 * 784).reshape(3, 1, 28, 28)
print(dict(network.hparams), hashlib.sha256(network(images).detach().numpy().tobytes()).hexdigest())
"""


def test_a_checkpoint_opens_in_a_plain_python_shell(train_run, tmp_path):
    path = train_run(tmp_path, "model.dropout=0.1") / "checkpoints" / "last.ckpt"
    done = run_cold("-W", "error", "-c", SHELL, str(path), cwd="/")
    hparams = {"num_classes": 10, "label_smoothing": 0.0, "class_weights": None}
    hparams |= {"width": 8, "depth": 1, "dropout": 0.1, "init": "torch"}
    weights = torch.load(path, weights_only=True)["state_dict"]
    network = MLP(**hparams)
    network.load_state_dict(weights)
    images = torch.linspace(0, 1, 3 * 784).reshape(3, 1, 28, 28)
    logits = network.eval()(images).detach().numpy()
    assert done.stdout == f"{hparams} {hashlib.sha256(logits.tobytes()).hexdigest()}\n", done.stderr
    assert done.code == 0
