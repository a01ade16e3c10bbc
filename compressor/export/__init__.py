"""Networks as ONNX files: written, checked for structure, and compared with the original."""
