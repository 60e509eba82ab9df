"""Optimizers as conf/ builds them, against torch's plain loops and Keras's formula in numpy."""

import numpy as np
import pytest
import torch

from mnist_lab.optim.optimizers import RMSprop
from mnist_lab.settings.build import build
from mnist_lab.settings.compose import checked, compose
from mnist_lab.settings.groups import choices

STEPS = 60
# Each optimizer of conf/, as someone who knows torch alone would write it.
PLAIN = {
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01),
    "momentum": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.001, betas=(0.9, 0.999), eps=1e-8),
    "adamw": lambda weights: torch.optim.AdamW(
        weights, lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01
    ),
}


def constructor(*overrides):
    return build(checked(compose(overrides))["optimizer"])


def gradients(seed=0, steps=STEPS):
    """Of two weights, over seven orders of magnitude, since eps matters where they are small."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-6, 1, (1, 30))
    return [(rng.normal(size=(4, 30)) * scale, rng.normal(size=5) * 1e-4) for _ in range(steps)]


def start(dtype=torch.float64):
    rng = np.random.default_rng(1)
    return [
        torch.tensor(rng.normal(size=size), dtype=dtype).requires_grad_() for size in ((4, 30), 5)
    ]


def descend(optimizer, weights, steps):
    for step in steps:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = torch.tensor(gradient, dtype=weight.dtype)
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def keras_rmsprop(weights, steps, *, lr, rho, eps):
    """keras.optimizers.RMSprop without momentum and centering, in double precision."""
    weights = [weight.detach().numpy().astype(np.float64) for weight in weights]
    squares = [np.zeros_like(weight) for weight in weights]
    for step in steps:
        for i, gradient in enumerate(step):
            squares[i] = rho * squares[i] + (1 - rho) * gradient**2
            weights[i] = weights[i] - lr * gradient / np.sqrt(squares[i] + eps)
    return weights


@pytest.mark.parametrize(
    ("lr", "rho", "eps"), [(0.001, 0.9, 1e-7), (0.1, 0.5, 1e-3), (0.01, 0.999, 1e-10)]
)
def test_rmsprop_is_the_one_of_keras(lr, rho, eps):
    expected = keras_rmsprop(start(), gradients(), lr=lr, rho=rho, eps=eps)
    for dtype, limit in ((torch.float64, 1e-13), (torch.float32, 5e-6)):
        weights = start(dtype)
        optimizer = RMSprop(weights, lr=lr, alpha=rho, eps=eps, weight_decay=0)
        found = descend(optimizer, weights, gradients())
        for ours, reference in zip(found, expected, strict=True):
            error = np.abs(reference - ours.numpy()).max()
            assert error <= limit, (dtype, error)


def test_rmsprop_has_eps_inside_the_root_unlike_torch():
    """The two differ by far more than the test above allows, so that it could fail."""
    weights = start()
    plain = torch.optim.RMSprop(weights, lr=0.001, alpha=0.9, eps=1e-7)
    outside = descend(plain, weights, gradients())
    expected = keras_rmsprop(start(), gradients(), lr=0.001, rho=0.9, eps=1e-7)
    assert max(np.abs(a.numpy() - b).max() for a, b in zip(outside, expected, strict=True)) > 1e-2


def test_rmsprop_of_conf_has_the_settings_of_keras():
    weights, reference = start(), start()
    found = descend(constructor("optimizer=rmsprop")(weights), weights, gradients())
    optimizer = RMSprop(reference, lr=0.001, alpha=0.9, eps=1e-7, weight_decay=0)
    for ours, expected in zip(found, descend(optimizer, reference, gradients()), strict=True):
        assert torch.equal(ours, expected)


def test_rmsprop_weight_decay_is_l2():
    decay, gradient = 0.1, gradients(steps=1)[0]
    weights, reference = start(), start()
    optimizer = RMSprop(weights, lr=0.01, alpha=0.9, eps=1e-7, weight_decay=decay)
    found = descend(optimizer, weights, [gradient])
    decayed = [g + decay * w.detach().numpy() for g, w in zip(gradient, reference, strict=True)]
    expected = keras_rmsprop(reference, [decayed], lr=0.01, rho=0.9, eps=1e-7)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-12)


def test_every_optimizer_of_conf_is_compared():
    assert {*PLAIN, "rmsprop"} == set(choices("optimizer"))


@pytest.mark.parametrize("name", PLAIN)
def test_optimizers_of_conf_are_the_plain_ones_of_torch(name):
    weights, reference = start(), start()
    found = descend(constructor(f"optimizer={name}")(weights), weights, gradients())
    plain = PLAIN[name](reference)
    plain.defaults |= {"fused": False, "foreach": False}
    for group in plain.param_groups:
        group |= {"fused": False, "foreach": False}  # the slow loop over tensors
    for ours, expected in zip(found, descend(plain, reference, gradients()), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-13)
        assert not torch.equal(expected, start()[0])


@pytest.mark.parametrize("name", choices("optimizer"))
def test_state_saved_and_loaded_mid_way_goes_on_bitwise(name, tmp_path):
    steps = gradients(steps=20)
    weights = start(torch.float32)
    whole = descend(constructor(f"optimizer={name}")(weights), weights, steps)

    weights = start(torch.float32)
    optimizer = constructor(f"optimizer={name}")(weights)
    descend(optimizer, weights, steps[:7])
    torch.save(optimizer.state_dict(), tmp_path / "state")
    resumed = [weight.detach().clone().requires_grad_() for weight in weights]
    optimizer = constructor(f"optimizer={name}")(resumed)
    optimizer.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    for ours, expected in zip(descend(optimizer, resumed, steps[7:]), whole, strict=True):
        assert torch.equal(ours, expected)

    # And the state matters: but for plain SGD, which has none, a fresh optimizer ends elsewhere.
    fresh = [weight.detach().clone().requires_grad_() for weight in weights]
    ended = descend(constructor(f"optimizer={name}")(fresh), fresh, steps[7:])
    assert torch.equal(ended[0], whole[0]) == (name == "sgd")


@pytest.mark.parametrize("name", choices("optimizer"))
def test_a_closure_gives_the_gradients_of_every_step(name):
    weights, reference = start(), start()
    expected = descend(constructor(f"optimizer={name}")(reference), reference, gradients(steps=5))
    optimizer = constructor(f"optimizer={name}")(weights)
    for number, step in enumerate(gradients(steps=5)):

        def closure(number=number, step=step):
            for weight, gradient in zip(weights, step, strict=True):
                weight.grad = torch.tensor(gradient, dtype=weight.dtype)
            return number

        assert optimizer.step(closure) == number
    for ours, theirs in zip(weights, expected, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=0, atol=1e-13)
