"""The reference: plain torch, any dtype, device and dimension, differentiable any number of times."""
