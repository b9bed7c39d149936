"""ONNX Runtime, OpenVINO, LiteRT: their files, made and run in a process of their own."""
