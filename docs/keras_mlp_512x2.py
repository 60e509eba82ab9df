"""The recipe mlp_512x2_dropout in Keras 3 itself, to see what it gives today.

pip install tensorflow-cpu keras, in an environment of its own; then
python docs/keras_mlp_512x2.py FOLDER SEED      FOLDER holds the four files of MNIST/raw
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf


def read(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3])


def split(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    images = read(folder / f"{prefix}-images-idx3-ubyte").reshape(-1, 784)
    return images.astype("float32") / 255, read(folder / f"{prefix}-labels-idx1-ubyte")


def main() -> None:
    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    tf.config.threading.set_intra_op_parallelism_threads(1)
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((784,)),
            layers.Dense(512, "relu"),
            layers.Dropout(0.2),
            layers.Dense(512, "relu"),
            layers.Dropout(0.2),
            layers.Dense(10, "softmax"),
        ]
    )
    optimizer = keras.optimizers.RMSprop(0.001)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*split(folder, "train"), batch_size=32, epochs=20, verbose=0)
    loss, accuracy = model.evaluate(*split(folder, "t10k"), verbose=0)
    print(f"seed {seed}: test accuracy {accuracy:.4f}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
