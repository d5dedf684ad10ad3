from .kernels import GaussianKernel as GaussianKernel
