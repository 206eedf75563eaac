#!/usr/bin/env bash
# In /opt/venv, replace CUDA libraries with stand-ins of a few kilobytes. torch is linked to these libraries, so it
# cannot be imported without them, but training language models never calls them: cuFFT (torch.fft, torch.stft),
# cuSPARSELt (2:4 sparsity), NVSHMEM (torch.distributed's symmetric memory), cuDNN's recurrent layers and CTC loss, and
# cuRAND (torch draws random numbers with its own kernels and uses nothing of this library). This saves four fifths of a
# gigabyte. Each function of a stand-in returns its library's error code for "not supported", which torch raises as an
# error. The target `devel` has the real libraries.
set -euo pipefail

cd /opt/venv/lib/python3*/site-packages
if [ ! -d nvidia ]; then exit; fi  # torch's build for CPUs

# Arguments: a library, the code that its functions return, and the package to uninstall if it holds nothing else.
stand_in() {
  local library=$1 code=$2 package=${3-} made name names soname versions
  names=$(nm --dynamic --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | grep --invert-match '^_')
  versions=$(nm --dynamic --defined-only "$library" | awk '$2 == "A" { print $3 }')
  soname=$(readelf --dynamic "$library" | sed --quiet 's/.*SONAME.*\[\(.*\)\].*/\1/p')
  made=$(mktemp --directory)
  for name in $names; do
    case $name in
      *GetErrorName | *GetErrorString) echo "const char *$name(void) { return \"$soname is not in this image\"; }" ;;
      *VersionCheck) echo "int $name(void) { return 0; }" ;;
      *) echo "int $name(void) { return $code; }" ;;
    esac
  done > "$made/stand-in.c"
  for name in $versions; do echo "$name { global: *; };"; done > "$made/versions"
  if [ -n "$package" ]; then pip --python /opt/venv/bin/python uninstall --quiet --yes "$package"; fi
  mkdir --parents "$(dirname "$library")"
  rm --force "$library"
  gcc -Os -fPIC -shared -s -Wl,-soname,"$soname" ${versions:+-Wl,--version-script,"$made/versions"} \
    -o "$library" "$made/stand-in.c"
  rm -r "$made"
}

stand_in nvidia/cu13/lib/libcufft.so.12 16 nvidia-cufft                         # CUFFT_NOT_SUPPORTED
stand_in nvidia/cusparselt/lib/libcusparseLt.so.0 10 nvidia-cusparselt-cu13     # CUSPARSE_STATUS_NOT_SUPPORTED
stand_in nvidia/nvshmem/lib/libnvshmem_host.so.3 3 nvidia-nvshmem-cu13          # NVSHMEMX_ERROR_NOT_SUPPORTED
stand_in nvidia/cu13/lib/libcurand.so.10 204 nvidia-curand                      # CURAND_STATUS_ARCH_MISMATCH
stand_in nvidia/cudnn/lib/libcudnn_adv.so.9 3009                                # CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE
