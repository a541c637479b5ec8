#!/usr/bin/env bash
# Installs what craft needs to build and run, and nothing that is there already.
#
#   scripts/install.sh            system libraries (with apt), and a check of the Swift version
#   scripts/install.sh --tests    also the compilers of the plugin SDKs (gcc, g++, make, rustc and cargo), and Python with
#                                 .venv: the packages that tests read craft's files with, PyTorch, and what people train
#                                 with on it; and what --mpi installs
#   scripts/install.sh --mpi      also libcraft_mpi.so, by which craft trains on several ranks, compiled by the mpicc on the PATH;
#                                 where there is none, Open MPI is installed
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "install: $*" >&2
  exit 1
}

# What python/ is tested with; python/pyproject.toml names the oldest that it supports.
torch_version=2.13.0

# pkg-config name and Debian package of each library.
libraries=(
  openblas:libopenblas-dev
  libffi:libffi-dev
  libjpeg:libjpeg-dev
  libpng:libpng-dev
  libcrypto:libssl-dev
  libavformat:libavformat-dev
  libavcodec:libavcodec-dev
  libswscale:libswscale-dev
)

# Command and Debian package of each compiler that the plugin SDKs are tested with; clang comes with Swift.
compilers=(
  gcc:gcc
  g++:g++
  make:make
  rustc:rustc
  cargo:cargo
)

install_libraries() {
  local missing=() library
  if command -v pkg-config >/dev/null; then
    for library in "${libraries[@]}"; do
      pkg-config --exists "${library%%:*}" || missing+=("${library##*:}")
    done
  else
    missing+=(pkg-config "${libraries[@]##*:}")
  fi
  install_packages "pkg-config must find them." "${missing[@]}"
}

install_compilers() {
  local missing=() compiler
  for compiler in "${compilers[@]}"; do
    command -v "${compiler%%:*}" >/dev/null || missing+=("${compiler##*:}")
  done
  install_packages "They must be on the PATH." "${missing[@]}"
}

# craft looks for the library beside its executable and in the build folder.
install_mpi() {
  local source=Sources/CLibraries/CCraftMPI/craft_mpi.c library=.build/libcraft_mpi.so missing=()
  command -v mpicc >/dev/null || missing+=(libopenmpi-dev)
  command -v mpirun >/dev/null || missing+=(openmpi-bin)
  install_packages "mpicc and mpirun must be on the PATH." "${missing[@]}"
  [ "$library" -nt "$source" ] && [ "$library" -nt "${source%.c}.h" ] && [ "$library" -nt "$(command -v mpicc)" ] && return
  echo "install: $library with $(command -v mpicc)"
  mkdir -p .build
  mpicc -O3 -shared -fPIC "$source" -o "$library"
}

# install_packages HINT PACKAGE...
install_packages() {
  local hint="$1"
  shift
  local missing=("$@")
  [ ${#missing[@]} -eq 0 ] && return

  command -v apt-get >/dev/null ||
    fail "these packages are missing and there is no apt-get to install them with: ${missing[*]} (Debian's names)." \
      "Install them with your system's package manager. $hint"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "run as root, or install sudo, to install: ${missing[*]}"
    sudo=(sudo)
  fi
  echo "install: apt-get install ${missing[*]}"
  "${sudo[@]}" apt-get update -q
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
}

check_swift() {
  local hint="Install Swift 6.3 or newer from https://www.swift.org/install/linux/ and put its bin folder on the PATH."
  command -v swift >/dev/null || fail "there is no swift command. $hint"
  local version
  version=$(swift --version 2>&1 | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
  [ -n "$version" ] || fail "swift --version did not print a version. $hint"
  [ "$(printf '%s\n' 6.3 "$version" | sort -V | head -n 1)" = 6.3 ] || fail "found Swift $version, expected 6.3 or newer. $hint"
}

install_python() {
  # Debian's python3 can lack venv and ensurepip: they are a package of their own.
  python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages "python3 must import venv." python3 python3-venv
}

make_venv() {
  # The copy of the requirements inside tells whether the venv is complete and current.
  cat requirements-test.txt python/requirements-test.txt | cmp -s - .venv/requirements-test.txt && return
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "the tests need Python 3.11 or newer; $(python3 --version) is first on the PATH."
  echo "install: .venv with $(cat requirements-test.txt python/requirements-test.txt | grep -v '^#' | tr '\n' ' ')"
  python3 -m venv --clear .venv
  local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
  # The build for CPUs: that of PyPI brings some gigabytes for GPUs.
  "${pip[@]}" "torch==$torch_version+cpu" 2>/dev/null ||
    "${pip[@]}" "torch==$torch_version+cpu" --index-url https://download.pytorch.org/whl/cpu
  "${pip[@]}" -r requirements-test.txt -r python/requirements-test.txt
  cat requirements-test.txt python/requirements-test.txt >.venv/requirements-test.txt
}

install_libraries
check_swift
case "${1:-}" in
  "") ;;
  --tests)
    install_compilers
    install_mpi
    install_python
    make_venv
    ;;
  --mpi) install_mpi ;;
  *) fail "unknown option '$1'; there are --tests and --mpi" ;;
esac
