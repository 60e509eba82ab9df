"""A research bench for MNIST."""

import sys

if sys.platform == "win32":  # no fcntl, and other signals
    print(
        "mnist_lab: needs the file locks and signals of Linux or macOS; on Windows run it in WSL "
        "(wsl --install, then the same commands there).",
        file=sys.stderr,
    )
    sys.exit(2)
