#!/usr/bin/env bash
# Remove files from /opt/venv that only tests, a compiler or a debugger reads, and files for other CUDA versions: the
# image has none of these.
set -euo pipefail

cd /opt/venv/lib/python3*/site-packages
find . -depth -type d \( -name tests -o -name test \) -exec rm -rf {} +
find . -type f \( -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.cuh' -o -name '*.pxd' -o -name '*.pyx' \) -delete
rm -rf torch/include torch/share/cmake
# A second NVRTC, and cuSOLVER for several GPUs in one process: no package is linked to them or loads them. The libnvrtc
# and the libcusolver that torch is linked to stay.
rm -f nvidia/cu13/lib/libnvrtc*.alt.so.* nvidia/cu13/lib/libcusolverMg.so.*
# The reader of a GPU's hardware counters: torch's profiler only records activities, for which libcupti is enough.
rm -f nvidia/cu13/lib/libnvperf_host.so
# Arrow's network protocol and its own S3 client, TensorBoard's web server, and AWS services other than S3 and those for
# signing in: runner does not use them.
rm -f pyarrow/libarrow*_flight.so* pyarrow/*flight*.py* pyarrow/libarrow_s3.so.* pyarrow/_s3fs.* tensorboard_data_server/bin/server
if [ -d botocore/data ]; then
  find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin \
    -exec rm -rf {} +
fi
# bitsandbytes ships a library for each CUDA, ROCm and XPU version, and loads the one for torch's CUDA: 13, in the lock.
if [ -d bitsandbytes ]; then
  find bitsandbytes -name 'libbitsandbytes_*.so' ! -name '*_cpu.so' ! -name '*_cuda13?.so' -delete
fi
# Debug symbols: a fifth of torch's libraries. NVIDIA's own files are not changed.
if [ -d torch/lib ]; then find torch/lib -name '*.so' -exec strip --strip-unneeded {} +; fi
find . -depth -type d -empty -delete
