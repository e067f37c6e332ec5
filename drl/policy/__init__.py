"""What training hands on: ``policy.json``, ``policy.safetensors`` and ``policy.onnx``.

Nothing here needs torch or Ray, and nothing is a pickle.
"""
