"""Ask an exported network, without torch: python docs/read_digits.py MODEL.onnx IMAGES-idx3"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
pixels = np.frombuffer(Path(sys.argv[2]).read_bytes(), np.uint8, offset=16)  # an IDX file
(probs,) = session.run(["probs"], {"images": pixels.reshape(-1, 28, 28)[:10]})
for each in probs:
    print(names[each.argmax()], f"p={each.max():.2f}")
