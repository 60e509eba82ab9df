"""Draw the way of one digit to its loss, with the lab's own functions and no training.

python docs/way_of_the_data.py     writes docs/images/way_of_the_data.png
"""

from pathlib import Path

import matplotlib as mpl
import torch
import torch.nn.functional as F

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from mnist_lab.data.datamodule import scale
from mnist_lab.data.source import Source
from mnist_lab.models.mlp import MLP
from mnist_lab.settings.compose import checked, compose

INK, BLUE, GREY = "#222222", "#0072b2", "#888888"


def title(axes: Axes, text: str, below: str) -> None:
    axes.set_title(text, fontsize=10, color=INK, loc="left")
    axes.text(0, -0.12, below, transform=axes.transAxes, fontsize=8, color=GREY, va="top")


def main() -> None:
    splits = Source.of(checked(compose(["data=mnist"]))["data"]).find().read()
    image, label = splits.train_images[7], int(splits.train_labels[7])
    torch.manual_seed(0)
    model = MLP(width=512, depth=1, dropout=0.0, init="glorot").eval()
    images = torch.from_numpy(image).view(1, 1, 28, 28)
    with torch.no_grad():
        logits = model(scale(images))
    probs = logits.softmax(1)[0]
    loss = F.cross_entropy(logits, torch.tensor([label])).item()

    figure, axes = plt.subplots(1, 5, figsize=(13, 2.9), width_ratios=[1.15, 1, 1, 1.1, 1.1])
    header = (
        bytes([0, 0, 8, 3]) + len(splits.train_images).to_bytes(4, "big") + bytes([0, 0, 0, 28])
    )
    row = image[12].tobytes()
    lines = [header[i : i + 4].hex(" ") for i in range(0, 12, 4)] + ["..."]
    lines += [row[i : i + 7].hex(" ") for i in range(7, 28, 7)] + ["..."]
    axes[0].axis("off")
    axes[0].text(0, 0.96, "\n".join(lines), family="monospace", fontsize=8.5, va="top", color=INK)
    title(axes[0], "a file on disk", "data/idx.py checks every byte\n(magic, sizes, SHA-256)")

    axes[1].imshow(image, cmap="gray_r")
    title(
        axes[1],
        "1  a batch by index",
        f"uint8 (n, 1, 28, 28), label {label}\ndata/datamodule.py, Images",
    )

    picture = axes[2].imshow(scale(images)[0, 0], cmap="gray_r", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes[2], shrink=0.8, ticks=[0, 0.5, 1])
    title(axes[2], "2  scaled", "float (n, 1, 28, 28)\ndata/datamodule.py, scale: / 255")

    axes[3].axhline(0, color=GREY, lw=0.8)
    axes[3].stem(range(10), logits[0], basefmt=" ", linefmt=BLUE)
    title(axes[3], "3  logits, before training", "float (n, 10)\nmodels/mlp.py, forward")

    axes[4].bar(range(10), probs, color=[BLUE if i == label else "#cccccc" for i in range(10)])
    title(
        axes[4],
        f"4  loss = -ln p({label}) = {loss:.2f} nats",
        "bars: softmax of the logits\nmodels/classifier.py, training_step",
    )
    for panel in axes[1:3]:
        panel.set(xticks=[], yticks=[])
    for panel in axes[3:]:
        panel.set_xticks(range(10))
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        # the digits under the axis leave no room for the caption otherwise
        panel.texts[0].set_position((0, -0.18))
    figure.subplots_adjust(left=0.01, right=0.99, top=0.88, bottom=0.28, wspace=0.25)
    path = Path(__file__).parent / "images" / "way_of_the_data.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)
    print(path)


if __name__ == "__main__":
    main()
