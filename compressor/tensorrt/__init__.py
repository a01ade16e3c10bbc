"""TensorRT and TensorRT for RTX: plans built from ONNX files, proved, loaded and run."""
