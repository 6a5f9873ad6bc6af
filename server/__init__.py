"""Bundle + gallery -> HTTP and gRPC. Imports reid, never training or export.

Only the worker process of an adaptation (`worker.py`) and the engine `torch` import torch.
"""
