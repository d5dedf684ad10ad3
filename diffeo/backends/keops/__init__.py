"""The formulas as KeOps symbolic tensors: on request, where a C++ compiler is installed."""
