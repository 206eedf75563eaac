"""Running a step on the available devices: process group, fit, kernels, out of memory."""
