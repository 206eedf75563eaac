#!/usr/bin/env bash
# In /opt/venv, put stand-ins of a few kilobytes in the place of CUDA libraries that torch is linked to, so that it cannot
# be imported without them, and that training language models never calls: cuFFT (torch.fft and torch.stft), cuSPARSELt
# (2:4 sparsity) and cuRAND (torch draws random numbers with kernels of its own, and takes no symbol of this library).
# Two thirds of a gigabyte. Each function of a stand-in answers with its library's code for what is not supported, which
# torch raises as an error. The target `devel` has the real ones.
set -euo pipefail

cd /opt/venv/lib/python3*/site-packages

# Which package to replace, its library, and the code that its functions shall answer with.
stand_in() {
  local package=$1 library=$2 code=$3 made names name soname versions
  [ -f "$library" ] || return 0
  made=$(mktemp --directory)
  nm --dynamic --defined-only "$library" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | grep --invert-match '^_' > "$made/names"
  versions=$(nm --dynamic --defined-only "$library" | awk '$2 == "A" { print $3 }')
  soname=$(readelf --dynamic "$library" | sed --quiet 's/.*SONAME.*\[\(.*\)\].*/\1/p')
  while read -r name; do
    case $name in
      *GetErrorName | *GetErrorString) echo "const char *$name(void) { return \"$soname is not in this image\"; }" ;;
      *) echo "int $name(void) { return $code; }" ;;
    esac
  done < "$made/names" > "$made/stand-in.c"
  for name in $versions; do echo "$name { global: *; };"; done > "$made/versions"
  pip --python /opt/venv/bin/python uninstall --quiet --yes "$package"
  mkdir --parents "$(dirname "$library")"
  gcc -Os -fPIC -shared -s -Wl,-soname,"$soname" ${versions:+-Wl,--version-script,"$made/versions"} \
    -o "$library" "$made/stand-in.c"
  rm -r "$made"
}

stand_in nvidia-cufft nvidia/cu13/lib/libcufft.so.12 16                         # CUFFT_NOT_SUPPORTED
stand_in nvidia-cusparselt-cu13 nvidia/cusparselt/lib/libcusparseLt.so.0 10     # CUSPARSE_STATUS_NOT_SUPPORTED
stand_in nvidia-curand nvidia/cu13/lib/libcurand.so.10 204                      # CURAND_STATUS_ARCH_MISMATCH
