#!/usr/bin/env bash
# Installs, on Debian and its relatives, the cross compilers and emulators that run.py needs: bash examples/boards/install.sh
set -euo pipefail
PACKAGES=(gcc-arm-none-eabi qemu-system-arm gcc-riscv64-unknown-elf qemu-system-misc)

missing=""
for program in arm-none-eabi-gcc riscv64-unknown-elf-gcc qemu-system-arm qemu-system-riscv32; do
    command -v "$program" >/dev/null || missing="$missing $program"
done

if [[ -z "$missing" ]]; then
    echo "already installed"
elif [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "$missing not installed, and cannot be installed here: that needs root and apt-get (${PACKAGES[*]})"
    exit 5
else
    timeout 300 apt-get update -qq
    timeout 900 apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}"
fi
