#!/usr/bin/env bash
# Remove from /opt/venv what only tests, a compiler or a debugger reads, and what is for another CUDA: none of them is in
# the image.
set -euo pipefail

cd /opt/venv/lib/python3*/site-packages
find . -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find . -type f \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.cuh' -o -name '*.pxd' -o -name '*.pyx' \) -delete
rm -rf torch/include torch/share/cmake
# A second NVRTC, and cuSOLVER for several GPUs in one process: nothing here is linked to them or loads them. The libnvrtc
# and the libcusolver that torch is linked to stay.
rm -f nvidia/cu13/lib/libnvrtc*.alt.so.* nvidia/cu13/lib/libcusolverMg.so.*
# What reads a GPU's hardware counters: torch's profiler records activities, for which libcupti is enough.
rm -f nvidia/cu13/lib/libnvperf_host.so
# Arrow over the network and its own way to S3, TensorBoard's server of its own page, and AWS's services besides S3 and those
# by which one is known to it: nobody asks this image for them.
rm -f pyarrow/libarrow*_flight.so* pyarrow/*flight*.py* pyarrow/libarrow_s3.so.* pyarrow/_s3fs.* tensorboard_data_server/bin/server
if [ -d botocore/data ]; then
  find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
    -exec rm -rf {} +
fi
# bitsandbytes brings itself for each CUDA, ROCm and XPU, and loads the one for torch's own CUDA: 13, in the lock.
if [ -d bitsandbytes ]; then
  find bitsandbytes -name 'libbitsandbytes_*.so' ! -name '*_cpu.so' ! -name '*_cuda13?.so' -delete
fi
# Symbols for debuggers: a fifth of torch's libraries. NVIDIA's own files stay as they are.
if [ -d torch/lib ]; then find torch/lib -name '*.so' -exec strip --strip-unneeded {} +; fi
find . -depth -type d -empty -delete
